"""The kernel's own sources on the host platform, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.host.hostkernel import ENVIRONMENT, ROOT, HostKernel, host_kernel

HERE = Path(__file__).parent
IMAGES = ROOT / "tests/fuzz/nano/corpus/erofs"
TESTS = sorted(path.stem for path in HERE.glob("test_*.c"))


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> HostKernel:
    """The kernel, compiled for the host."""
    return host_kernel("gcc", tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTS)
def test_it_holds_under_sanitizers(name: str, kernel: HostKernel, tmp_path: Path) -> None:
    program = kernel.link(HERE / f"{name}.c", tmp_path / name)
    command = [str(program), str(IMAGES)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


def test_the_bare_machines_memory_functions_mean_what_c_says(tmp_path: Path) -> None:
    program = tmp_path / "strings"
    renamed = [f"-D{name}=pvh_{name}" for name in ("memcpy", "memmove", "memset")]
    assembled = tmp_path / "string.o"
    subprocess.run(["gcc", *renamed, "-c", str(ROOT / "hal/platform/pvh/string.S"), "-o", str(assembled)], check=True)
    strict = ["gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined"]
    subprocess.run([*strict, str(HERE / "strings_pvh.c"), str(assembled), "-o", str(program)], check=True)
    done = subprocess.run([str(program)], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
