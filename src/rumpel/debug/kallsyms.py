"""The symbols that a stripped Linux kernel carries for its own backtraces (Linux `scripts/kallsyms.c`, as of 6.1).

In the kernel's read-only data lie, one behind the other and each aligned to eight bytes:

| table | what |
|---|---|
| offsets | 32 bits a symbol: its value where each CPU has its own, else minus one minus the distance from the base |
| base | 64 bits: the kernel's first address |
| count | of symbols, 32 bits |
| names | of each symbol a length and so many tokens, one byte each |
| markers | where in `names` each 256th symbol begins, 32 bits each |
| order | of the symbols by name, 24 bits each; not in every version |
| tokens | 256 strings, each ended by a NUL byte; the first character of a name is the kind that `nm` shows |
| index | where in `tokens` each token begins, 16 bits each |

Nothing names these places. `base` is known, and markers that fit the names behind it prove that it was the right one.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence

from rumpel.debug.elffile import Symbol, segments

_TOKENS = 256
_MARKED = 256  # symbols a marker
_DIGITS = b"".join(bytes([digit, 0]) for digit in b"0123456789")
_FEWEST, _MOST = 1000, 1 << 20  # symbols of a kernel
_KERNEL = 0xFFFFFFFF80000000  # the lowest address of a kernel's code


def symbols_of(kernel: bytes) -> list[Symbol]:
    """The symbols in the ELF file `kernel`, by address; empty where it carries none in this form."""
    loaded = [segment for segment in segments(kernel) if segment.address >= _KERNEL]
    for segment in loaded:
        found = _in_segment(segment.content, min(each.address for each in loaded))
        if found:
            return sorted(found, key=lambda symbol: symbol.address)
    return []


def _in_segment(data: bytes, base: int) -> list[Symbol]:
    found = _find_names(data, base)
    if found is None:
        return []
    names, count, end = found
    tokens = next((tokens for tokens, begin in _token_tables(data) if begin >= end), None)
    return [] if tokens is None else list(_symbols(data, names, count, tokens))


def _find_names(data: bytes, base: int) -> tuple[int, int, int] | None:
    """Where `names` begins, the number of symbols, and where the markers end."""
    wanted = base.to_bytes(8, "little")
    at = data.find(wanted)
    while at >= 0:
        count = int.from_bytes(data[at + 8 : at + 16], "little")
        if _FEWEST <= count <= _MOST:
            markers = _marks(data, at + 16, count)
            if markers is not None:
                return at + 16, count, markers
        at = data.find(wanted, at + 1)
    return None


def _marks(data: bytes, names: int, count: int) -> int | None:
    """Where the markers of `count` names from `names` on end; None where no such markers follow."""
    at = names
    marks = []
    for number in range(count):
        if number % _MARKED == 0:
            marks.append(at - names)
        if at + 1 >= len(data):
            return None
        length, at = _length(data, at)
        at += length
    begin = _aligned(at)
    expected = struct.pack(f"<{len(marks)}I", *marks)
    return begin + len(expected) if data[begin : begin + len(expected)] == expected else None


def _token_tables(data: bytes) -> Iterator[tuple[list[bytes], int]]:
    """The tokens of each place that looks like such a table, and where it begins."""
    at = data.find(_DIGITS)
    while at >= 0:
        for index in range(_aligned(at), min(at + 4096, len(data) - 2 * _TOKENS), 8):
            places = struct.unpack_from(f"<{_TOKENS}H", data, index)
            begin = at - places[ord("0")]
            if places[0] != 0 or begin < 0 or begin % 8 or not _ascending(places):
                continue
            if all(data[begin + place - 1] == 0 for place in places[1:]) and begin + places[-1] < index:
                ends = (*(place - 1 for place in places[1:]), data.index(b"\0", begin + places[-1]) - begin)
                yield [data[begin + a : begin + b] for a, b in zip(places, ends, strict=True)], begin
        at = data.find(_DIGITS, at + 1)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """How many tokens the name at `at` has, and where they begin."""
    low = data[at]
    return (low, at + 1) if low < 0x80 else (low & 0x7F | data[at + 1] << 7, at + 2)


def _symbols(data: bytes, names: int, count: int, tokens: list[bytes]) -> Iterator[Symbol]:
    base = int.from_bytes(data[names - 16 : names - 8], "little")
    offsets = struct.unpack_from(f"<{count}i", data, names - 16 - (4 * count + 7) // 8 * 8)
    of_a_cpu = any(offset < 0 for offset in offsets)
    at = names
    for offset in offsets:
        length, at = _length(data, at)
        text = b"".join(tokens[token] for token in data[at : at + length])
        at += length
        relative = base - 1 - offset if offset < 0 else offset
        address = relative if of_a_cpu else base + (offset & 0xFFFFFFFF)
        yield Symbol(text[1:].decode("utf-8", "replace"), address, text[:1] in b"tTwW" and address >= _KERNEL)


def _ascending(numbers: Sequence[int]) -> bool:
    return all(low < high for low, high in itertools.pairwise(numbers))


def _aligned(offset: int) -> int:
    return max(0, (offset + 7) // 8 * 8)
