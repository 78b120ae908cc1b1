"""TCP/IP of nano on the host platform, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
HOST = ROOT / "hal/platform/host"
NANO = ROOT / "kernels/nano"
TESTS = sorted(path.stem for path in HERE.glob("test_*.c"))
REPLACED = {"src/heap.c", "src/vdso.c", "src/vdso_image.S", "src/main.c"}
DRIVERS = ["virtio/virtqueue.c", "virtio/virtio.c", "virtio-net/virtio_net.c"]
FLAGS = [
    *("-std=gnu11", "-g", "-O1", "-fno-strict-aliasing", "-fwrapv", "-no-pie", "-fno-pie", "-fno-omit-frame-pointer"),
    *("-fsanitize=address,undefined", "-fno-sanitize=alignment,shift", "-fno-sanitize-recover=all"),
    *(f"-I{ROOT / 'hal/include'}", f"-I{NANO / 'include'}", f"-I{HOST}", f"-I{NANO}", f"-I{NANO / 'net/port'}"),
]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def fetched(name: str) -> Path:
    """The unpacked tree of a pinned source."""
    command = [sys.executable, str(NANO / "source_tree.py"), name]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


@pytest.fixture(scope="session")
def lwip() -> Path:
    """lwIP's tree."""
    return fetched("lwip")


@pytest.fixture(scope="session")
def objects(lwip: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kernel with its network, compiled for the host."""
    folder = tmp_path_factory.mktemp("objects")
    kernel = yaml.safe_load((NANO / "kernel.yaml").read_text())
    net = kernel["optional"]["net"]
    ours = [NANO / name for name in kernel["files"] if name not in REPLACED and name.endswith(".c")]
    ours += [NANO / name for name in net["sources"]]
    ours += [ROOT / "hal/drivers" / name for name in DRIVERS]
    ours += [ROOT / "hal/platform/common/driver.c", ROOT / "hal/platform/common/format.c", *sorted(HOST.glob("*.c"))]
    jobs = [(path, WARNINGS) for path in ours] + [(lwip / name, ["-w"]) for name in net["source_files"]]
    found = []
    for number, (source, warnings) in enumerate(jobs):
        target = folder / f"{number}.o"
        include = f"-isystem{lwip / 'src/include'}"
        subprocess.run(["gcc", *FLAGS, *warnings, include, "-c", str(source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTS)
def test_it_holds_under_sanitizers(name: str, objects: list[str], lwip: Path, tmp_path: Path) -> None:
    program = tmp_path / name
    include = f"-isystem{lwip / 'src/include'}"
    command = ["gcc", *FLAGS, *WARNINGS, include, str(HERE / f"{name}.c"), *objects]
    subprocess.run([*command, f"-Wl,-T,{HOST / 'tables.ld'}", "-o", str(program)], check=True)
    environment = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"}
    done = subprocess.run([str(program)], check=False, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr
