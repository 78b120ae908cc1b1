"""Symbol tables of 64-bit little-endian ELF files: read quickly, and written for GDB (System V gABI, chapter 4)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_IDENT = b"\x7fELF\x02\x01\x01"
_PT_LOAD = 1
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS = 1, 2, 3, 8
_SHN_ABS = 0xFFF1
_X86_64 = 62
_ET_EXEC = 2
_TEXT = 1  # the number of the section that holds the code in what is written here


@dataclass(frozen=True)
class Loaded:
    """One loaded segment: the address and the bytes that the file holds of it."""

    address: int
    content: bytes


@dataclass(frozen=True)
class Symbol:
    """A name and its address; `code`: it lies in the kernel's code."""

    name: str
    address: int
    code: bool


def is_elf64(data: bytes) -> bool:
    """Whether `data` begins as such a file does."""
    return len(data) >= _HEADER.size and data.startswith(_IDENT[:6])


def entry_of(data: bytes) -> int:
    """The address of the first instruction, as the file says it."""
    return int(_HEADER.unpack_from(data)[4])


def segments(data: bytes) -> list[Loaded]:
    """The loaded segments in the order of the file. Raises ValueError where the file is damaged."""
    fields = _HEADER.unpack_from(data)
    offset, count = fields[5], fields[10]
    found = []
    try:
        for number in range(count):
            kind, _, start, address, _, size, _, _ = _PROGRAM.unpack_from(data, offset + number * _PROGRAM.size)
            if kind == _PT_LOAD:
                found.append(Loaded(address, data[start : start + size]))
    except struct.error as error:
        raise ValueError(f"a program header is outside of the file: {error}") from error
    return found


def read(data: bytes, address: int, size: int) -> bytes:
    """What the file loads at `address`; empty where that is not in it."""
    for segment in segments(data):
        start = address - segment.address
        if 0 <= start < len(segment.content):
            return segment.content[start : start + size]
    return b""


def addresses(data: bytes, names: Collection[str]) -> dict[str, int]:
    """The addresses of those of `names` that the symbol table defines; raises ValueError where it is damaged."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, int] = {}
    try:
        for table, strings in _tables(data):
            for text, _, _, section, value, _ in _SYMBOL.iter_unpack(table):
                if section:
                    end = strings.index(b"\0", text)
                    name = wanted.get(strings[text:end])
                    if name is not None:
                        found.setdefault(name, value)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the symbol table is damaged: {error}") from error
    return found


def has_lines(data: bytes) -> bool:
    """Whether the file knows lines of source (DWARF)."""
    return any(name == b".debug_line" for name in _section_names(data))


def _sections(data: bytes) -> list[tuple[int, ...]]:
    fields = _HEADER.unpack_from(data)
    return [_SECTION.unpack_from(data, fields[6] + number * _SECTION.size) for number in range(fields[12])]


def _section_names(data: bytes) -> list[bytes]:
    sections = _sections(data)
    index = _HEADER.unpack_from(data)[13]
    if index >= len(sections):
        return []
    strings = _content(data, sections[index])
    return [strings[each[0] : strings.index(b"\0", each[0])] for each in sections]


def _tables(data: bytes) -> list[tuple[bytes, bytes]]:
    """Each symbol table with its strings."""
    sections = _sections(data)
    return [(_content(data, each), _content(data, sections[each[6]])) for each in sections if each[1] == _SHT_SYMTAB]


def _content(data: bytes, section: tuple[int, ...]) -> bytes:
    return data[section[4] : section[4] + section[5]]


def write_symbols(path: Path, symbols: Sequence[Symbol]) -> None:
    """An ELF file that holds nothing but `symbols`, of a program at fixed addresses."""
    code = [symbol.address for symbol in symbols if symbol.code]
    begin, end = (min(code), max(code) + 1) if code else (0, 0)
    strings = bytearray(b"\0")
    table = bytearray(_SYMBOL.pack(0, 0, 0, 0, 0, 0))
    for symbol in symbols:
        kind = 2 if symbol.code else 1  # STT_FUNC, STT_OBJECT
        section = _TEXT if symbol.code else _SHN_ABS
        table += _SYMBOL.pack(len(strings), 1 << 4 | kind, 0, section, symbol.address, 0)
        strings += symbol.name.encode() + b"\0"
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    at = _place({"table": bytes(table), "strings": bytes(strings), "names": names}, _HEADER.size)
    sections = [
        (0,) * 10,
        (names.index(b".text"), _SHT_NOBITS, 6, begin, _HEADER.size, end - begin, 0, 0, 16, 0),
        (names.index(b".symtab"), _SHT_SYMTAB, 0, 0, at["table"], len(table), 3, 1, 8, _SYMBOL.size),
        (names.index(b".strtab"), _SHT_STRTAB, 0, 0, at["strings"], len(strings), 0, 0, 1, 0),
        (names.index(b".shstrtab"), _SHT_STRTAB, 0, 0, at["names"], len(names), 0, 0, 1, 0),
    ]
    end_of_content = at["names"] + len(names)
    headers = end_of_content + (-end_of_content % 8)
    header = _HEADER.pack(
        _IDENT.ljust(16, b"\0"), _ET_EXEC, _X86_64, 1, begin, 0, headers, 0, _HEADER.size, 0, 0, _SECTION.size,
        len(sections), len(sections) - 1,
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(header + bytes(table) + bytes(strings) + names)
        file.write(bytes(headers - end_of_content))
        file.writelines(_SECTION.pack(*section) for section in sections)


def _place(parts: Mapping[str, bytes], offset: int) -> dict[str, int]:
    """Where each part begins, one behind the other."""
    places = {}
    for name, part in parts.items():
        places[name] = offset
        offset += len(part)
    return places
