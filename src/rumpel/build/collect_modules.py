"""Packages of npm and of Python: which of their files go where. None of their scripts runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from rumpel.build.patterns import is_matched
from rumpel.build.step import TreePath, Workspace, part_name
from rumpel.errors import BuildError
from rumpel.resolve.plan import Frozen, Packages, Source

_HOOKS = ("preinstall", "install", "postinstall")


class Module(Frozen, frozen=True):
    """A file of a package, and its place in the guest."""

    target: str
    file: TreePath


class _Manifest(msgspec.Struct, frozen=True):
    """What counts of a package.json."""

    scripts: dict[str, msgspec.Raw] = {}


def node_modules(part: str, packages: Packages, sources: Sequence[Source], workspace: Workspace) -> Iterator[Module]:
    """The files of the npm packages that the component's package-lock.json names, where it says that they go.

    Raises BuildError for a package that wants to run a script when it is installed.
    """
    by_name = {source.name: source for source in sources}
    for module in packages.modules:
        source = by_name[module.source]
        tree = workspace.unpack(source)
        _refuse_scripts(part, source, tree)
        for name in _files(tree):
            if not is_matched(name, packages.without):
                target = f"{packages.folder.rstrip('/')}/{module.path}/{name}"
                yield Module(target=target, file=TreePath(source=source, path=name))


def python_packages(part: str, packages: Packages, sources: Sequence[Source], workspace: Workspace) -> Iterator[Module]:
    """The files of the component's wheels (PyPA, binary distribution format 1.0). Raises BuildError for a source that
    is not a pure wheel."""
    for source in (source for source in sources if source.kind == "pypi"):
        name = source.files[0].name
        if not name.endswith("-none-any.whl"):
            raise BuildError(
                f"The Python package '{source.package}' {source.version} of {part_name(part)} is not a pure wheel, but "
                f"'{name}'; Rumpel runs nothing to build Python packages.",
                hint="Take a package that is published as a pure wheel ('...-none-any.whl').",
            )
        for path in _files(workspace.unpack(source)):
            data = re.match(r"[^/]+\.data/([^/]+)/(.+)", path)
            if data is not None and data[1] not in ("purelib", "platlib"):
                continue  # scripts, headers and manual pages
            place = path if data is None else data[2]
            if not is_matched(place, packages.without):
                target = f"{packages.folder.rstrip('/')}/{place}"
                yield Module(target=target, file=TreePath(source=source, path=path))


def _refuse_scripts(part: str, source: Source, tree: Path) -> None:
    try:
        manifest = msgspec.json.decode((tree / "package.json").read_bytes(), type=_Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BuildError(
            f"The npm package '{source.package}' {source.version} has no package.json: {error}."
        ) from error
    wanted = [hook for hook in _HOOKS if hook in manifest.scripts]
    if not wanted and (tree / "binding.gyp").is_file():
        wanted = ["install (node-gyp)"]
    if wanted:
        raise BuildError(
            f"The npm package '{source.package}' {source.version} of {part_name(part)} wants to run a script when it "
            f"is installed ({', '.join(wanted)}); Rumpel runs no scripts of packages.",
            hint="Take a package that works as it is published, or one that brings its machine code in a package for "
            "linux-x64.",
        )


def _files(tree: Path) -> list[str]:
    found = []
    for folder, _, names in os.walk(tree):
        found += [Path(folder, name).relative_to(tree).as_posix() for name in names]
    return sorted(found)
