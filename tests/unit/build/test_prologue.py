"""The code before the kernel: it lies where nothing else does, and goes on to the kernel's own entry."""

from __future__ import annotations

import struct
from pathlib import Path

from rumpel.build import prologue, pvh
from rumpel.build.step import Workspace
from rumpel.resolve.plan import Source

ROOT = Path(__file__).resolve().parents[3]
ENTRY = 0x1000850


def _kernel(physical: int) -> pvh.Elf:
    note = struct.pack("<III4sQ", 4, 8, pvh.PHYS32_ENTRY, b"Xen\0", ENTRY)
    load = pvh.Segment(1, 5, 0xFFFFFFFF81000000, physical, 0x1000, 0x1000, b"kernel")
    return pvh.Elf(b"\x7fELF\x02\x01".ljust(16, b"\0"), 2, 0, 0, (load, pvh.Segment(4, 4, 0, 0, len(note), 4, note)))


def _no_source(source: Source) -> Path:
    raise AssertionError(source)


def test_the_assembled_prologue_is_entered_first_and_knows_the_kernels_entry() -> None:
    code = prologue.assemble(Workspace(ROOT, _no_source), ROOT / prologue.PROLOGUE, "kernel/debian")
    prefixed = pvh.with_prologue(_kernel(0x1000000), code, prologue.ADDRESS)
    assert prefixed is not None
    loaded = pvh.parse(pvh.packed(prefixed))
    assert loaded is not None
    assert pvh.entry_point(loaded) == prologue.ADDRESS
    first = loaded.segments[0]
    assert first.physical == prologue.ADDRESS
    assert struct.unpack_from("<I", first.data, 4) == (ENTRY,)
    assert first.data[:4] == code[:4]
    assert first.data[8:] == code[8:].rstrip(b"\0")
    assert first.memory_size == len(code)


def test_a_kernel_that_lies_where_the_prologue_would_is_refused() -> None:
    assert pvh.with_prologue(_kernel(prologue.ADDRESS - 0x800), bytes(600), prologue.ADDRESS) is None
