"""The place for what a machine writes: how QEMU reads and writes it."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

import pytest

from rumpel.build.emulators import built_emulator, program_of
from rumpel.machine.snapshots import make_scratch

IO_URING_SETUP = 425
SYSTEM = shutil.which("qemu-system-x86_64") or ""


@pytest.fixture
def io_uring() -> None:
    """Skips where the kernel gives this process no io_uring."""
    descriptor = ctypes.CDLL(None).syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if descriptor < 0:
        pytest.skip("this kernel gives no io_uring")
    os.close(descriptor)


@pytest.mark.usefixtures("io_uring")
def test_debians_qemu_reads_snapshots_by_io_uring(tmp_path: Path) -> None:
    assert make_scratch(tmp_path, {}, SYSTEM).aio == "io_uring"


@pytest.mark.usefixtures("io_uring")
def test_rumpels_own_qemu_reads_snapshots_by_io_uring(tmp_path: Path) -> None:
    built = built_emulator()
    if built is None:
        pytest.skip("Rumpel's own QEMU is not built")
    assert make_scratch(tmp_path, {}, str(program_of(built))).aio == "io_uring"


def test_a_qemu_without_io_uring_reads_snapshots_by_threads(tmp_path: Path) -> None:
    program = tmp_path / "qemu"
    program.write_bytes(b"\0aio=io_uring\0")
    assert make_scratch(tmp_path, {}, str(program)).aio == "threads"
