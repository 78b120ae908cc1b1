"""The uncompressed Linux kernel as an ELF file without the padding that its link puts between sections.

Linux aligns code, constants and data to 2 MiB, so that each has large pages of its own; two thirds of a slim kernel's
file are such padding. It is zero bytes, and 0xcc (a breakpoint instruction) in code. Tables that start as zero bytes go
with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from rumpel.build.pvh import Elf, Segment

_PT_LOAD = 1
_ALIGN = 16  # of the pieces, in memory and in the file
# A shorter run of zero bytes costs a program header and saves little; breakpoints between functions stay.
_PADDING = re.compile(rb"\x00{1024,}|\xcc{4096,}")


def without_padding(elf: Elf) -> Elf:
    """The same kernel with its segments cut where there is padding.

    Each piece's memory reaches to the next piece, so a loader fills the gaps with zero bytes: the memory is the same
    as before, but for the breakpoints in padding of code, which nothing jumps to.
    """
    segments: list[Segment] = []
    for segment in elf.segments:
        segments += _pieces(segment) if segment.kind == _PT_LOAD else [segment]
    return replace(elf, segments=tuple(segments))


def _pieces(segment: Segment) -> Iterator[Segment]:
    gaps = list(_gaps(segment))
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
                align=_ALIGN,
            )


def _gaps(segment: Segment) -> Iterator[tuple[int, int]]:
    """Where padding begins and ends in the segment's data, at aligned addresses."""
    shift = segment.physical % _ALIGN
    for match in _PADDING.finditer(segment.data):
        begin = match.start() + -(match.start() + shift) % _ALIGN
        end = match.end() - (match.end() + shift) % _ALIGN
        if begin < end:
            yield begin, end
