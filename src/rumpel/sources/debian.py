"""Sources of the kinds `deb` and `deb-src`: fetching a pin, and finding the newest of the same release."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import LockEntry, LockFile
from rumpel.sources.apt import Archive, BinaryPackage, SourcePackage
from rumpel.sources.declaration import Declaration
from rumpel.sources.store import Store, mismatch

_TRY_AGAIN = "Try again; `rumpel fetch all` fetches only what is still missing."


class GoneError(Exception):
    """The archive has this version no more."""


def fetch(entry: LockEntry, archive: Archive, store: Store) -> None:
    """Bring exactly what `entry` pins into the store.

    Raises GoneError where the archive has that version no more, SourceError for all else.
    """
    with archive.locked():
        if store.has_all(entry):  # another build was faster
            return
        archive.refresh_if_empty()
        indexed = _find(entry, archive)
        if indexed is None:
            archive.refresh()
            indexed = _find(entry, archive)
        if indexed is None:
            raise GoneError
        ended_well = _download(entry, indexed, archive, store)
        if not ended_well:
            archive.refresh()  # the lists were old: is it still there?
            indexed = _find(entry, archive)
            if indexed is None:
                raise GoneError
            _download_or_raise(entry, indexed, archive, store)


def newest(declaration: Declaration, archive: Archive) -> LockEntry:
    """The newest version that the release has, from lists that were just read. Raises SourceError if there is none."""
    with archive.locked():
        archive.refresh()
        if declaration.kind == "deb-src":
            sources = archive.sources(declaration.package)
            if not sources:
                raise _unknown(declaration, archive)
            return entry_of(declaration, sources[0], archive)
        binaries = archive.binaries(declaration.package)
        if not binaries:
            raise _unknown(declaration, archive)
        if not declaration.follow:
            return entry_of(declaration, binaries[0], archive)
        followed = [name for name in binaries[0].depends if fnmatch.fnmatchcase(name, declaration.follow)]
        if len(followed) != 1:
            what = "no dependency" if not followed else f"{len(followed)} dependencies ({', '.join(followed)})"
            raise SourceError(
                f"Source '{declaration.name}': {what} of Debian package '{declaration.package}' {binaries[0].version}"
                f" matched '{declaration.follow}'; exactly one must.",
                hint=f"Correct 'follow' where the source '{declaration.name}' is declared.",
                source=declaration.name,
            )
        candidates = archive.binaries(followed[0])
        if not candidates:
            raise _unknown(declaration, archive)
        return entry_of(declaration, candidates[0], archive)


def _find(entry: LockEntry, archive: Archive) -> BinaryPackage | SourcePackage | None:
    """The pinned version in the signed index. Raises SourceError where the index has other content for it."""
    indexed: Iterable[BinaryPackage | SourcePackage]
    indexed = archive.sources(entry.package) if entry.kind == "deb-src" else archive.binaries(entry.package)
    for candidate in indexed:
        if candidate.version == entry.version:
            _check_index(entry, candidate.files)
            return candidate
    return None


def _check_index(entry: LockEntry, files: Iterable[LockFile]) -> None:
    by_name = {file.name: file for file in files}
    for file in entry.files:
        other = by_name.get(file.name)
        if other is None:
            raise SourceError(
                f"Source '{entry.name}': '{entry.package}' {entry.version} in the archive has no file '{file.name}',"
                " which the lock file pins.",
                hint=f"`rumpel lock --update {entry.name}` pins anew.",
                source=entry.name,
            )
        if other.sha256 != file.sha256:
            raise mismatch(file, other.sha256, other.size)


def _download(entry: LockEntry, indexed: BinaryPackage | SourcePackage, archive: Archive, store: Store) -> bool:
    try:
        _download_or_raise(entry, indexed, archive, store)
    except _FailedError:
        return False
    return True


class _FailedError(SourceError):
    """apt itself could not fetch a file that its lists name."""


def _download_or_raise(
    entry: LockEntry, indexed: BinaryPackage | SourcePackage, archive: Archive, store: Store
) -> None:
    total = sum(file.size for file in entry.files)
    with store.work_folder(entry.name) as folder:
        if isinstance(indexed, SourcePackage):
            ended = archive.download_source(entry.package, entry.version, folder, total)
        else:
            ended = archive.download_binary(entry.package, entry.version, folder, total)
        if ended.status != 0:
            failure = ended.failure(
                f"Source '{entry.name}': '{entry.package}' {entry.version} could not be fetched.",
                hint=_TRY_AGAIN,
                source=entry.name,
            )
            raise _FailedError(failure.message, hint=failure.hint, source=failure.source)
        for file in entry.files:
            store.add(_fetched(entry, file, folder), file)


def _fetched(entry: LockEntry, file: LockFile, folder: Path) -> Path:
    path = folder / file.name
    if path.exists():
        return path
    if entry.kind == "deb":  # apt writes an epoch into the name of its file, the archive does not
        debs = sorted(folder.glob("*.deb"))
        if len(debs) == 1:
            return debs[0]
    raise SourceError(
        f"Source '{entry.name}': apt fetched '{entry.package}' {entry.version}, but '{file.name}' is not among its"
        f" files ({', '.join(sorted(path.name for path in folder.iterdir())) or 'there are none'}).",
        hint=f"`rumpel lock --update {entry.name}` pins anew.",
        source=entry.name,
    )


def entry_of(declaration: Declaration, found: BinaryPackage | SourcePackage, archive: Archive) -> LockEntry:
    return LockEntry(
        name=declaration.name,
        kind=declaration.kind,
        package=found.package,
        version=found.version,
        files=found.files,
        release=archive.release,
        follow=declaration.follow,
        followed=declaration.package if declaration.follow else "",
    )


def _unknown(declaration: Declaration, archive: Archive) -> SourceError:
    kind = "source package" if declaration.kind == "deb-src" else "package"
    return SourceError(
        f"Source '{declaration.name}': Debian '{archive.release}' has no {kind} '{declaration.package}'"
        " at the mirrors of this machine.",
        hint="Check the name, or whether the machine's apt sources hold all of the release.",
        source=declaration.name,
    )
