"""What only the machine's monitor can see or do: control registers, page rights, a kernel that crashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.abi import nano

PROGRAMS = Path(__file__).with_name("programs")
SMEP, SMAP, UMIP, PAGING_WRITE_PROTECT = 1 << 20, 1 << 21, 1 << 11, 1 << 16

pytestmark = pytest.mark.boot


@pytest.fixture(scope="session")
def spinning(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A root filesystem whose program computes for ever."""
    return nano.root(nano.compile_static(PROGRAMS / "spin.c", tmp_path_factory.mktemp("spin") / "spin", "gcc"))


def test_smep_smap_umip_and_write_protection_are_on(kernel: Path, spinning: bytes, tmp_path: Path) -> None:
    answers, _ = nano.run_with_monitor(kernel, spinning, tmp_path, ("info registers", "quit"))
    found = re.search(r"CR0=([0-9a-f]+) .*CR4=([0-9a-f]+)", answers)
    assert found, answers
    cr0, cr4 = int(found[1], 16), int(found[2], 16)
    assert cr4 & (SMEP | SMAP | UMIP) == SMEP | SMAP | UMIP, hex(cr4)
    assert cr0 & PAGING_WRITE_PROTECT, hex(cr0)


def test_no_page_is_writable_and_executable(kernel: Path, spinning: bytes, tmp_path: Path) -> None:
    answers, _ = nano.run_with_monitor(kernel, spinning, tmp_path, ("info tlb", "quit"))
    rows = re.findall(r"^([0-9a-f]{16}): [0-9a-f]{16} ([-A-Z]{9})", answers, re.MULTILINE)
    assert len(rows) > 500, answers[:2000]
    assert any(not flags.startswith("X") for _, flags in rows), "the monitor shows no right to execute"
    # The first letter is X where execution is forbidden; the last is W where writing is allowed.
    both = [address for address, flags in rows if not flags.startswith("X") and flags.endswith("W")]
    assert both == []


def test_a_crash_of_the_kernel_is_reported_with_registers_and_names(
    kernel: Path, spinning: bytes, tmp_path: Path
) -> None:
    _, end = nano.run_with_monitor(kernel, spinning, tmp_path, ("nmi",))
    assert end.control[-1] == "panic A non-maskable interrupt came."
    assert "The kernel crashed. A non-maskable interrupt came." in end.console
    assert re.search(r"rip [0-9a-f]{16} rsp [0-9a-f]{16}", end.console)
    assert "The last system calls:" in end.console
    assert "thread 2 arch_prctl = 0" in end.console
    assert end.console.splitlines()[-1] == "Panic: A non-maskable interrupt came."
