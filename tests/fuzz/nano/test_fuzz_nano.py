"""Each fuzz target of nano for a while, from the corpus in the repository. RUMPEL_FUZZ_SECONDS says how long."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
HOST = ROOT / "hal/platform/host"
NANO = ROOT / "kernels/nano"
REPLACED = {"src/heap.c", "src/vdso.c", "src/vdso_image.S", "src/main.c"}
SECONDS = int(os.environ.get("RUMPEL_FUZZ_SECONDS", "5"))
LONGEST = {"erofs": 65536}
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
FLAGS = [
    *(
        "-std=gnu11",
        "-g",
        "-O1",
        "-fno-strict-aliasing",
        "-fwrapv",
        "-no-pie",
        "-fno-pie",
        "-Wno-unused-command-line-argument",
    ),
    *("-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize=alignment,shift,function"),
    # The kernel's tables are arrays made by the linker: nothing may lie between their rows.
    *("-fno-sanitize-recover=all", "-mllvm", "-asan-globals=0"),
    *(f"-I{ROOT / 'hal/include'}", f"-I{NANO / 'include'}", f"-I{HOST}"),
]


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kernel, compiled for fuzzing."""
    folder = tmp_path_factory.mktemp("objects")
    description = yaml.safe_load((NANO / "kernel.yaml").read_text())
    names = [*description["files"], *description["optional"]["root-disk"]["sources"]]
    sources = [NANO / name for name in names if name not in REPLACED and name.endswith(".c")]
    sources += [ROOT / "hal/platform/common/driver.c", ROOT / "hal/platform/common/format.c", *sorted(HOST.glob("*.c"))]
    sources += [*sorted((ROOT / "hal/drivers/virtio").glob("*.c")), ROOT / "hal/drivers/virtio-net/virtio_net.c"]
    found = []
    for source in sources:
        target = folder / ("_".join(source.relative_to(ROOT).parts) + ".o")
        subprocess.run(["clang", *FLAGS, "-c", str(source), "-o", str(target)], check=True)
        found.append(str(target))
    return found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 240)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_the_kernel(target: str, objects: list[str], tmp_path: Path) -> None:
    program, corpus = tmp_path / target, tmp_path / "corpus"
    corpus.mkdir()
    link = [*FLAGS, "-fsanitize=fuzzer", f"-Wl,-T,{HOST / 'tables.ld'}"]
    subprocess.run(["clang", *link, str(HERE / f"fuzz_{target}.c"), *objects, "-o", str(program)], check=True)
    done = subprocess.run(
        [
            str(program),
            *(
                f"-max_total_time={SECONDS}",
                f"-max_len={LONGEST.get(target, 8192)}",
                "-timeout=20",
                "-rss_limit_mb=3000",
            ),
            *(str(corpus), str(HERE / "corpus" / target)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS * 2 + 120,
        cwd=tmp_path,
        env={"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr
