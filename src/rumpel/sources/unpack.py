"""Unpacking a source into a tree, once for each content, for all builds of this machine.

| kind | the tree holds |
|---|---|
| deb | the package's files, from its root (`usr/lib/...`) |
| deb-src | the upstream source with Debian's patches applied |
| npm, pypi source distribution | what is inside the archive's one top folder |
| pypi wheel | the wheel's content |
| file | the file itself, by its name |
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.sources.store import Pinned, Store

UNPACK_FORMAT = 1  # counts changes of what a tree holds for the same files


def tree_of(source: Pinned, trees: Path) -> Path:
    """Where the tree of `source` is or would be."""
    digest = hashlib.sha256(f"{UNPACK_FORMAT} {source.kind}\n".encode())
    for file in sorted(source.files, key=lambda file: file.name):
        digest.update(f"{file.sha256} {file.name}\n".encode())
    return trees / digest.hexdigest()[:32]


def unpack(source: Pinned, store: Store, trees: Path) -> Path:
    """The unpacked tree of `source`, made where it is not there yet. Treat it as read-only: it is shared.

    Atomic and safe with several builds at once. Raises SourceError where a file is missing or damaged, or the archive
    holds what must not be unpacked (a path or a link that leads out of it, a device); nothing is left behind then.
    """
    tree = tree_of(source, trees)
    if tree.is_dir():
        return tree
    from filelock import FileLock

    partial = trees / f".partial.{tree.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        trees.mkdir(parents=True, exist_ok=True)
        with FileLock(trees / f".{tree.name}.lock"):
            if tree.is_dir():  # another build was faster
                return tree
            for abandoned in trees.glob(f".partial.{tree.name}.*"):  # by a run that was killed: the lock is ours
                shutil.rmtree(abandoned)
            try:
                partial.mkdir()
                _unpack_into(source, store, partial)
                partial.rename(tree)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise SourceError(
            f"Source '{source.name}' cannot be unpacked into '{trees}': {error.strerror or error}.",
            hint="Check the folder's permissions and the space on its disk, or name another folder with RUMPEL_CACHE.",
            source=source.name,
        ) from None
    return tree


def _unpack_into(source: Pinned, store: Store, tree: Path) -> None:
    from rumpel.sources import archive, source_package

    paths = [store.path(file) for file in source.files]
    if source.kind == "deb-src":
        source_package.unpack(source, paths, tree)
        archive.check_links(source.name, tree)
        return
    (file,), (path,) = source.files[:1], paths[:1]
    if source.kind == "file":
        shutil.copyfile(path, tree / file.name)
    elif source.kind == "deb":
        archive.unpack_deb(source.name, path, tree)
    elif file.name.endswith((".whl", ".zip")):
        archive.unpack_zip(source.name, path, tree, strip=0 if file.name.endswith(".whl") else 1)
    else:
        archive.unpack_tar(source.name, path, tree, strip=1)
