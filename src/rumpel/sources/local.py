"""Sources of the kind `file`: one file of the project, pinned like everything else."""

from __future__ import annotations

from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import LockEntry, LockFile
from rumpel.sources.declaration import Declaration
from rumpel.sources.store import Store, digest_of


def bring(entry: LockEntry, store: Store, project: Path) -> None:
    """See that the file in the project is still what was pinned, and that the store has it. Raises SourceError.

    A file that is no longer in the project is taken from the store, where the store has it.
    """
    (file,) = entry.files[:1]
    path = project / entry.package
    if not path.exists() and store.has(file):
        return
    found = _pin(entry.name, path)
    if found.sha256 != file.sha256:
        raise SourceError(
            f"Source '{entry.name}': '{path}' is not what was pinned: its SHA-256 should be {file.sha256} and is"
            f" {found.sha256}.",
            hint=f"If the change is meant, `rumpel lock --update {entry.name}` pins the file as it is now.",
            source=entry.name,
        )
    if not store.has(file):
        store.add(path, file)


def newest(declaration: Declaration, store: Store, project: Path) -> LockEntry:
    """Pin the file as it is now; it is in the store after. Raises SourceError."""
    path = project / declaration.package
    file = _pin(declaration.name, path)
    store.add(path, file)
    return LockEntry(
        name=declaration.name, kind="file", package=declaration.package, version=file.sha256[:12], files=(file,)
    )


def _pin(source: str, path: Path) -> LockFile:
    try:
        return LockFile(name=path.name, sha256=digest_of(path), size=path.stat().st_size)
    except OSError as error:
        raise SourceError(
            f"Source '{source}': the file '{path}' cannot be read: {error.strerror}.",
            hint="Put it there, or correct the path where the source is declared.",
            source=source,
        ) from None
