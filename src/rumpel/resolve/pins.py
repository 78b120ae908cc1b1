"""What the parts of a plan want to be fetched -> what the lock file pins of it."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from rumpel.errors import ResolveError
from rumpel.model.lock import Lock, LockEntry
from rumpel.model.parts import SourceSpec
from rumpel.resolve.plan import Source, SourceFile

Uses = tuple[str, tuple[SourceSpec, ...]]
"""Who uses sources, in the words of an error, and the sources."""


def pinned_sources(users: Iterable[Uses], lock: Lock) -> tuple[Source, ...]:
    """The sources of all users, by name. Raises ResolveError where two mean different ones by one name, and where one
    is not pinned as it is asked for."""
    specs: dict[str, tuple[str, SourceSpec]] = {}
    for user, sources in users:
        for spec in sources:
            first_user, first = specs.setdefault(spec.name, (user, spec))
            if not spec.same_as(first):
                raise ResolveError(
                    f"{spec.location}: the source '{spec.name}' of {user} is something else in {first_user}.",
                    hint="Give one of them another name.",
                )
    _check_pins([(user, spec) for _, (user, spec) in sorted(specs.items())], lock)
    return tuple(_source(entry) for name in sorted(specs) if (entry := lock.get(name)) is not None)


def _check_pins(specs: list[tuple[str, SourceSpec]], lock: Lock) -> None:
    wrong = []
    names = []
    for user, spec in specs:
        entry = lock.get(spec.name)
        if entry is None:
            wrong.append(f"{spec.location}: the source '{spec.name}' of {user} is not in the lock file.")
            names.append(spec.name)
        elif not _pins(entry, spec):
            wrong.append(
                f"{spec.location}: the source '{spec.name}' of {user} is {spec.kind} '{spec.package}', but the "
                f"lock file pins {entry.kind} '{entry.package}'."
            )
            names.append(spec.name)
    if wrong:
        commands = [f"`rumpel lock --update {name}`" for name in names]
        raise ResolveError("\n".join(wrong), hint=f"Run {' and '.join(commands)}.")


def _pins(entry: LockEntry, spec: SourceSpec) -> bool:
    """Whether a lock entry is of the thing that the part names."""
    if entry.kind != spec.kind or (spec.release and entry.release != spec.release):
        return False
    if spec.version and entry.version != spec.version and not entry.version.startswith(f"{spec.version}."):
        return False
    if spec.follow:
        return entry.follow == spec.follow and fnmatchcase(entry.package, spec.follow)
    return entry.package == spec.package and not entry.follow


def _source(entry: LockEntry) -> Source:
    return Source(
        name=entry.name,
        kind=entry.kind,
        package=entry.package,
        version=entry.version,
        files=tuple(SourceFile(name=file.name, sha256=file.sha256, size=file.size) for file in entry.files),
        pinned_version=entry.pinned_version or None,
    )
