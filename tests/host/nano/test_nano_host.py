"""The kernel's own sources on the host platform, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
HOST = ROOT / "hal/platform/host"
NANO = ROOT / "kernels/nano"
IMAGES = ROOT / "tests/fuzz/nano/corpus/erofs"
TESTS = sorted(path.stem for path in HERE.glob("test_*.c"))
# What the host platform has its own of: the heap (malloc, so that the sanitizer sees each block), the vDSO, the life of
# the whole machine.
REPLACED = {"src/heap.c", "src/vdso.c", "src/vdso_image.S", "src/main.c"}
FLAGS = [
    *(
        "-std=gnu11",
        "-g",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fno-strict-aliasing",
        "-fwrapv",
        "-no-pie",
        "-fno-pie",
    ),
    *("-fsanitize=address,undefined", "-fno-sanitize=alignment,shift", "-fno-sanitize-recover=all"),
    *("-fno-omit-frame-pointer", f"-I{ROOT / 'hal/include'}", f"-I{NANO / 'include'}", f"-I{HOST}"),
]


def kernel_sources() -> list[Path]:
    """The kernel's C files that the host builds too."""
    description = yaml.safe_load((NANO / "kernel.yaml").read_text())
    names = [*description["files"], *description["optional"]["root-disk"]["sources"]]
    files = [NANO / name for name in names if name not in REPLACED and name.endswith(".c")]
    files += [ROOT / "hal/platform/common/driver.c", ROOT / "hal/platform/common/format.c"]
    return [*files, *sorted(HOST.glob("*.c"))]


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kernel, compiled for the host."""
    folder = tmp_path_factory.mktemp("objects")
    found = []
    for source in kernel_sources():
        target = folder / ("_".join(source.relative_to(ROOT).parts) + ".o")
        subprocess.run(["gcc", *FLAGS, "-c", str(source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTS)
def test_it_holds_under_sanitizers(name: str, objects: list[str], tmp_path: Path) -> None:
    program = tmp_path / name
    command = ["gcc", *FLAGS, str(HERE / f"{name}.c"), *objects, f"-Wl,-T,{HOST / 'tables.ld'}", "-o", str(program)]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [str(program), str(IMAGES)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"},
    )
    assert done.returncode == 0, done.stderr
