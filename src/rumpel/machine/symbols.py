"""Names of functions for the places in a program that the guest's report of a crash gives as offsets of its file.

The image's programs are stripped; beside the image lies each with its symbols (System V gABI, chapters 4 and 5).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# As nano's kernels/nano/src/report.c writes it: an address, `?` for a guess, the file and the offset in it.
_PLACE = re.compile(r"^(?P<place>  [0-9a-f]{16}(?: \?)?) (?P<file>/\S+)\+0x(?P<offset>[0-9a-f]+)$", re.MULTILINE)
_REPORT = re.compile(r"^Backtrace of the program", re.MULTILINE)


@dataclass(frozen=True)
class Symbols:
    """The segments of a program as (offset in the file, address, size), and its functions as (address, size, name) in
    ascending order."""

    segments: tuple[tuple[int, int, int], ...]
    functions: tuple[tuple[int, int, str], ...]

    def name(self, offset: int, back: int = 0) -> str:
        """The function that holds the byte `back` before `offset` of the file, as `name+0x1a`; empty: none."""
        look = offset - back
        address = next((at + look - begin for begin, at, size in self.segments if begin <= look < begin + size), -1)
        found = bisect_right(self.functions, address, key=lambda each: each[0]) - 1
        if found < 0:
            return ""
        begin, size, name = self.functions[found]
        return f"{name}+{address - begin + back:#x}" if address < begin + size or size == 0 else ""


def read_symbols(path: Path) -> Symbols | None:
    """None where the file is not there, or is no ELF file with symbols."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                return None
            segments = [(each["p_offset"], each["p_vaddr"], each["p_filesz"]) for each in elf.iter_segments("PT_LOAD")]
            functions = [
                (symbol["st_value"], symbol["st_size"], symbol.name)
                for symbol in table.iter_symbols()
                if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF"
            ]
    except (OSError, ELFError, ValueError):
        return None
    return Symbols(tuple(segments), tuple(sorted(functions)))


def with_names(console: str, folder: Path) -> str:
    """The console's text with a name before each place whose program has its symbols in `folder`."""
    if not _REPORT.search(console):
        return console
    known: dict[str, Symbols | None] = {}
    exact = True

    def named(match: re.Match[str]) -> str:
        nonlocal exact
        # All but the first are where a call returns to, which may be the next function's first byte.
        back, exact = (0, False) if exact else (1, False)
        file = match["file"]
        if file not in known:
            known[file] = read_symbols(folder / PurePosixPath(file).name)
        symbols = known[file]
        name = symbols.name(int(match["offset"], 16), back) if symbols is not None else ""
        return f"{match['place']} {name} ({file}+0x{match['offset']})" if name else match[0]

    return _PLACE.sub(named, console)
