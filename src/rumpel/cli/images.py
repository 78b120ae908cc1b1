"""What several commands share: the options that choose an image, its plan, and its building."""

from __future__ import annotations

import functools
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from rumpel.cli.project import CHECKOUT, project_root, unknown
from rumpel.cli.terminal import end_status, say, status
from rumpel.errors import UsageError

if TYPE_CHECKING:
    from rumpel.build.manifest import ImageFile, Manifest
    from rumpel.model.lock import Lock, LockEntry
    from rumpel.model.project import Project
    from rumpel.resolve.plan import Plan, Source

LOCK_FILE = "rumpel.lock"

_STEP = re.compile(r"\[ *\d+/\d+\] |fetching |reading ")
_STAYS = re.compile(r" is gone from the archive; using |^Another build .* waiting")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Wanted:
    """What the command line says in place of the composition. Empty: what the file says."""

    kernel: str = ""
    machine: str = ""
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class BuildChoices:
    """How a build is done. `jobs` None: as many at once as there are processors."""

    locked: bool = False
    offline: bool = False
    verbose: bool = False
    jobs: int | None = None


def build_options(command: Callable[P, R]) -> Callable[..., R]:
    """Add --locked, --offline, --verbose and --jobs; the command gets them as `choices`."""

    @click.option("--locked", is_flag=True, help="A pinned source that is gone is an error.")
    @click.option("--offline", is_flag=True, help="Fetch nothing.")
    @click.option(
        "-j", "--jobs", metavar="N", type=click.IntRange(1), help="Steps of the build at once. [one a processor]"
    )
    @click.option("-v", "--verbose", is_flag=True, help="Show every command of the build.")
    @functools.wraps(command)
    def wrapper(*args: P.args, **words: P.kwargs) -> R:
        given: dict[str, Any] = {name: words.pop(name) for name in ("locked", "offline", "jobs", "verbose")}
        words["choices"] = BuildChoices(**given)
        return command(*args, **words)

    return wrapper


def composition_options(command: Callable[P, R]) -> Callable[..., R]:
    """Add --kernel, --machine and --set; the command gets them as `wanted`."""

    @click.option("--kernel", default="", metavar="NAME", help="A kernel in place of the composition's.")
    @click.option("--machine", default="", metavar="NAME", help="A machine in place of the composition's.")
    @click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="Set a variable of the composition.")
    @functools.wraps(command)
    def wrapper(*args: P.args, **words: P.kwargs) -> R:
        kernel, machine, sets = (words.pop(name) for name in ("kernel", "machine", "sets"))
        assert isinstance(kernel, str) and isinstance(machine, str) and isinstance(sets, tuple)
        words["wanted"] = Wanted(kernel, machine, tuple(pair("--set", word) for word in sets))
        return command(*args, **words)

    return wrapper


def pair(option: str, word: str) -> tuple[str, str]:
    """NAME=VALUE taken apart."""
    name, separator, value = word.partition("=")
    if not separator or not name:
        raise UsageError(f"'{option} {word}' sets nothing.", hint=f"Write it as {option} NAME=VALUE.")
    return name, value


def roots() -> tuple[Path, ...]:
    """Where parts are looked up: the project, then Rumpel's own."""
    return tuple(dict.fromkeys((project_root(), CHECKOUT)))


def open_project() -> Project:
    from rumpel.model.project import Project

    return Project(roots())


def lock_of(project: Project) -> Lock:
    """The pins: the project's own lock file, else Rumpel's."""
    from rumpel.model.lock import load_lock

    return load_lock(next((root / LOCK_FILE for root in project.roots if (root / LOCK_FILE).exists()), Path(LOCK_FILE)))


def plan_of(composition: str, wanted: Wanted) -> Plan:
    """The plan as the lock file pins it; nothing is fetched."""
    from rumpel.resolve.resolver import Overrides, resolve

    project = open_project()
    overrides = Overrides(kernel=wanted.kernel or None, machine=wanted.machine or None, variables=wanted.variables)
    return resolve(project, composition, lock_of(project), overrides)


@dataclass(frozen=True)
class Built:
    """An image that was built or was up to date. Paths are absolute; `project` is where its plan's paths start."""

    manifest: Manifest
    plan: Plan
    project: Path

    @property
    def directory(self) -> Path:
        return self.project / self.manifest.directory

    def path(self, file: ImageFile) -> Path:
        return self.directory / file.path


def built(composition: str, wanted: Wanted, choices: BuildChoices) -> Built:
    """Build one composition through SCons, showing what is done."""
    from rumpel.build.api import BuildOptions
    from rumpel.build.api import build as build_image
    from rumpel.resolve.plan import Plan

    project = open_project()
    if not project.has("composition", composition):
        raise unknown("composition", composition, project.names("composition"))
    if shutil.which("npm") is None and not choices.offline:
        bring_npm(plan_of(composition, wanted).sources)
    options = BuildOptions(
        project=project.roots[0],
        kernel=wanted.kernel or None,
        machine=wanted.machine or None,
        variables=wanted.variables,
        locked=choices.locked,
        offline=choices.offline,
        verbose=choices.verbose,
        jobs=choices.jobs,
    )
    manifest = build_image(composition, options, say if choices.verbose else _told)
    end_status()
    plan = Plan.from_json((options.project / manifest.directory / manifest.plan.path).read_bytes())
    return Built(manifest, plan, options.project)


def bring_npm(sources: Iterable[Source] | Iterable[LockEntry]) -> None:
    """Install npm where one of `sources` is still to be fetched with it. Most compositions need none of it, and it is
    hundreds of packages."""
    from rumpel.cli.bootstrap import bring
    from rumpel.sources import Store

    store = Store()
    missing = [source.name for source in sources if source.kind == "npm" and not store.has_all(source)]
    if missing:
        bring("npm", "npm", f"it fetches {', '.join(repr(name) for name in missing)}.")


def _told(line: str) -> None:
    """What a person sees of a build: steps in place on a terminal, a line each elsewhere; what was substituted stays.

    Errors are not among it: they are raised.
    """
    if _STEP.match(line):
        status(line) if sys.stderr.isatty() else say(line)
    elif _STAYS.search(line):
        say(line)
