"""Files of several unpacked Debian packages as one tree, as they would stand on a machine that has all of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from rumpel.build.elf import is_elf, read_elf
from rumpel.build.step import TreePath
from rumpel.errors import BuildError
from rumpel.resolve.plan import Source

# The dynamic linker's own folders (ld.so(8); Debian's multiarch layout), the one that it tries first at the beginning.
SEARCHED = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")

_LINKS = 40  # Linux' own limit for one path (path_resolution(7))

# Libraries whose package is not called as they are (the rule: Debian policy, section 8.1).
_OTHER_NAMES = {
    "libz.so.1": "zlib1g",
    "libcrypto.so.3": "libssl3",
    "libpanelw.so.6": "libncursesw6",
}
_OF_LIBC = re.compile(
    r"(ld-linux-x86-64|libc|libm|libmvec|libdl|librt|libpthread|libresolv|libutil|libanl|libBrokenLocale"
    r"|libnss_(compat|dns|files|hesiod)|libthread_db)\.so\.\d+"
)


class TreeView:
    """The union of trees; of a path that several have, the first one's. Links lead through all of them."""

    def __init__(self, trees: Sequence[tuple[Source, Path]]) -> None:
        self._trees = tuple(trees)

    def find(self, path: str) -> TreePath | None:
        """The file that an absolute path leads to; None where there is none."""
        left = [part for part in PurePosixPath(path).parts if part != "/"]
        done: list[str] = []
        links = 0
        while left:
            part = left.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            target = self._link(done, part)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _LINKS:
                return None
            left = [each for each in target.parts if each != "."] + left
        for source, tree in self._trees:
            if done and (tree.joinpath(*done)).is_file():
                return TreePath(source=source, path="/".join(done))
        return None

    def files(self) -> Iterator[str]:
        """The absolute path of every file and link."""
        seen = set()
        for _, tree in self._trees:
            for folder, folders, names in os.walk(tree):
                links = [name for name in folders if Path(folder, name).is_symlink()]
                base = Path(folder).relative_to(tree).as_posix()
                for name in (*names, *links):
                    path = f"/{name}" if base == "." else f"/{base}/{name}"
                    if path not in seen:
                        seen.add(path)
                        yield path

    def programs(self) -> Iterator[str]:
        """The absolute path of every ELF program."""
        for path in self.files():
            file = self.find(path)
            if file is None or not file.path:
                continue
            real = next(tree for source, tree in self._trees if source == file.source) / file.path
            with real.open("rb") as stream:
                if not is_elf(stream.read(4)):
                    continue
            try:
                if read_elf(real.read_bytes(), path).is_program:
                    yield path
            except BuildError:
                continue

    def _link(self, folder: Sequence[str], name: str) -> PurePosixPath | None:
        """Where a link leads, relative to its folder. Trees hold relative links only."""
        for _, tree in self._trees:
            path = tree.joinpath(*folder, name)
            if path.is_symlink():
                return PurePosixPath(path.readlink())
        return None


def package_of(name: str) -> str:
    """The Debian package that a shared library is in, by the rule of Debian's policy (section 8.1)."""
    if _OF_LIBC.fullmatch(name):
        return "libc6"
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    match = re.fullmatch(r"(.+?)\.so\.(.+)", name)
    if match is not None:
        stem, version = match[1], match[2]
        joint = "-" if stem[-1].isdigit() else ""
        return f"{stem}{joint}{version}".lower().replace("_", "-")
    return re.sub(r"-(?=\d)", "", name.removesuffix(".so")).lower().replace("_", "-")
