"""Commands about sources: fetch, lock."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rumpel.cli.images import LOCK_FILE, Wanted, bring_npm, lock_of, open_project, plan_of
from rumpel.cli.output import echo_json, echo_table
from rumpel.cli.project import project_root, unknown
from rumpel.cli.terminal import end_status, say, status
from rumpel.errors import UsageError
from rumpel.resolve.plan import Frozen

if TYPE_CHECKING:
    from rumpel.model.lock import Lock
    from rumpel.model.project import Project
    from rumpel.sources import Declaration, Step


class Fetched(Frozen, frozen=True):
    """One source that is in the store, as `fetch --json` prints it. `files` are the paths in the store."""

    name: str
    kind: str
    package: str
    version: str
    pinned_version: str
    files: tuple[str, ...]


@click.command()
@click.argument("names", nargs=-1, metavar="[COMPOSITION|SOURCE]... | all")
@click.option("--locked", is_flag=True, help="A pinned version that is gone is an error.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fetch(names: tuple[str, ...], locked: bool, as_json: bool) -> None:
    """Bring sources into the store; what is there already is not fetched again.

    After 'rumpel fetch all' everything builds with no network. Where a pinned version of a Debian package is gone,
    the newest of the same release is taken and named; with --locked that is an error.
    """
    from rumpel.sources import SourcePolicy, Store, ensure

    if not names:
        raise UsageError(
            "'rumpel fetch' needs names.", hint="Name compositions or sources, or write 'rumpel fetch all'."
        )
    project = open_project()
    lock = lock_of(project)
    wanted = list(dict.fromkeys(source for name in names for source in _sources_named(name, project, lock)))
    store = Store()
    bring_npm([entry for entry in lock.entries if entry.name in wanted])
    policy = SourcePolicy.LOCKED if locked else SourcePolicy.PINNED_OR_NEWEST
    ensured = ensure(lock, wanted, store, policy, project=project.roots[0], progress=Told())
    end_status()
    entries = [entry for entry in ensured.lock.entries if entry.name in wanted]
    if as_json:
        echo_json(
            [
                Fetched(
                    name=entry.name, kind=entry.kind, package=entry.package, version=entry.version,
                    pinned_version=entry.pinned_version,
                    files=tuple(str(store.location(file.sha256)) for file in entry.files),
                )
                for entry in entries
            ]
        )  # fmt: skip
        return
    size = sum(file.size for entry in entries for file in entry.files)
    say(f"{len(entries)} sources are in the store, {size / (1 << 20):.1f} MiB: {store.root}")


def _sources_named(name: str, project: Project, lock: Lock) -> list[str]:
    if name == "all":
        return [entry.name for entry in lock.entries]
    if project.has("composition", name):
        return [source.name for source in plan_of(name, Wanted()).sources]
    if lock.get(name) is not None:
        return [name]
    raise unknown("composition or source", name, [*project.names("composition"), *(each.name for each in lock.entries)])


class Told:
    """What fetching says: on a terminal one line that is rewritten, elsewhere a line for each thing."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, step: Step) -> None:
        import sys

        if sys.stderr.isatty():
            share = f" {step.done * 100 // step.total} %" if step.total else ""
            status(step.text + share)
        elif step.text != self._last:
            say(step.text)
        self._last = step.text


class Pin(Frozen, frozen=True):
    """One source, as `lock --json` prints it. `version` is empty where nothing pins it."""

    name: str
    kind: str
    package: str
    version: str
    release: str
    declared_by: tuple[str, ...]


@click.command()
@click.option("--update", "updates", multiple=True, metavar="NAME", help="Move this pin to the newest version; 'all'.")
@click.option("--prune", is_flag=True, help="Remove the pins that no part names.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lock(updates: tuple[str, ...], prune: bool, as_json: bool) -> None:
    """Show what the lock file pins. With --update, write newer pins into it; with --prune, remove stale ones."""
    project = open_project()
    pinned = _own_pins(project)
    declared = list(_declarations(project))
    if updates:
        pinned = _update(project, pinned, updates)
    if prune:
        pinned = _prune(pinned, {each.name for each, _ in declared})
    pins = [
        Pin(
            name=name,
            kind=next(each.kind for each, _ in declared if each.name == name) if entry is None else entry.kind,
            package=next(each.package for each, _ in declared if each.name == name) if entry is None else entry.package,
            version=entry.version if entry is not None else "",
            release=entry.release if entry is not None else "",
            declared_by=tuple(part for each, part in declared if each.name == name),
        )
        for name in sorted({each.name for each, _ in declared} | {entry.name for entry in pinned.entries})
        for entry in [pinned.get(name)]
    ]
    if as_json:
        echo_json(pins)
        return
    echo_table(
        ("NAME", "KIND", "VERSION", "FOR"),
        [
            (pin.name, pin.kind, pin.version or "not pinned", ", ".join(pin.declared_by) or "nothing: no part names it")
            for pin in pins
        ],
    )


def _update(project: Project, pinned: Lock, updates: tuple[str, ...]) -> Lock:
    from rumpel.sources import update

    declarations = list({each.name: each for each, _ in _declarations(project)}.values())
    names = [each.name for each in declarations] if "all" in updates else list(updates)
    fresh = update(pinned, declarations, names, project=project.roots[0], progress=Told())
    end_status()
    for name in names:
        before, after = pinned.get(name), fresh.get(name)
        if after is None or before == after:
            say(f"{name}: {after.version if after else ''} is the newest.")
        else:
            say(f"{name}: {before.version if before else 'not pinned'} -> {after.version}")
    if fresh != pinned:
        _write(project_root() / LOCK_FILE, fresh)
    return fresh


def _prune(pinned: Lock, declared: set[str]) -> Lock:
    """The pins that a part names; the others are taken out of the lock file."""
    stale = [entry for entry in pinned.entries if entry.name not in declared]
    fresh = pinned
    for entry in stale:
        fresh = fresh.without(entry.name)
        say(f"{entry.name}: {entry.version} is pinned no more; no part names it.")
    if stale:
        _write(project_root() / LOCK_FILE, fresh)
    else:
        say("A part names every pin; nothing was changed.")
    return fresh


def _write(path: Path, fresh: Lock) -> None:
    """Replace the lock file in one step."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as aside:
        aside.write(fresh.to_json())
    fresh_path = Path(aside.name)
    fresh_path.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
    fresh_path.replace(path)


def _own_pins(project: Project) -> Lock:
    """The pins without those that only Rumpel's own project reads; a project without a lock file has Rumpel's."""
    pinned = lock_of(project)
    if not project.builds_emulators:
        named = {source.name for name in project.names("emulator") for source in project.emulator(name).sources}
        for name in named - {declaration.name for declaration, _ in _declarations(project)}:
            pinned = pinned.without(name)
    return pinned


def _declarations(project: Project) -> Iterator[tuple[Declaration, str]]:
    """Every source that a component or a kernel declares - in Rumpel's own project an emulator too - and the part that
    does."""
    from rumpel.sources import Declaration
    from rumpel.sources.declaration import DEFAULT_RELEASE

    for kind, read in (("component", project.component), ("kernel", project.kernel), ("emulator", project.emulator)):
        if kind == "emulator" and not project.builds_emulators:
            continue
        for name in project.names(kind):
            for source in read(name).sources:
                yield (
                    Declaration(
                        name=source.name, kind=source.kind, package=source.package, follow=source.follow,
                        release=source.release or DEFAULT_RELEASE, version=source.version,
                        integrity=source.integrity,
                    ),
                    f"{kind} {name}",
                )  # fmt: skip
