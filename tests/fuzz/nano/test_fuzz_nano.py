"""Each fuzz target of nano for a while, from the corpus in the repository.

RUMPEL_FUZZ_SECONDS says how long each runs (5), RUMPEL_FUZZ_SEED where its chance begins (1; 0: somewhere else each
time).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.host.hostkernel import ENVIRONMENT, HostKernel, host_kernel

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("RUMPEL_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("RUMPEL_FUZZ_SEED", "1"))
LONGEST = {"erofs": 65536, "packets": 2048, "syscalls": 512}
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> HostKernel:
    """The kernel, compiled for fuzzing."""
    return host_kernel("clang", tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS * 2 + 300)
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_the_kernel(target: str, kernel: HostKernel, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    program = kernel.link(HERE / f"fuzz_{target}.c", tmp_path / target, "-fsanitize=fuzzer")
    limits = [f"-max_total_time={SECONDS}", f"-seed={SEED}", f"-max_len={LONGEST.get(target, 8192)}"]
    command = [str(program), *limits, "-timeout=20", "-rss_limit_mb=3000", str(corpus), str(HERE / "corpus" / target)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS * 2 + 120,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done " in done.stderr
