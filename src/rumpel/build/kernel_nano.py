"""The kernel recipe `nano`: our own kernel, of the files that the plan names, for the platform that it names."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rumpel.build import toolchain
from rumpel.build.cprogram import shown
from rumpel.build.step import AnyPath, Step, ToolError, TreePath, Workspace, part_name, tool_error
from rumpel.errors import BuildError

NM = "x86_64-linux-gnu-nm"

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wmissing-prototypes", "-Wstrict-prototypes", "-Wshadow", "-Wvla")
# One address space with the program in its lower half: the kernel lies in the top 2 GiB (-mcmodel=kernel), never
# touches the vector registers, which are the program's, and has no red zone, because interrupts use its stack.
COMPILE_FLAGS = (
    *("-std=gnu11", "-Os", "-ffreestanding", "-fno-builtin", "-fno-pic", "-fno-pie"),
    *("-mcmodel=kernel", "-mno-red-zone", "-mgeneral-regs-only", "-fno-omit-frame-pointer", "-fno-strict-aliasing"),
    *("-fno-asynchronous-unwind-tables", "-fno-common", "-fwrapv", "-ffunction-sections", "-fdata-sections"),
    *("-fstack-protector-strong", "-mstack-protector-guard=global", "-fcf-protection=none", "-fno-jump-tables"),
    *("-fno-delete-null-pointer-checks", "-ftrivial-auto-var-init=zero", "-fno-ident"),
    # Never a string instruction: a translating emulator takes each of their steps for a block of its own. Where code is
    # compiled for size only the last of the three options holds.
    *("-mmemcpy-strategy=unrolled_loop:32:noalign,libcall:-1:noalign",),
    *("-mmemset-strategy=unrolled_loop:64:noalign,libcall:-1:noalign",),
    "-mstringop-strategy=libcall",
    # Each branch begins a block, too: what can be computed without one is.
    "-mbranch-cost=5",
)
# C files are compiled to what the link makes one program of: calls between files are inlined, and what nobody uses
# goes. One partition, and a seed for names of its own, so that chance has no part in it.
WHOLE_FLAGS = ("-flto", "-fno-fat-lto-objects")
WHOLE_LINK_FLAGS = ("-flto=1", "-flto-partition=one", "-nostdlib", "-static", "-no-pie")
# These define what the compiler itself calls (memcpy, the canary), as late as in the link: they stay apart.
APART = ("hal/platform/common/string.c", "hal/platform/pvh/canary.c")
# The kernel's `src` is compiled for size; drivers and parts with a folder of their own, which bytes pass through, for
# speed.
SPEED_FLAGS = ("-O2", "-fno-align-functions", "-fno-align-loops", "-fno-align-jumps")
VDSO_FLAGS = (
    *("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-nostdlib", "-ffreestanding"),
    *("-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-fno-ident"),
    *("-Wl,-z,noexecstack", "-Wl,-soname,linux-vdso.so.1", "-Wl,--hash-style=both", "-Wl,--build-id=none"),
    "-Wl,--no-warn-rwx-segments",
)
LINK_FLAGS = (
    *("-nostdlib", "-static", "--gc-sections", "-z", "max-page-size=4096", "-z", "noexecstack", "--build-id=none"),
    *("--no-warn-rwx-segments", "--compress-debug-sections=zlib"),
)

# Relative to the root that holds them.
INCLUDE = ("hal/include", "hal/platform/pvh")
LINKER_SCRIPT = "hal/platform/pvh/kernel.ld"
SYMBOL_TABLE = "hal/platform/pvh/symtab.S"


def is_whole(path: str) -> bool:
    """Whether a file of the project takes part in the link-time optimization."""
    return path.endswith(".c") and path not in APART


class CompileKernelFile(Step, frozen=True):
    """One C or assembly file of the kernel to an object. `own`: written for this project, so warnings are errors.
    `flags` stand behind those that all files have."""

    verb: ClassVar[str] = "CC"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py",)
    tools: toolchain.Toolchain
    source: AnyPath
    include: tuple[AnyPath, ...]
    own: bool = True
    flags: tuple[str, ...] = ()
    whole: bool = False  # to an object for the link-time optimization
    vdso: str = ""  # the vDSO's path, for the file that embeds it

    @property
    def subject(self) -> str:
        return shown(self.source)

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        """Bytes do not depend on where the project or the trees lie: both prefixes are mapped away."""
        command = [
            toolchain.CC,
            "-c",
            *COMPILE_FLAGS,
            *self.flags,
            *(WARNINGS if self.own else toolchain.FOREIGN_WARNINGS),
            *(toolchain.OWN_DEBUGGING if self.own else toolchain.FOREIGN_DEBUGGING),
        ]
        for path in self.include:
            option = "-I" if not isinstance(path, TreePath) else "-isystem"
            command += [option, str(workspace.resolve(path))]
        # The last of those that match counts, and a root `/x` is the beginning of a cache `/x-cache`, too.
        command += [f"-ffile-prefix-map={root}=/src" for root in (*workspace.others, workspace.root)]
        trees = {path.source for path in (self.source, *self.include) if isinstance(path, TreePath)}
        command += sorted(f"-ffile-prefix-map={workspace.unpack(source)}=/src/{source.name}" for source in trees)
        if self.whole:
            command += [*WHOLE_FLAGS, f"-frandom-seed={self.subject}"]
        if self.vdso:
            command.append(f'-DVDSO="{sources[-1]}"')
        command += ["-o", str(targets[0]), str(workspace.resolve(self.source))]
        try:
            workspace.run(command)
        except ToolError as failure:
            message = f"The {part_name(self.part)} does not compile: '{self.subject}'."
            raise tool_error(message, failure) from failure


class LinkVdso(Step, frozen=True):
    """The vDSO, a shared object that the kernel maps into the program. `sources`: its C file, its linker script."""

    verb: ClassVar[str] = "VDSO"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py",)
    tools: toolchain.Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        code, script = sources[:2]
        with tempfile.TemporaryDirectory(prefix="rumpel-vdso-") as folder:
            unstripped = Path(folder) / "vdso.so"
            try:
                command = [toolchain.CC, *VDSO_FLAGS, f"-Wl,-T,{script}", str(code), "-o", str(unstripped)]
                workspace.run(command)
                workspace.run([toolchain.STRIP, "--strip-all", "-o", str(targets[0]), str(unstripped)])
            except ToolError as failure:
                raise tool_error(f"The vDSO of the {part_name(self.part)} cannot be built.", failure) from failure


class LinkKernel(Step, frozen=True):
    """Objects to the kernel. `sources`: the linker script, the symbol table's assembly, then the objects. `targets`:
    the kernel with debugging information, and stripped as QEMU loads it.

    It is linked twice: the first link gives the addresses of the functions, of which the compact symbol table for crash
    reports is made. The table lies behind the code, so it moves none of them. Nor does debugging information, without
    which the first link takes half of the time.
    """

    verb: ClassVar[str] = "LINK"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py",)
    tools: toolchain.Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        script, table, *objects = sources
        unstripped, stripped = targets
        with tempfile.TemporaryDirectory(prefix="rumpel-nano-") as name:
            folder = Path(name)
            first = folder / "first.elf"
            numbers = folder / "symbols.bin"
            try:
                self._link(workspace, script, [self._table(workspace, table, folder, ()), *objects], first, "-g0")
                numbers.write_bytes(symbol_table(workspace.run([NM, "-n", str(first)])))
                full = self._table(workspace, table, folder, (f'-DSYMBOLS="{numbers}"',))
                self._link(workspace, script, [full, *objects], unstripped, *toolchain.OWN_DEBUGGING)
                workspace.run([toolchain.STRIP, "--strip-all", "-o", str(stripped), str(unstripped)])
                linked = symbol_table(workspace.run([NM, "-n", str(unstripped)]))
            except ToolError as failure:
                raise tool_error(f"The {part_name(self.part)} cannot be linked.", failure) from failure
            if linked != numbers.read_bytes():
                raise BuildError(
                    f"The {part_name(self.part)} cannot be linked: its two links have functions at other places.",
                    hint="This is a fault of Rumpel's: please report it, with the version of GCC.",
                )

    def _table(self, workspace: Workspace, source: Path, folder: Path, defines: tuple[str, ...]) -> Path:
        target = folder / ("symtab-full.o" if defines else "symtab.o")
        workspace.run([toolchain.CC, "-c", *defines, "-o", str(target), str(source)])
        return target

    def _link(self, workspace: Workspace, script: Path, objects: Sequence[Path], target: Path, *debugging: str) -> None:
        command = [toolchain.CC, *COMPILE_FLAGS, *WHOLE_LINK_FLAGS, *debugging, f"-Wl,{','.join(LINK_FLAGS)}"]
        command += [f"-ffile-prefix-map={target.parent}=/src", "-T", str(script), *map(str, objects)]
        workspace.run([*command, "-o", str(target)], cwd=target.parent)


def symbol_table(listing: str) -> bytes:
    """The compact symbol table (see `hal/platform/pvh/crash.c`) out of what `nm -n` prints: a count, that many offsets
    from the image's first byte (32 bits, little endian), and as many names, each ended by a NUL byte."""
    rows = [line.split() for line in listing.splitlines()]
    begin = next(int(row[0], 16) for row in rows if row[-1] == "image_begin")
    found = [(int(row[0], 16) - begin, row[2]) for row in rows if len(row) == 3 and row[1] in "tT"]
    named = {offset: name for offset, name in found if not name.startswith(".") and name != "text_end"}
    functions = sorted(named.items())
    offsets = struct.pack(f"<{len(functions) + 1}I", len(functions), *(offset for offset, _ in functions))
    return offsets + b"".join(name.encode() + b"\0" for _, name in functions)
