"""What an ELF file says of itself: for whom it is, what it needs, whether it is a program. (System V gABI, chapters 4
and 5; AMD64 supplement.)"""

from __future__ import annotations

import io
from dataclasses import dataclass

from rumpel.errors import BuildError

MAGIC = b"\x7fELF"
ARCHITECTURE = "x86-64"
_PIE = 0x08000000  # DF_1_PIE


@dataclass(frozen=True)
class Elf:
    """`architecture` as people call it; `interpreter` is the dynamic linker that it asks for, `needed` the shared
    libraries, `folders` where it wants them to be looked for first ($ORIGIN is left as it is)."""

    architecture: str
    interpreter: str
    soname: str
    needed: tuple[str, ...]
    folders: tuple[str, ...]
    is_program: bool


_NAMES = {"x64": ARCHITECTURE, "x86": "x86 (32 bits)", "AArch64": "ARM 64 (AArch64)", "ARM": "ARM (32 bits)"}


def read_elf(data: bytes, what: str) -> Elf:
    """Raises BuildError, which names the file as `what`, where it is damaged."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        interpreter = soname = ""
        needed: list[str] = []
        folders: list[str] = []
        pie = False
        for segment in elf.iter_segments():
            if segment["p_type"] == "PT_INTERP":
                interpreter = str(segment.get_interp_name())  # type: ignore[attr-defined]
            if not isinstance(segment, DynamicSegment):
                continue
            for tag in segment.iter_tags():
                match tag.entry.d_tag:
                    case "DT_NEEDED":
                        needed.append(_text_of(tag, "needed"))
                    case "DT_SONAME":
                        soname = _text_of(tag, "soname")
                    case "DT_RUNPATH":
                        folders += _text_of(tag, "runpath").split(":")
                    case "DT_RPATH":
                        folders += _text_of(tag, "rpath").split(":")
                    case "DT_FLAGS_1":
                        pie = bool(tag.entry.d_val & _PIE)
        kind = elf["e_type"]
        architecture = elf.get_machine_arch()
        if architecture == "x64" and elf.elfclass != 64:
            architecture = "x32"
    except (ELFError, ValueError, UnicodeDecodeError) as error:
        raise BuildError(f"{what} is a damaged ELF file: {error}.") from error
    program = kind == "ET_EXEC" or (kind == "ET_DYN" and not soname and (bool(interpreter) or pie))
    return Elf(
        architecture=_NAMES.get(architecture, architecture),
        interpreter=interpreter,
        soname=soname,
        needed=tuple(needed),
        folders=tuple(folder for folder in folders if folder),
        is_program=program,
    )


def _text_of(tag: object, name: str) -> str:
    """A dynamic tag's string, which elftools adds under a name of its own."""
    return str(getattr(tag, name))


def is_elf(data: bytes) -> bool:
    """Whether `data` begins as an ELF file does."""
    return data.startswith(MAGIC)


def script_interpreter(data: bytes) -> str:
    """What the first line of a script names behind '#!'; empty where it is no script."""
    if not data.startswith(b"#!"):
        return ""
    words = data[2:256].split(b"\n", 1)[0].decode("utf-8", "replace").split()
    return words[0] if words else ""
