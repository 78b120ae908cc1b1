"""The root filesystem as a compressed read-only disk: an erofs image (Linux Documentation/filesystems/erofs.rst).

The same files give the same bytes: the UUID and all times are fixed, everything belongs to root.
"""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rumpel.build import cpio
from rumpel.build.programs import Allowed, check_programs
from rumpel.build.rootfs import Placement, Tree
from rumpel.build.step import Step, ToolError, Workspace, tool_error

UUID = "6f1d9f4c-52f4-5a8c-9d5b-1f4f3ba0c7de"
FOLDERS = ("/dev", "/etc", "/proc", "/run", "/sys", "/tmp")

# The root cannot be written to, so what init learns at the start is in memory.
_LEARNT = {"etc/hosts": b"../run/hosts", "etc/resolv.conf": b"../run/resolv.conf"}

# LZ4 costs least to read. Of clusters of 4, 16 and 64 KiB, Node's image takes 67, 59 and 53 MiB, and its start to the
# first answer 4.0, 4.1 and 4.6 s of CPU time under TCG (3.5 s without compression, at 126 MiB).
_COMPRESSION = ("-zlz4hc,9", "-C16384")


class RootDisk(Step, frozen=True):
    """`sources`: the files that placements number, a list of files for each of `collected` (the parts that take files
    from packages), a tar of files for each of `generated` (the parts that they are made for). `targets`: the image, the
    list of contents as JSON."""

    verb: ClassVar[str] = "ROOTDISK"
    code: ClassVar[tuple[str, ...]] = (
        *("rootfs.py", "cpio.py", "programs.py", "elf.py", "packages.py", "manifest.py"),
        "../resolve/settings.py",
    )
    placements: tuple[Placement, ...]
    collected: tuple[str, ...]
    generated: tuple[str, ...]
    folders: tuple[str, ...]
    programs: tuple[Allowed, ...]

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        tree = Tree()
        tree.take(workspace, sources, self.placements, self.collected, self.generated)
        for name, link in _LEARNT.items():
            if name not in tree.entries:
                tree.add(cpio.Entry(name, stat.S_IFLNK | 0o777, link), self.part)
        tree.complete((*FOLDERS, *self.folders), self.part)
        check_programs(list(tree.entries.values()), tree.owners, self.programs)
        with tempfile.TemporaryDirectory(dir=targets[0].parent, prefix=".root-") as name:
            tree.write(Path(name))
            words = ["mkfs.erofs", "--quiet", *_COMPRESSION, "-T0", f"-U{UUID}", "--all-root", "-x-1"]
            try:
                workspace.run([*words, str(targets[0]), name])
            except ToolError as failure:
                raise tool_error("mkfs.erofs could not make the root filesystem's disk.", failure) from failure
        targets[1].write_bytes(tree.contents())
