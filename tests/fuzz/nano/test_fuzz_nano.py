"""Each fuzz target of nano for a while, from the corpus in the repository.

RUMPEL_FUZZ_SECONDS says how long each runs (5), RUMPEL_FUZZ_SEED where its chance begins (1; 0: somewhere else each
time).
"""

from __future__ import annotations

import math
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.host.hostkernel import ENVIRONMENT, HostKernel, host_kernel

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("RUMPEL_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("RUMPEL_FUZZ_SEED", "1"))
RUNS = 200_000  # in one process: a machine that has ended leaves its files' list behind there, up to 10 KB
LONGEST = {"erofs": 65536, "packets": 2048, "syscalls": 512}
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> HostKernel:
    """The kernel, compiled for fuzzing."""
    return host_kernel("clang", tmp_path_factory)


def fuzz(program: Path, target: str, folder: Path, seconds: int, seed: int) -> None:
    """Runs a target from the corpus in the repository and what an earlier run left in the folder."""
    limits = [f"-max_total_time={seconds}", f"-runs={RUNS}", f"-seed={seed}", f"-max_len={LONGEST.get(target, 8192)}"]
    command = [str(program), *limits, "-timeout=20", "-rss_limit_mb=3000", str(folder), str(HERE / "corpus" / target)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds * 2 + 120,
        cwd=program.parent,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 300)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_the_kernel(target: str, kernel: HostKernel, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    program = kernel.link(HERE / f"fuzz_{target}.c", tmp_path / target, "-fsanitize=fuzzer")
    end, rounds = time.monotonic() + SECONDS, 0
    while rounds == 0 or time.monotonic() < end:
        left = max(1, math.ceil(end - time.monotonic()))
        fuzz(program, target, corpus, left, SEED + rounds if SEED else 0)
        rounds += 1
