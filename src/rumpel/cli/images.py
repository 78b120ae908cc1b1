"""What several commands share: the options that choose an image, its plan, and its building."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from rumpel.cli.project import CHECKOUT, project_root
from rumpel.errors import UsageError

if TYPE_CHECKING:
    from rumpel.model.lock import Lock
    from rumpel.model.project import Project
    from rumpel.resolve.plan import Plan

LOCK_FILE = "rumpel.lock"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Wanted:
    """What the command line says in place of the composition. `memory` is in MiB; 0 and empty: what the file says."""

    kernel: str = ""
    machine: str = ""
    variables: tuple[tuple[str, str], ...] = ()


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
