"""The name of a program by its content (the note NT_GNU_BUILD_ID), the same in its stripped and its unstripped file.

The linker's own way would hash the debugging information too: a comment that moves a line would be another program.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from rumpel.build.toolchain import BUILD_ID

_SECTION = ".note.gnu.build-id"


def name_by_content(stripped: Path, unstripped: Path) -> None:
    """Write the SHA-1 of `stripped`, in which the name is all zeros, into both files as their name."""
    name = hashlib.sha1(stripped.read_bytes(), usedforsecurity=False).digest()
    for path in (stripped, unstripped):
        with path.open("r+b") as file:
            file.seek(_position(path))
            file.write(name)


def _position(path: Path) -> int:
    """Where in the file the name's bytes are: the end of the note."""
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(_SECTION)
        assert section is not None  # by LINK_FLAGS
        return int(section["sh_offset"] + section["sh_size"] - BUILD_ID)
