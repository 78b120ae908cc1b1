"""A `package-lock.json` (npm's lock file, versions 2 and 3): which npm packages a component needs, and where they go.

What is only for development, and what is for another system, is left out. Each package becomes a source of its own,
called `npm-NAME-VERSION`, which the project's lock file pins like every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from rumpel.errors import Location, ModelError, Problem
from rumpel.model.document import shown_path
from rumpel.model.parts import SourceSpec


@dataclass(frozen=True, slots=True)
class LockedModule:
    """One package: its source, and its path below the component's folder ("node_modules/a/node_modules/b")."""

    source: SourceSpec
    path: str


class _Package(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str = ""
    version: str = ""
    resolved: str = ""
    integrity: str = ""
    link: bool = False
    dev: bool = False
    in_bundle: bool = False
    optional: bool = False
    has_install_script: bool = False
    os: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()
    libc: tuple[str, ...] = ()


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    lockfile_version: int
    packages: dict[str, _Package]


def read_package_lock(path: Path, named_at: Location) -> tuple[LockedModule, ...]:
    """The packages of the file at `path`, sorted by path. Raises ModelError with all that is wrong in it."""
    where = Location(shown_path(path))
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except OSError as error:
        raise ModelError([Problem(named_at, f"'{path.name}' cannot be read: {error.strerror}.")]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"this is not a package-lock.json of version 2 or 3: {error}."
        raise ModelError([Problem(where, message, "Write it anew: `npm install --package-lock-only`.")]) from None
    modules = []
    problems = []
    for place, package in sorted(document.packages.items()):
        if not place or package.dev or package.in_bundle or not _is_for_guest(package):
            continue
        name = package.name or place.rpartition("node_modules/")[2]
        problem = _problem(place, name, package)
        if problem:
            problems.append(Problem(where, *problem))
        modules.append(LockedModule(_source(name, package, where), place))
    if problems:
        raise ModelError(problems)
    return tuple(modules)


def _problem(place: str, name: str, package: _Package) -> tuple[str, str] | None:
    """What is wrong with an entry, and the way out."""
    if package.has_install_script:
        return (
            f"the npm package '{name}' {package.version} wants to run a script when it is installed; Rumpel runs no "
            "scripts of packages.",
            "Take a package that works as it is published, or one that brings its machine code in a package for "
            "linux-x64.",
        )
    parts = place.split("/")
    if package.link or not place.startswith("node_modules/") or ".." in parts or "" in parts or "." in parts:
        return (
            f"'{place}' is not a package of npm's registry, but a folder of this machine.",
            "Publish it, or copy its files into the component's folder and name them under 'files'.",
        )
    if package.resolved.startswith(("git", "file:")):
        return (
            f"the npm package '{name}' comes from '{package.resolved}', not from npm's registry.",
            "Take a published version of it.",
        )
    if not package.version or not package.integrity.startswith("sha512-"):
        return (
            f"the npm package '{name}' has no version or no SHA-512 digest.",
            "Write the file anew: `npm install --package-lock-only`.",
        )
    return None


def _is_for_guest(package: _Package) -> bool:
    return all(
        _allows(allowed, own) for allowed, own in ((package.os, "linux"), (package.cpu, "x64"), (package.libc, "glibc"))
    )


def _allows(allowed: tuple[str, ...], own: str) -> bool:
    """npm's rule: `!x` forbids, and where any is named without `!`, ours must be among them."""
    named = [each for each in allowed if not each.startswith("!")]
    return f"!{own}" not in allowed and (not named or own in named)


def _source(name: str, package: _Package, where: Location) -> SourceSpec:
    plain = name.removeprefix("@").replace("/", "-").replace("_", "-").replace("~", "-").lower()
    return SourceSpec(
        name=f"npm-{plain}-{package.version}",
        kind="npm",
        package=name,
        location=where,
        version=package.version,
        integrity=package.integrity,
    )
