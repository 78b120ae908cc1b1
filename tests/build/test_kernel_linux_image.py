"""The kernel's file without padding: the same memory, a smaller file."""

from __future__ import annotations

import struct

import pytest

from rumpel.build import pvh
from rumpel.build.kernel_linux_image import without_padding

PAGE = 4096
BASE = 0x1000000


def _kernel(*loads: tuple[int, bytes, int]) -> bytes:
    """An ELF file of LOAD segments (address, bytes, size in memory)."""
    headers, body = b"", bytearray(64 + 56 * len(loads))
    for address, data, size in loads:
        body += bytes((address - len(body)) % PAGE)
        headers += struct.pack("<IIQQQQQQ", 1, 7, len(body), address, address, len(data), size, PAGE)
        body += data
    body[64 : 64 + len(headers)] = headers
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    body[:64] = struct.pack("<16sHHIQQQIHHHHHH", ident, 2, 62, 1, BASE, 64, 0, 0, 64, 56, len(loads), 0, 0, 0)
    return bytes(body)


def _loaded(image: bytes) -> dict[int, int]:
    """Memory after a loader is done (ELF-64 object file format, program headers): bytes that are not zero."""
    elf = pvh.parse(image)
    assert elf is not None
    memory: dict[int, int] = {}
    covered: set[int] = set()
    for segment in elf.segments:
        pages = set(range(segment.physical // PAGE, (segment.physical + segment.memory_size - 1) // PAGE + 1))
        assert segment.virtual % PAGE == segment.physical % PAGE
        covered |= pages
        memory |= {segment.physical + place: byte for place, byte in enumerate(segment.data) if byte}
    memory[-1] = len(covered)
    return memory


def _packed(image: bytes) -> bytes:
    elf = pvh.parse(image)
    assert elf is not None
    return pvh.packed(without_padding(elf))


def test_zero_pages_leave_the_file_and_stay_in_memory() -> None:
    data = b"code" * 2000 + bytes(40 * PAGE) + b"constants" + bytes(5 * PAGE) + b"end"
    image = _kernel((BASE, data, len(data) + 3 * PAGE), (BASE + 0x200000, b"data" * 100, 0x5000))
    packed = _packed(image)
    assert _loaded(packed) == _loaded(image)
    assert len(packed) < 8 * PAGE < len(image)


def test_breakpoints_that_fill_code_up_to_a_large_page_leave_the_file() -> None:
    code = b"\x90" * 100
    between = code + b"\xcc" * 12 + code
    image = _kernel((BASE, between + b"\xcc" * (0x200000 - 212) + code, 0x200000 + 100))
    packed = _packed(image)
    loaded = _loaded(packed)
    # Those between two functions stay.
    assert bytes(loaded[BASE + place] for place in range(212)) == between
    assert [loaded[BASE + 0x200000 + place] for place in (0, 99)] == [0x90, 0x90]
    assert not any(BASE + 224 <= place < BASE + 0x200000 for place in loaded)
    assert len(packed) < PAGE


def test_a_short_run_of_zero_bytes_is_not_worth_a_segment() -> None:
    data = b"a" * PAGE + bytes(1000) + b"b" * PAGE
    elf = pvh.parse(_kernel((BASE, data, len(data))))
    assert elf is not None
    assert [segment.data for segment in without_padding(elf).segments] == [data]


@pytest.mark.parametrize("shift", range(16))
def test_pieces_are_aligned_wherever_the_segment_begins(shift: int) -> None:
    data = b"x" + bytes(10 * PAGE) + b"y" + bytes(2000) + b"z"
    image = _kernel((BASE + shift, data, len(data) + 5))
    packed = _packed(image)
    elf = pvh.parse(packed)
    assert elf is not None
    assert all(segment.physical % 16 == 0 for segment in elf.segments[1:])
    assert _loaded(packed) == _loaded(image)
    assert len(packed) < 1000
