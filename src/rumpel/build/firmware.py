"""A machine's own firmware: C and assembly for 32-bit protected mode, linked into the last 64 KiB below 4 GiB.

QEMU maps a firmware file so that it ends at 4 GiB; the processor begins 16 bytes before its end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rumpel.build.kernel_nano import WARNINGS
from rumpel.build.step import Step, ToolError, Workspace, part_name, tool_error
from rumpel.build.toolchain import CC, LD, Toolchain

OBJCOPY = "x86_64-linux-gnu-objcopy"
NAME = "firmware"  # in the image's folder

# It runs from ROM before anything else: no vector registers, no stack protector's canary, no tables of jumps.
COMPILE_FLAGS = (
    *("-m32", "-march=i686", "-std=gnu11", "-Os", "-ffreestanding", "-fno-builtin", "-fno-pic", "-fno-pie"),
    *("-mgeneral-regs-only", "-fno-strict-aliasing", "-fwrapv", "-fno-stack-protector", "-fcf-protection=none"),
    *("-fno-asynchronous-unwind-tables", "-fno-jump-tables", "-fno-ident", *WARNINGS),
)
LINK_FLAGS = ("-m", "elf_i386", "-nostdlib", "-static", "--build-id=none", "--no-warn-rwx-segments")


class BuildFirmware(Step, frozen=True):
    """`sources`: one linker script (`*.ld`), and C and assembly files. `targets`: the file for QEMU's `-bios`, and the
    firmware with symbols."""

    verb: ClassVar[str] = "FIRMWARE"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py", "kernel_nano.py")
    tools: Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        scripts = [path for path in sources if path.suffix == ".ld"]
        image, symbols = targets
        with tempfile.TemporaryDirectory(prefix="rumpel-firmware-") as name:
            folder = Path(name)
            objects = []
            try:
                for path in sources:
                    if path not in scripts:
                        objects.append(folder / f"{path.name}.o")
                        mapped = [f"-ffile-prefix-map={root}=/src" for root in (*workspace.others, workspace.root)]
                        workspace.run([CC, *COMPILE_FLAGS, "-g1", *mapped, "-c", str(path), "-o", str(objects[-1])])
                scripted = [word for script in scripts for word in ("-T", str(script))]
                workspace.run([LD, *LINK_FLAGS, *scripted, *map(str, objects), "-o", str(symbols)])
                workspace.run([OBJCOPY, "--output-target=binary", str(symbols), str(image)])
            except ToolError as failure:
                raise tool_error(f"The firmware of the {part_name(self.part)} cannot be built.", failure) from failure
