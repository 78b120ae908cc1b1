"""An x86-64 ELF kernel with a PVH entry: recognise it, and write it again with no byte that a loader does not need.

The PVH entry is the 32-bit physical address in the note XEN_ELFNOTE_PHYS32_ENTRY of "Xen" (Xen
`docs/misc/pvh.pandoc`, `xen/include/public/elfnote.h`); QEMU's `-kernel` starts an ELF file that has one directly.
A kernel as it is linked has its segments aligned to 2 MiB in the file and holds .bss as zero bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_NOTE = struct.Struct("<III")

_PT_LOAD = 1
_PT_NOTE = 4
_EM_X86_64 = 62
_PAGE = 4096
_READ_WRITE_EXECUTE = 7
PHYS32_ENTRY = 18


@dataclass(frozen=True)
class Segment:
    """One program header, with its bytes in the file."""

    kind: int
    flags: int
    virtual: int
    physical: int
    memory_size: int
    align: int
    data: bytes


@dataclass(frozen=True)
class Elf:
    """What of an ELF executable a loader reads."""

    ident: bytes
    kind: int
    entry: int
    flags: int
    segments: tuple[Segment, ...]


def parse(image: bytes) -> Elf | None:
    """The ELF executable in `image`; None where it is not a whole little-endian x86-64 one."""
    if len(image) < _EHDR.size:
        return None
    ident, kind, machine, _, entry, phoff, _, flags, _, phentsize, phnum, *_ = _EHDR.unpack_from(image)
    if ident[:6] != b"\x7fELF\x02\x01" or machine != _EM_X86_64 or phentsize != _PHDR.size:
        return None
    if phoff + phnum * _PHDR.size > len(image):
        return None
    segments = []
    for index in range(phnum):
        p_type, p_flags, offset, vaddr, paddr, filesz, memsz, align = _PHDR.unpack_from(
            image, phoff + index * _PHDR.size
        )
        if offset + filesz > len(image) or memsz < filesz:
            return None
        segments.append(Segment(p_type, p_flags, vaddr, paddr, memsz, align, image[offset : offset + filesz]))
    return Elf(ident, kind, entry, flags, tuple(segments))


def entry_point(elf: Elf) -> int | None:
    """The PVH entry's physical address; None where the kernel has none."""
    for segment in elf.segments:
        place = _entry_place(segment) if segment.kind == _PT_NOTE else None
        if place is not None:
            return int.from_bytes(segment.data[place], "little")
    return None


def _entry_place(notes: Segment) -> slice | None:
    """Where in the segment's data the note's value stands."""
    position = 0
    while position + _NOTE.size <= len(notes.data):
        name_size, value_size, kind = _NOTE.unpack_from(notes.data, position)
        name_at = position + _NOTE.size
        value_at = name_at + _aligned(name_size, 4)
        position = value_at + _aligned(value_size, 4)
        if position > len(notes.data):
            break
        name = notes.data[name_at : name_at + name_size].rstrip(b"\0")
        if name == b"Xen" and kind == PHYS32_ENTRY and value_size >= 4:
            return slice(value_at, value_at + value_size)
    return None


def _with_entry(notes: Segment, address: int) -> Segment:
    place = _entry_place(notes)
    if place is None:
        return notes
    value = address.to_bytes(place.stop - place.start, "little")
    return replace(notes, data=notes.data[: place.start] + value + notes.data[place.stop :])


def with_prologue(elf: Elf, code: bytes, address: int) -> Elf | None:
    """The same kernel with `code` at the physical `address`, which is entered in its place.

    The 32 bits at `code`'s fifth byte receive the kernel's own entry, where the code goes on to. None where the
    kernel has no entry, or lies where the code would.
    """
    entry = entry_point(elf)
    if entry is None:
        return None
    for segment in elf.segments:
        end = segment.physical + segment.memory_size
        if segment.kind == _PT_LOAD and address < end and segment.physical < address + len(code):
            return None
    data = code[:4] + struct.pack("<I", entry) + code[8:]
    prologue = Segment(_PT_LOAD, _READ_WRITE_EXECUTE, address, address, len(data), _PAGE, data)
    moved = (_with_entry(segment, address) if segment.kind == _PT_NOTE else segment for segment in elf.segments)
    return replace(elf, segments=(prologue, *moved))


def packed(elf: Elf) -> bytes:
    """The same executable with its LOAD and NOTE segments only, trailing zero bytes left to the loader.

    File offsets stay congruent to addresses modulo the segment's alignment (at most a page), as the ELF specification
    asks. A loader fills memory beyond a segment's file size with zero bytes, so what is loaded is the same, byte for
    byte.
    """
    kept = [segment for segment in elf.segments if segment.kind in (_PT_LOAD, _PT_NOTE)]
    body = bytearray(_EHDR.size + len(kept) * _PHDR.size)
    headers = []
    for segment in kept:
        data = segment.data.rstrip(b"\0") if segment.kind == _PT_LOAD else segment.data
        align = min(max(segment.align, 1), _PAGE)
        body += bytes((segment.virtual - len(body)) % align)
        offset = len(body)
        body += data
        headers.append(
            _PHDR.pack(
                segment.kind,
                segment.flags,
                offset,
                segment.virtual,
                segment.physical,
                len(data),
                segment.memory_size,
                align,
            )
        )
    body[: _EHDR.size] = _EHDR.pack(
        elf.ident,
        elf.kind,
        _EM_X86_64,
        1,
        elf.entry,
        _EHDR.size,
        0,
        elf.flags,
        _EHDR.size,
        _PHDR.size,
        len(kept),
        0,
        0,
        0,
    )
    body[_EHDR.size : _EHDR.size + len(kept) * _PHDR.size] = b"".join(headers)
    return bytes(body)


def _aligned(value: int, align: int) -> int:
    return (value + align - 1) // align * align
