"""A place in a stripped program is given the name that the program with symbols has for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from rumpel.machine.symbols import read_symbols, with_names

SOURCE = "void callee(void) {}\nint main(void) { callee(); return 0; }\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program `tell` and its symbols, linked so that offsets of the file are no addresses."""
    found = tmp_path_factory.mktemp("debug")
    (found / "main.c").write_text(SOURCE)
    command = ["gcc", "-O0", "-no-pie", "-static", str(found / "main.c"), "-o", str(found / "tell")]
    subprocess.run(command, check=True)
    return found


def function(folder: Path, name: str) -> tuple[int, int]:
    """Where in the file a function begins, and its size."""
    with (folder / "tell").open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        [symbol] = table.get_symbol_by_name(name) or []
        [offset] = elf.address_offsets(symbol["st_value"])
        return int(offset), int(symbol["st_size"])


def test_the_first_place_is_exact_and_the_others_lie_behind_a_call(folder: Path) -> None:
    callee, size = function(folder, "callee")
    main, _ = function(folder, "main")
    text = (
        "Backtrace of the program (? : a guess from its stack):\n"
        f"  00005555deadbeef /bin/tell+{callee:#x}\n"
        f"  00005555deadbeef ? /bin/tell+{main + 9:#x}\n"
        f"  00005555deadbeef /bin/tell+{callee + size:#x}\n"
    )
    assert with_names(text, folder).splitlines()[1:] == [
        f"  00005555deadbeef callee+0x0 (/bin/tell+{callee:#x})",
        f"  00005555deadbeef ? main+0x9 (/bin/tell+{main + 9:#x})",
        f"  00005555deadbeef callee+{size:#x} (/bin/tell+{callee + size:#x})",
    ]


def test_what_has_no_name_stays_as_it_is(folder: Path) -> None:
    text = "Backtrace of the program:\n  00005555deadbeef /bin/other+0x10\n  00005555deadbeef /bin/tell+0xfffffff\n"
    assert with_names(text, folder) == text
    without = "  00005555deadbeef /bin/tell+0x1000\n"
    assert with_names(without, folder) == without
    assert read_symbols(folder / "main.c") is None
    assert read_symbols(folder / "none") is None


def test_a_stripped_program_has_no_names(folder: Path, tmp_path: Path) -> None:
    subprocess.run(["strip", "-o", str(tmp_path / "tell"), str(folder / "tell")], check=True)
    assert read_symbols(tmp_path / "tell") is None
