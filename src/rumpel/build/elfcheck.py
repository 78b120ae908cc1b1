"""Checks that a linked program is what every kernel can start: one static, position-independent ELF file."""

from __future__ import annotations

from pathlib import Path

from rumpel.build.step import part_name
from rumpel.errors import BuildError


def check_static_pie(path: Path, part: str) -> None:
    """Raises BuildError naming every property that does not hold (System V ABI, AMD64 supplement; gABI chapter 5)."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile

    wrong: list[str] = []
    with path.open("rb") as stream:
        try:
            elf = ELFFile(stream)
        except ELFError as error:
            raise BuildError(f"The program of {part_name(part)} is not an ELF file: {error}.") from error
        if elf.get_machine_arch() != "x64":
            wrong.append(f"it is for the architecture '{elf.get_machine_arch()}', not x86-64")
        if elf["e_type"] != "ET_DYN":
            wrong.append("it is not position-independent")
        segments = list(elf.iter_segments())
        if any(segment["p_type"] == "PT_INTERP" for segment in segments):
            wrong.append("it asks for an interpreter (a dynamic linker)")
        for segment in segments:
            if isinstance(segment, DynamicSegment):
                needed = [str(getattr(tag, "needed", "")) for tag in segment.iter_tags("DT_NEEDED")]
                if needed:
                    wrong.append(f"it needs the shared libraries {', '.join(map(repr, needed))}")
            if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & 3 == 3:
                wrong.append("it has a segment that is writable and executable")
            if segment["p_type"] == "PT_GNU_STACK" and segment["p_flags"] & 1:
                wrong.append("it asks for an executable stack")
    if wrong:
        raise BuildError(
            f"The program of {part_name(part)} is not a static position-independent executable: {'; '.join(wrong)}.",
            hint="Every kernel starts the same program file, so it may depend on nothing outside itself.",
        )
