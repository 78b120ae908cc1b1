"""The kernel recipe `linux`: Linux built from Debian's source with a configuration that the plan computes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rumpel.build import pvh
from rumpel.build.kernel_linux_image import without_padding
from rumpel.build.kernel_linux_make import make, make_error, require_tools
from rumpel.build.kernel_linux_source import source_tree
from rumpel.build.prologue import ADDRESS, PROLOGUE, assemble
from rumpel.build.step import Step, ToolError, Workspace, part_name
from rumpel.build.toolchain import Toolchain
from rumpel.errors import BuildError
from rumpel.resolve.plan import Source

BASE_CONFIG = "base.config"
TYPICAL_OBJECTS = 1180  # compiled for a kernel with network and volumes; only the progress shown depends on it


class BuildKernel(Step, frozen=True):
    """A configuration (`sources`) to a kernel. `targets`: the bzImage, the kernel with its symbols."""

    verb: ClassVar[str] = "KERNEL"
    code: ClassVar[tuple[str, ...]] = ("kernel_linux_make.py", "kernel_linux_source.py")
    source: Source
    tools: Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        require_tools(workspace)
        tree = source_tree(workspace, self.source)
        boot, symbols = targets
        with tempfile.TemporaryDirectory(prefix="rumpel-linux-") as name:
            folder = Path(name)
            shutil.copyfile(sources[0], folder / ".config")
            try:
                make(workspace, tree, folder, "bzImage", total=TYPICAL_OBJECTS)
            except ToolError as failure:
                raise make_error(f"The {part_name(self.part)} does not compile.", failure) from failure
            shutil.copyfile(folder / "arch/x86/boot/bzImage", boot)
            shutil.copyfile(folder / "vmlinux", symbols)


class PackKernel(Step, frozen=True):
    """The kernel with its symbols, and the prologue that measures the TSC (`sources`), to what QEMU starts: the
    uncompressed kernel by its PVH entry, without padding."""

    verb: ClassVar[str] = "PACK"
    code: ClassVar[tuple[str, ...]] = ("kernel_linux_image.py", "pvh.py", "prologue.py", "toolchain.py")
    tools: Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        symbols, prologue = sources
        elf = pvh.parse(symbols.read_bytes())
        prefixed = elf and pvh.with_prologue(elf, assemble(workspace, prologue, self.part), ADDRESS)
        if prefixed is None:
            raise BuildError(
                f"The {part_name(self.part)} was built, but it has no PVH entry, or lies at {ADDRESS:#x}, where "
                f"'{PROLOGUE}' is to lie.",
                hint="Its configuration needs 'CONFIG_PVH=y'.",
            )
        targets[0].write_bytes(pvh.packed(without_padding(prefixed)))
