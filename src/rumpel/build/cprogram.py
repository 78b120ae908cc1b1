"""Native programs: C sources to objects, archives and one static, position-independent ELF executable."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rumpel.build import toolchain
from rumpel.build.step import (
    AnyPath,
    ProjectPath,
    Step,
    ToolError,
    TreePath,
    Workspace,
    last_lines,
    part_name,
    tool_error,
)
from rumpel.errors import BuildError
from rumpel.resolve.plan import Source

# Under a translating emulator a branch begins a block of its own, which costs more than what it saves.
EMULATED_FLAGS = ("-mbranch-cost=5",)


class Compile(Step, frozen=True):
    """One C source to one object. `own`: written for this project, so warnings are errors."""

    verb: ClassVar[str] = "CC"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py",)
    tools: toolchain.Toolchain
    sysroot: Source
    source: AnyPath
    include: tuple[AnyPath, ...] = ()
    flags: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    own: bool = True

    @property
    def subject(self) -> str:
        return shown(self.source)

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        """Bytes do not depend on where the project or the trees lie: both prefixes are mapped away."""
        own_include = toolchain.files().include
        command = [toolchain.CC, "-c", *toolchain.COMPILE_FLAGS, *EMULATED_FLAGS, "-nostdinc"]
        command += toolchain.OWN_WARNINGS if self.own else toolchain.FOREIGN_WARNINGS
        command += toolchain.OWN_DEBUGGING if self.own else toolchain.FOREIGN_DEBUGGING
        for path in self.include:
            command.append(f"-I{_argument(workspace, path)}")
        command += ["-isystem", str(workspace.resolve(_musl(self.sysroot, toolchain.MUSL_INCLUDE)))]
        command += ["-isystem", own_include]
        command += [f"-D{name}={value}" if value else f"-D{name}" for name, value in self.defines]
        command += self.flags
        # A source of another root has the same name in the object as if it were below this one: relative to /src.
        command += [f"-ffile-prefix-map={root}/=" for root in workspace.others]
        command += [f"-ffile-prefix-map={workspace.root}=/src"]
        # The last of those that match counts, and a root `/x` is the beginning of a cache `/x-cache`, too.
        trees = {path.source for path in (self.source, *self.include) if isinstance(path, TreePath)} | {self.sysroot}
        command += sorted(f"-ffile-prefix-map={workspace.unpack(source)}=/src/{source.name}" for source in trees)
        command += ["-o", str(targets[0])]
        command.append(_argument(workspace, self.source))
        try:
            workspace.run(command)
        except ToolError as failure:
            message = f"The {part_name(self.part)} does not compile: '{self.subject}'."
            raise tool_error(message, failure) from failure


class Archive(Step, frozen=True):
    """Objects to a static archive without times and owners."""

    verb: ClassVar[str] = "AR"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py",)
    tools: toolchain.Toolchain

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        """`D`: deterministic; the archive is made anew, so that no removed object stays in it."""
        targets[0].unlink(missing_ok=True)
        command = [toolchain.AR, "rcsD", str(targets[0]), *map(str, sources)]
        try:
            workspace.run(command)
        except ToolError as failure:
            raise tool_error(f"The {part_name(self.part)} cannot be archived.", failure) from failure


class Link(Step, frozen=True):
    """Objects and archives to a static PIE: with debugging information, and stripped as the image holds it."""

    verb: ClassVar[str] = "LINK"
    code: ClassVar[tuple[str, ...]] = ("toolchain.py", "elfcheck.py", "buildid.py")
    tools: toolchain.Toolchain
    sysroot: Source

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        """`targets`: the unstripped program, the stripped one."""
        from rumpel.build.buildid import name_by_content
        from rumpel.build.elfcheck import check_static_pie

        lib = workspace.resolve(_musl(self.sysroot, toolchain.MUSL_LIB))
        unstripped, stripped = targets
        objects = [str(path) for path in sources if path.suffix == ".o"]
        archives = [str(path) for path in sources if path.suffix == ".a"]
        command = [
            toolchain.CC,
            *toolchain.LINK_FLAGS,
            "-o",
            str(unstripped),
            str(lib / "rcrt1.o"),
            str(lib / "crti.o"),
        ]
        command += [*objects, "-Wl,--start-group", *archives, str(lib / "libc.a"), toolchain.files().libgcc]
        command += ["-Wl,--end-group", str(lib / "crtn.o")]
        try:
            workspace.run(command)
        except ToolError as failure:
            raise tool_error(f"The {part_name(self.part)} cannot be linked.", failure) from failure
        check_static_pie(unstripped, self.part)
        workspace.run([toolchain.STRIP, "--strip-all", "-o", str(stripped), str(unstripped)])
        name_by_content(stripped, unstripped)


class PrepareSource(Step, frozen=True):
    """Run a source package's own commands in a copy of it, and keep the files that they made."""

    verb: ClassVar[str] = "PREPARE"
    source: Source
    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        """The copy is made under /tmp or TMPDIR and removed at the end, whatever happens."""
        with tempfile.TemporaryDirectory(prefix="rumpel-prepare-") as folder:
            copy = Path(folder) / "source"
            shutil.copytree(workspace.unpack(self.source), copy, symlinks=True)
            _make_writable(copy)
            output = ""
            for command in self.commands:
                try:
                    output = workspace.run(command, cwd=copy)
                except ToolError as failure:
                    raise BuildError(
                        f"The {part_name(self.part)} cannot be prepared: '{' '.join(command)}' "
                        f"ended with status {failure.status}.",
                        hint=f"It ran in a copy of the source '{self.source.name}' {self.source.version}.",
                        output=last_lines(failure.output),
                    ) from failure
            for wanted, target in zip(self.outputs, targets, strict=True):
                if not (copy / wanted).is_file():
                    raise BuildError(
                        f"The {part_name(self.part)} was prepared, but its commands made no file '{wanted}'.",
                        hint="Correct 'c.prepare.outputs' or the commands in its component.yaml.",
                        output=last_lines(output),
                    )
                shutil.copyfile(copy / wanted, target)


def shown(path: AnyPath) -> str:
    """A path as progress lines and errors name it."""
    return path.project_path if isinstance(path, ProjectPath) else f"{path.source.name}/{path.path}"


def _argument(workspace: Workspace, path: AnyPath) -> str:
    """A path as the compiler gets it: below the root relative to it, so that `__FILE__` does not name the root."""
    real = workspace.resolve(path)
    return str(real.relative_to(workspace.root)) if real.is_relative_to(workspace.root) else str(real)


def _musl(sysroot: Source, path: str) -> TreePath:
    return TreePath(source=sysroot, path=path)


def _make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
