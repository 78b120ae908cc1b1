"""The code that runs before a Linux kernel with a PVH entry and measures the TSC for it (`kernels/boot/tsc.S`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rumpel.build import toolchain
from rumpel.build.step import ToolError, Workspace, part_name, tool_error

PROLOGUE = "kernels/boot/tsc.S"
ADDRESS = 0x100000  # the first byte above the memory that firmware uses, and below every Linux kernel


def assemble(workspace: Workspace, source: Path, part: str) -> bytes:
    """The machine code of `source`, linked to lie at ADDRESS. Raises BuildError with the assembler's words."""
    with tempfile.TemporaryDirectory(prefix="rumpel-prologue-") as folder:
        assembled = Path(folder) / "prologue.o"
        code = Path(folder) / "prologue.bin"
        try:
            workspace.run([toolchain.CC, "-m32", "-c", "-o", str(assembled), str(source)])
            linked = ["-m", "elf_i386", "-e", "_start", f"-Ttext={ADDRESS:#x}", "--oformat=binary"]
            workspace.run([toolchain.LD, *linked, "-o", str(code), str(assembled)])
        except ToolError as failure:
            raise tool_error(
                f"The {part_name(part)} cannot be started: '{PROLOGUE}' does not assemble.", failure
            ) from failure
        return code.read_bytes()
