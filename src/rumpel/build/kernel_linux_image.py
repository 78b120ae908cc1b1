"""The uncompressed Linux kernel as an ELF file without the padding that its link puts between sections.

Linux aligns code, constants and data to 2 MiB, so that each has large pages of its own; two thirds of a slim kernel's
file are such padding. It is zero bytes, and 0xcc (a breakpoint instruction) in code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rumpel.build.pvh import Elf, Segment

_PT_LOAD = 1
_PAGE = 4096
_LEAST = 2 * _PAGE  # a shorter gap costs a program header and saves little
_ZEROS = bytes(_PAGE)
_BREAKPOINTS = b"\xcc" * _PAGE


def without_padding(elf: Elf) -> Elf:
    """The same kernel with its segments cut where whole pages are padding.

    Each piece's memory reaches to the next piece, so a loader fills the gaps with zero bytes: the memory is the same
    as before, but for the breakpoints in padding of code, which nothing jumps to.
    """
    segments: list[Segment] = []
    for segment in elf.segments:
        segments += _pieces(segment) if segment.kind == _PT_LOAD else [segment]
    return replace(elf, segments=tuple(segments))


def _pieces(segment: Segment) -> Iterator[Segment]:
    gaps = [gap for gap in _gaps(segment.data, -segment.physical % _PAGE) if gap[1] - gap[0] >= _LEAST]
    starts = [0, *(end for _, end in gaps)]
    ends = [*(start for start, _ in gaps), len(segment.data)]
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        limit = starts[index + 1] if index + 1 < len(starts) else segment.memory_size
        if limit > start:
            yield replace(
                segment,
                virtual=segment.virtual + start,
                physical=segment.physical + start,
                memory_size=limit - start,
                data=segment.data[start:end],
            )


def _gaps(data: bytes, first: int) -> Iterator[tuple[int, int]]:
    """Runs of whole pages of padding, as offsets; `first` is the offset of the first whole page."""
    begin = -1
    place = first
    while place + _PAGE <= len(data):
        padding = data[place : place + _PAGE] in (_ZEROS, _BREAKPOINTS)
        if padding and begin < 0:
            begin = place
        elif not padding and begin >= 0:
            yield begin, place
            begin = -1
        place += _PAGE
    if begin >= 0:
        yield begin, place
