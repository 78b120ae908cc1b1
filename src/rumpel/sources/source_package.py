"""Debian source packages: `dpkg-source` unpacks them and applies Debian's patches (dpkg-source(1))."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.sources import tool
from rumpel.sources.store import Pinned


def unpack(source: Pinned, paths: Sequence[Path], tree: Path) -> None:
    """Unpack into the existing empty folder `tree`; `paths` are the verified files, in the order of `source.files`."""
    work = tree.with_name(tree.name + ".files")
    work.mkdir()
    try:
        description = ""
        for file, path in zip(source.files, paths, strict=True):
            (work / file.name).symlink_to(path)
            if file.name.endswith(".dsc"):
                description = file.name
        if not description:
            raise SourceError(
                f"Source '{source.name}': a Debian source package needs a file '.dsc', and none is pinned.",
                hint=f"`rumpel lock --update {source.name}` pins anew.",
                source=source.name,
            )
        ended = tool.run(["dpkg-source", "--extract", description, "unpacked"], cwd=work, debian_package="dpkg-dev")
        if ended.status != 0:
            raise ended.failure(
                f"Source '{source.name}': the Debian source package '{description}' could not be unpacked.",
                hint="Check the space on the disk of the cache; the files themselves are what was pinned.",
                source=source.name,
            )
        tree.rmdir()
        (work / "unpacked").rename(tree)
    finally:
        shutil.rmtree(work, ignore_errors=True)
