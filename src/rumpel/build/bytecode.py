"""Python's modules compiled when the image is built: the root cannot be written to, so each start would compile anew.

The interpreter is the image's own, so the bytecode is of its version. It is started by its own dynamic linker, and sees
only the files of the image. The same files give the same bytes: no times (PEP 552, unchecked hashes), a fixed seed.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rumpel.build.elf import read_elf
from rumpel.build.libraries import SEARCHED
from rumpel.build.rootfs import Placement, Tree
from rumpel.build.step import Step, ToolError, Workspace, part_name, tool_error
from rumpel.errors import BuildError

# -B: what the compiler itself imports is compiled like the rest, not with the time of its file.
_COMPILE = ("-B", "-s", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash")
_SOME_FAILED = 1  # compileall's status where a file is for another version of Python; that file stays as it is


class CompilePython(Step, frozen=True):
    """`sources`: the files that placements number, then a list of files for each of `collected`. `targets`: a tar of
    the compiled modules. `program` is the interpreter's path in the image."""

    verb: ClassVar[str] = "BYTECODE"
    code: ClassVar[tuple[str, ...]] = ("rootfs.py",)
    program: str
    placements: tuple[Placement, ...]
    collected: tuple[str, ...]

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        tree = Tree()
        tree.take(workspace, sources, self.placements, self.collected)
        tree.complete((), self.part)
        program = tree.entries.get(self.program.lstrip("/"))
        if program is None:
            raise BuildError(f"The {part_name(self.part)} has no program at '{self.program}'.")
        interpreter = read_elf(program.data, f"The program '{self.program}' of {part_name(self.part)}").interpreter
        with tempfile.TemporaryDirectory(dir=targets[0].parent, prefix=".bytecode-") as name:
            root = Path(name)
            tree.write(root)
            command = [f"{name}{interpreter}", "--library-path", f"{name}{SEARCHED[0]}", f"{name}{self.program}"]
            extra = {"PYTHONHOME": f"{name}/usr", "PYTHONHASHSEED": "0"}
            try:
                workspace.run([*command, *_COMPILE, "-s", name, "-p", "/", name], cwd=root, extra=extra)
            except ToolError as failure:
                if failure.status != _SOME_FAILED:
                    raise tool_error(
                        f"The modules for {part_name(self.part)} could not be compiled.", failure
                    ) from failure
            targets[0].write_bytes(_archive(root))


def _archive(root: Path) -> bytes:
    """Every compiled module below `root`, as a tar without owners and times."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(root.rglob("__pycache__/*.pyc")):
            info = tarfile.TarInfo(path.relative_to(root).as_posix())
            info.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(info, content)
    return stream.getvalue()
