"""Bringing into the store what a plan pins and the store lacks. Nothing is asked of the network when all is there."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import Lock, LockEntry
from rumpel.sources.progress import Progress, Step, silent
from rumpel.sources.store import Store


class SourcePolicy(enum.Enum):
    """What may be done where a pinned source is not in the store.

    PINNED_OR_NEWEST: fetch it; where a Debian version is gone from the archive, take the newest of the same release.
    LOCKED: fetch it; a version that is gone is an error. OFFLINE: fetch nothing; what is missing is an error.
    """

    PINNED_OR_NEWEST = "pinned-or-newest"
    LOCKED = "locked"
    OFFLINE = "offline"


@dataclass(frozen=True)
class Substitution:
    """`used` stands in for `pinned`, which is gone from the archive."""

    pinned: LockEntry
    used: LockEntry

    def sentence(self) -> str:
        """One line for a person."""
        pinned = f"{self.pinned.package} {self.pinned.version}"
        same = self.pinned.package == self.used.package
        used = self.used.version if same else f"{self.used.package} {self.used.version}"
        return f"{pinned} is gone from the archive; using {used}"


@dataclass(frozen=True)
class Ensured:
    """What is in the store now: `lock` is the lock with every substitution in it."""

    lock: Lock
    substitutions: tuple[Substitution, ...] = ()


def ensure(
    lock: Lock,
    names: Iterable[str],
    store: Store,
    policy: SourcePolicy = SourcePolicy.PINNED_OR_NEWEST,
    *,
    project: Path | None = None,
    progress: Progress = silent,
) -> Ensured:
    """Bring the sources called `names` into the store; `project` is what paths of local files are relative to.

    Raises SourceError where one cannot be had, HostError where a program is missing.
    """
    project = project if project is not None else Path.cwd()
    substitutions: list[Substitution] = []
    for name in dict.fromkeys(names):
        pinned = lock.get(name)
        if pinned is None:
            raise SourceError(
                f"Source '{name}' is not pinned in the lock file.",
                hint=f"`rumpel lock --update {name}` pins it.",
                source=name,
            )
        used = _bring(pinned, store, policy, project, progress)
        if used is not pinned:
            substitutions.append(Substitution(pinned, used))
            lock = lock.replace(used)
    return Ensured(lock, tuple(substitutions))


def with_substitutions(lock: Lock, names: Iterable[str], store: Store) -> Lock:
    """The lock with what is known to stand in for pins that are gone, as `ensure` would leave it; asks nobody."""
    from rumpel.sources import substitutions

    for name in names:
        pinned = lock.get(name)
        if pinned is None or pinned.kind not in ("deb", "deb-src") or store.has_all(pinned):
            continue
        used = substitutions.recall(pinned, store)
        if used is not None:
            lock = lock.replace(used)
    return lock


def _bring(pinned: LockEntry, store: Store, policy: SourcePolicy, project: Path, progress: Progress) -> LockEntry:
    """The entry that is in the store afterwards: `pinned` itself, or what stands in for it."""
    if pinned.kind == "file":
        from rumpel.sources import local

        local.bring(pinned, store, project)
        return pinned
    if store.has_all(pinned):
        return pinned
    remembered = None
    if pinned.kind in ("deb", "deb-src") and policy is not SourcePolicy.LOCKED:
        from rumpel.sources import substitutions

        remembered = substitutions.recall(pinned, store)
        if remembered is not None and store.has_all(remembered):
            return remembered
    if policy is SourcePolicy.OFFLINE:
        raise SourceError(
            f"Source '{pinned.name}' ({pinned.package} {pinned.version}) is not in the store '{store.root}', and"
            " nothing may be fetched.",
            hint="`rumpel fetch all` on a machine with a network brings everything.",
            source=pinned.name,
        )
    if pinned.kind == "npm":
        from rumpel.sources import npm

        npm.fetch(pinned, store, progress)
        return pinned
    if pinned.kind == "pypi":
        from rumpel.sources import pypi

        pypi.fetch(pinned, store, progress)
        return pinned
    return _bring_debian(pinned, store, policy, progress)


def _bring_debian(pinned: LockEntry, store: Store, policy: SourcePolicy, progress: Progress) -> LockEntry:
    from rumpel.sources import debian, substitutions
    from rumpel.sources.declaration import Declaration

    declaration = Declaration.of(pinned)
    archive = substitutions.archive_for(store, declaration.release, progress)
    try:
        debian.fetch(pinned, archive, store)
        return pinned
    except debian.GoneError:
        if policy is SourcePolicy.LOCKED:
            raise SourceError(
                f"Source '{pinned.name}': {pinned.package} {pinned.version} is gone from the archive of Debian"
                f" '{declaration.release}', and the lock file is to be kept to exactly.",
                hint=f"Without --locked the newest version of the same release is taken; `rumpel lock --update"
                f" {pinned.name}` pins it.",
                source=pinned.name,
            ) from None
    newest = debian.newest(declaration, archive)
    used = substitutions.standing_in(newest, pinned)
    progress(Step(Substitution(pinned, used).sentence()))
    if not store.has_all(used):
        try:
            debian.fetch(used, archive, store)
        except debian.GoneError:
            raise SourceError(
                f"Source '{used.name}': {used.package} {used.version} went from the archive while it was fetched.",
                hint="Try again: the archive is being brought up to date.",
                source=used.name,
            ) from None
    substitutions.remember(pinned, used, store)
    return used
