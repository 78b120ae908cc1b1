"""The kernel recipe `debian`: a prebuilt kernel and its modules out of a Debian package."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from rumpel.build import bzimage, pvh
from rumpel.build.modules import WantedModule, load_order, read_tree
from rumpel.build.prologue import ADDRESS, PROLOGUE, assemble
from rumpel.build.step import Step, Workspace
from rumpel.build.toolchain import Toolchain
from rumpel.errors import BuildError
from rumpel.resolve.plan import Source


class ExtractKernel(Step, frozen=True):
    """The package's bzImage to what QEMU's `-kernel` gets: the uncompressed ELF kernel where it has a PVH entry.

    That saves the guest from decompressing itself, which takes longer than all else before its init. A kernel
    without a PVH entry stays the bzImage that it is. The sources are the prologue's, which measures the TSC.
    """

    verb: ClassVar[str] = "KERNEL"
    code: ClassVar[tuple[str, ...]] = ("bzimage.py", "pvh.py", "prologue.py", "toolchain.py")
    source: Source
    tools: Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        boot = _one(workspace.unpack(self.source) / "boot", "vmlinuz-*", self.source)
        elf = pvh.parse(bzimage.vmlinux(boot))
        if elf is None or pvh.entry_point(elf) is None:
            targets[0].write_bytes(boot.read_bytes())
            return
        prefixed = pvh.with_prologue(elf, assemble(workspace, sources[0], self.part), ADDRESS)
        if prefixed is None:
            raise BuildError(
                f"The kernel of the package '{self.source.package}' {self.source.version} uses the memory at "
                f"{ADDRESS:#x}, where '{PROLOGUE}' is to lie."
            )
        targets[0].write_bytes(pvh.packed(prefixed))


class CollectModules(Step, frozen=True):
    """The plan's modules and what they depend on, as a tar of `rumpel/modules/NN-NAME.ko` in load order.

    The modules' bytes stay as they are: their signatures are at their end.
    """

    verb: ClassVar[str] = "MODULES"
    code: ClassVar[tuple[str, ...]] = ("modules.py",)
    source: Source
    wanted: tuple[WantedModule, ...]

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        tree = workspace.unpack(self.source)
        folder = _one(tree / "lib" / "modules", "*", self.source)
        modules = load_order(read_tree(folder), self.wanted)
        width = max(2, len(str(len(modules))))
        with tarfile.open(targets[0], "w", format=tarfile.USTAR_FORMAT) as archive:
            for number, path in enumerate(modules):
                member = tarfile.TarInfo(f"rumpel/modules/{number:0{width}}-{path.name}")
                member.size = path.stat().st_size
                with path.open("rb") as stream:
                    archive.addfile(member, stream)


def kernel_format(path: Path) -> Literal["pvh", "bzimage"]:
    """How the image's kernel starts: `pvh` (an ELF file with that entry) or `bzimage`."""
    with path.open("rb") as stream:
        return "pvh" if stream.read(4) == b"\x7fELF" else "bzimage"


def _one(folder: Path, pattern: str, source: Source) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        what = "no file" if not found else "more than one file"
        raise BuildError(
            f"The package '{source.package}' {source.version} has {what} '{folder.name}/{pattern}', "
            "so it is not a Debian kernel image."
        )
    return found[0]
