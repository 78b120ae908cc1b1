"""Moving pins to the newest versions: what writes the lock file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import Lock, LockEntry
from rumpel.sources.declaration import Declaration
from rumpel.sources.progress import Progress, silent
from rumpel.sources.store import Store

__all__ = ["Declaration", "update"]


def update(
    lock: Lock,
    declarations: Sequence[Declaration],
    names: Iterable[str],
    *,
    store: Store | None = None,
    project: Path | None = None,
    progress: Progress = silent,
) -> Lock:
    """The lock with the pins called `names` moved to the newest version of what the parts declare.

    Debian's pins come from the signed index, without a download; those of npm and PyPI are downloaded into the store.
    Raises SourceError where a name is not declared, or nothing is found for it.
    """
    store = store if store is not None else Store()
    project = project if project is not None else Path.cwd()
    by_name = {declaration.name: declaration for declaration in declarations}
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 1)
            raise SourceError(
                f"No part declares a source '{name}'.",
                hint=f"Did you mean '{near[0]}'?" if near else f"Declared are: {', '.join(sorted(by_name))}.",
                source=name,
            )
    archives = _Archives(store, progress, [by_name[name] for name in wanted])
    for name in wanted:
        lock = lock.replace(_newest(by_name[name], store, project, progress, archives))
    return lock


class _Archives:
    """Debian's archive of each release, whose lists are read once; all binary packages are looked up together."""

    def __init__(self, store: Store, progress: Progress, wanted: Sequence[Declaration]) -> None:
        from rumpel.sources.apt import Archive, BinaryPackage

        self._store = store
        self._progress = progress
        self._wanted = tuple(wanted)
        self._opened: dict[str, Archive] = {}
        self._binaries: dict[str, dict[str, tuple[BinaryPackage, ...]]] = {}

    def newest(self, declaration: Declaration) -> LockEntry:
        from rumpel.sources import debian

        release = declaration.release
        if release not in self._opened:
            self._open(release)
        archive = self._opened[release]
        if declaration.kind == "deb" and not declaration.follow:
            found = self._binaries[release][declaration.package]
            if found:
                return debian.entry_of(declaration, found[0], archive)
        return debian.newest(declaration, archive)

    def _open(self, release: str) -> None:
        from rumpel.sources.substitutions import archive_for

        archive = self._opened[release] = archive_for(self._store, release, self._progress)
        debs = [each.package for each in self._wanted if (each.kind, each.release) == ("deb", release)]
        with archive.locked():
            archive.refresh()
            self._binaries[release] = archive.all_binaries(debs)


def _newest(
    declaration: Declaration, store: Store, project: Path, progress: Progress, archives: _Archives
) -> LockEntry:
    if declaration.kind == "npm":
        from rumpel.sources import npm

        return npm.newest(declaration, store, progress)
    if declaration.kind == "pypi":
        from rumpel.sources import pypi

        return pypi.newest(declaration, store, progress)
    if declaration.kind == "file":
        from rumpel.sources import local

        return local.newest(declaration, store, project)
    return archives.newest(declaration)
