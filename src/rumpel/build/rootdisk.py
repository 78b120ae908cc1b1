"""The root filesystem as a compressed read-only disk: erofs (Linux Documentation/filesystems/erofs.rst) in a qcow2
file (QEMU docs/interop/qcow2.txt).

The filesystem is plain and the file's clusters are compressed: so QEMU decompresses, at the host's speed, and the guest
reads plain blocks. The same files give the same bytes: the UUID and all times are fixed, everything belongs to root,
one thread compresses.
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

# QEMU decompresses a whole cluster for each request that touches it, and keeps nothing of it; Linux reads 128 KiB about
# a page fault, wherever that is. docs/packages.md has figures for other clusters.
_FORMAT = "compression_type=zstd,cluster_size=32K"


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
            files, plain = Path(name, "files"), Path(name, "plain")
            files.mkdir()
            tree.write(files)
            make = ["mkfs.erofs", "--quiet", "-T0", f"-U{UUID}", "--all-root", "-x-1", str(plain), str(files)]
            pack = ["qemu-img", "convert", "-q", "-m1", "-c", "-fraw", "-Oqcow2", f"-o{_FORMAT}"]
            for words in (make, [*pack, str(plain), str(targets[0])]):
                try:
                    workspace.run(words)
                except ToolError as failure:
                    raise tool_error(f"{words[0]} could not make the root filesystem's disk.", failure) from failure
        targets[1].write_bytes(tree.contents())
