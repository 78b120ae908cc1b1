"""A project: the folders in which parts are looked up, read when they are asked for."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from rumpel.errors import Location, ModelError, Problem, UsageError
from rumpel.model import decode
from rumpel.model.check import check
from rumpel.model.document import Document, Scalar, read_document, shown_path
from rumpel.model.document import Mapping as Tree
from rumpel.model.document import Sequence as TreeSequence
from rumpel.model.extends import merged
from rumpel.model.lock import SOURCE_KINDS
from rumpel.model.names import quoted, suggestion
from rumpel.model.package_lock import read_package_lock
from rumpel.model.parts import (
    READY_KINDS,
    Component,
    Composition,
    Driver,
    Emulator,
    Kernel,
    Machine,
    Origin,
    SourceSpec,
)
from rumpel.model.variables import substitute, variable_names
from rumpel.places import own_root

_FOLDERS = {
    "composition": "compositions",
    "component": "components",
    "driver": "hal/drivers",
    "machine": "hal/machines",
    "emulator": "hal/emulators",
    "kernel": "kernels",
}

PartT = TypeVar("PartT", Component, Driver, Emulator, Machine, Kernel)


@dataclass(frozen=True)
class Unreadable:
    """A part whose file is wrong, and what it provides as far as its file says so; None: that is not known."""

    kind: str
    name: str
    error: ModelError
    provides: frozenset[str] | None

    def may_provide(self, capability: str) -> bool:
        """Whether it could be the part that provides `capability`."""
        return self.provides is None or capability in self.provides


class Project:
    """Ordered roots (a person's own project first, then the installed package's) and the parts in them.

    A part is looked up by its folder's name; the first root that has it wins. What was read is kept, so one object
    sees one state of the files. Errors: ModelError for a wrong file (all that is wrong with it), and for an unknown
    name that stands in a file; UsageError for an unknown name that was asked for.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(root.absolute() for root in roots)
        self._documents: dict[tuple[str, str], Document] = {}
        self._parts: dict[tuple[str, str], object] = {}
        self._listed: dict[str, dict[str, Path]] = {}

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of all parts of `kind` ("composition", "component", "driver", "emulator", "machine", "kernel"),
        sorted."""
        return tuple(self._found(kind))

    def has(self, kind: str, name: str) -> bool:
        """Whether there is a part of `kind` called `name`."""
        return name in self._found(kind)

    def component(self, name: str, at: Location | None = None) -> Component:
        """The component called `name`; `at` is where it is named."""
        return self._part("component", name, at, self._make_component)

    def driver(self, name: str, at: Location | None = None) -> Driver:
        """The driver called `name`; `at` is where it is named."""
        return self._part("driver", name, at, decode.driver)

    def machine(self, name: str, at: Location | None = None) -> Machine:
        """The machine called `name`; `at` is where it is named."""
        return self._part("machine", name, at, decode.machine)

    def emulator(self, name: str, at: Location | None = None) -> Emulator:
        """The emulator called `name`; `at` is where it is named."""
        return self._part("emulator", name, at, decode.emulator)

    def kernel(self, name: str, at: Location | None = None) -> Kernel:
        """The kernel called `name`; `at` is where it is named."""
        return self._part("kernel", name, at, decode.kernel)

    def components(self) -> tuple[Component, ...]:
        """All components whose files are right; `unreadable` has the others."""
        return self._readable("component", self.component)

    def drivers(self) -> tuple[Driver, ...]:
        """All drivers whose files are right."""
        return self._readable("driver", self.driver)

    def machines(self) -> tuple[Machine, ...]:
        """All machines whose files are right."""
        return self._readable("machine", self.machine)

    def kernels(self) -> tuple[Kernel, ...]:
        """All kernels whose files are right."""
        return self._readable("kernel", self.kernel)

    def unreadable(self, *kinds: str) -> tuple[Unreadable, ...]:
        """All parts of these kinds whose files are wrong; of all kinds but compositions, where none is named."""
        readers: dict[str, Callable[[str], object]] = {
            "component": self.component, "driver": self.driver, "machine": self.machine, "kernel": self.kernel
        }  # fmt: skip
        found = []
        for kind in kinds or readers:
            for name in self.names(kind):
                try:
                    readers[kind](name)
                except ModelError as error:
                    found.append(Unreadable(kind, name, error, self._said_to_provide(kind, name)))
        return tuple(found)

    def composition(self, name: str, variables: Mapping[str, str] | None = None) -> Composition:
        """The composition called `name`, with what it extends, and with `variables` over its own."""
        tree, names = merged(name, None, lambda each, at: self._document("composition", each, at).root)
        replaced, problems = substitute(tree, variables or {})
        problems += check(replaced, "composition")
        for each in names:
            problems += _name_problems("composition", each, self._document("composition", each, None).root)
        problems += _ready_problems(replaced) + _volume_problems(replaced)
        if problems:
            raise ModelError(_unique(problems))
        self._check_overrides(tree, variables or {})
        return decode.composition(replaced, tuple(self._origin("composition", each) for each in names))

    @property
    def builds_emulators(self) -> bool:
        """Whether emulators are built from its pins: they come with Rumpel, so only Rumpel's own project does."""
        return self.roots[0] == own_root()

    def sources(self) -> tuple[SourceSpec, ...]:
        """Every source that a component or a kernel of the project names - an emulator where it builds these - by name.
        Raises ModelError where two parts mean different things by one name."""
        found: dict[str, SourceSpec] = {}
        problems = []
        parts: list[Component | Kernel | Emulator] = [self.kernel(name) for name in self.names("kernel")]
        parts += [self.emulator(name) for name in self.names("emulator") if self.builds_emulators]
        parts += [self.component(name) for name in self.names("component")]
        for spec in (spec for part in parts for spec in part.sources):
            first = found.setdefault(spec.name, spec)
            if not spec.same_as(first):
                message = f"the source '{spec.name}' is something else at {first.location}."
                problems.append(Problem(spec.location, message, "Give one of them another name."))
        if problems:
            raise ModelError(problems)
        return tuple(found[name] for name in sorted(found))

    def init_sources(self) -> tuple[str, ...]:
        """The C files of the init program of Linux kernels, relative to the root that holds them, sorted."""
        for root in self.roots:
            found = sorted((root / "kernels" / "init").glob("*.c"))
            if found:
                return tuple(path.relative_to(root).as_posix() for path in found)
        return ()

    def platform_sources(self) -> tuple[str, ...]:
        """The C and assembly files of the HAL on the bare machine, relative to the root that holds them, sorted."""
        for root in self.roots:
            folders = [root / "hal" / "platform" / name for name in ("common", "pvh")]
            found = sorted(path for folder in folders for path in folder.glob("*.[cS]"))
            if found:
                return tuple(path.relative_to(root).as_posix() for path in found)
        return ()

    def locate(self, path: str) -> Path:
        """The absolute path of `path`, which a plan names relative to the root that holds it."""
        for root in self.roots:
            if (root / path).exists():
                return root / path
        raise UsageError(f"the project has no '{path}'.", hint=f"Looked in: {quoted([str(r) for r in self.roots])}.")

    def _readable(self, kind: str, read: Callable[[str], PartT]) -> tuple[PartT, ...]:
        found = []
        for name in self.names(kind):
            with contextlib.suppress(ModelError):
                found.append(read(name))
        return tuple(found)

    def _said_to_provide(self, kind: str, name: str) -> frozenset[str] | None:
        try:
            tree = self._document(kind, name, None).root
        except ModelError:
            return None
        return frozenset(node.text for node in _scalars(tree, "provides")) if "provides" in tree.entries else None

    def _check_overrides(self, tree: Tree, variables: Mapping[str, str]) -> None:
        known = variable_names(tree)
        for name in sorted(variables):
            if name not in known:
                hint = suggestion(name, known, "Its variables") if known else "It has none."
                raise UsageError(f"the composition has no variable '{name}'.", hint=hint)

    def _found(self, kind: str) -> dict[str, Path]:
        if kind not in self._listed:
            found: dict[str, Path] = {}
            for root in self.roots:
                for path in _description_files(root, kind):
                    found.setdefault(_part_name(kind, path), path)
            self._listed[kind] = dict(sorted(found.items()))
        return self._listed[kind]

    def _make_component(self, tree: Tree, origin: Origin) -> Component:
        npm = tree.get("npm")
        named = npm.get("lock") if isinstance(npm, Tree) else None
        if not isinstance(named, Scalar):
            return decode.component(tree, origin)
        path = self._found("component")[origin.directory.rpartition("/")[2]].parent / named.text
        return decode.component(tree, origin, read_package_lock(path, named.location))

    def _document(self, kind: str, name: str, at: Location | None) -> Document:
        key = (kind, name)
        if key not in self._documents:
            path = self._found(kind).get(name)
            if path is None:
                raise self._unknown(kind, name, at)
            self._documents[key] = read_document(path)
        return self._documents[key]

    def _unknown(self, kind: str, name: str, at: Location | None) -> Exception:
        hint = suggestion(name, self._found(kind), f"{kind.capitalize()}s")
        if at is None:
            return UsageError(f"there is no {kind} '{name}'.", hint=hint)
        return ModelError([Problem(at, f"there is no {kind} '{name}'.", hint)])

    def _part(self, kind: str, name: str, at: Location | None, make: Callable[[Tree, Origin], PartT]) -> PartT:
        key = (kind, name)
        if key not in self._parts:
            tree = self._document(kind, name, at).root
            folder = self._found(kind)[name].parent
            problems = check(tree, kind) + _name_problems(kind, name, tree)
            problems += _ready_problems(tree) + _source_problems(tree) + _command_line_problems(tree)
            problems += self._missing_files(kind, tree, folder)
            if problems:
                raise ModelError(_unique(problems))
            self._parts[key] = make(tree, self._origin(kind, name))
        part: PartT = self._parts[key]  # type: ignore[assignment]
        return part

    def _origin(self, kind: str, name: str) -> Origin:
        path = self._found(kind)[name]
        root = next(root for root in self.roots if path.is_relative_to(root))
        relative = PurePosixPath(path.relative_to(root).as_posix())
        digest = hashlib.sha256(self._documents[(kind, name)].data).hexdigest()
        return Origin(str(relative.parent), str(relative), digest, Location(shown_path(path)))

    def _missing_files(self, kind: str, tree: Tree, folder: Path) -> list[Problem]:
        return [
            Problem(node.location, f"there is no {what} '{node.text}' in '{shown_path(folder)}'.")
            for what, node in self._named_files(kind, tree)
            if not ((folder / node.text).is_dir() if what == "folder" else (folder / node.text).exists())
        ]

    def _named_files(self, kind: str, tree: Tree) -> Iterator[tuple[str, Scalar]]:
        c = tree.get("c")
        if isinstance(c, Tree):
            yield from (("file", node) for node in _scalars(c, "sources"))
            yield from (("folder", node) for node in _scalars(c, "include"))
        if kind == "component":
            files = tree.get("files")
            for item in files.items if isinstance(files, TreeSequence) else ():
                source = item.get("source") if isinstance(item, Tree) else None
                if isinstance(source, Scalar):
                    yield "file or folder", source
            npm = tree.get("npm")
            named = npm.get("lock") if isinstance(npm, Tree) else None
            if isinstance(named, Scalar):
                yield "file", named
        if kind == "kernel":
            yield from (("file", node) for node in _scalars(tree, "files"))
        if kind == "machine":
            qemu = tree.get("qemu")
            kernels = qemu.get("kernels") if isinstance(qemu, Tree) else None
            for entry in kernels.entries.values() if isinstance(kernels, Tree) else ():
                if isinstance(entry.value, Tree):
                    yield from (("file", node) for node in _scalars(entry.value, "firmware_sources"))
        if kind == "emulator":
            laid = tree.get("files")
            for entry in laid.entries.values() if isinstance(laid, Tree) else ():
                if isinstance(entry.value, Scalar):
                    yield "file", entry.value
        if kind == "driver":
            kernels = tree.get("kernels")
            for name, entry in kernels.entries.items() if isinstance(kernels, Tree) else ():
                # A driver may be ahead of the kernels that this project has.
                if self.has("kernel", name) and isinstance(entry.value, Tree):
                    yield from (("file", node) for node in _scalars(entry.value, "sources"))
        sources = tree.get("sources")
        for entry in sources.entries.values() if isinstance(sources, Tree) else ():
            file = entry.value.get("file") if isinstance(entry.value, Tree) else None
            if isinstance(file, Scalar):
                yield "file", file


def _description_files(root: Path, kind: str) -> list[Path]:
    folder = root / _FOLDERS[kind]
    if kind == "composition":
        return sorted(folder.glob("*.yaml"))
    return sorted(folder.glob(f"*/{kind}.yaml"))


def _part_name(kind: str, path: Path) -> str:
    return path.stem if kind == "composition" else path.parent.name


def _scalars(tree: Tree, key: str) -> Iterator[Scalar]:
    value = tree.get(key)
    for item in value.items if isinstance(value, TreeSequence) else ():
        if isinstance(item, Scalar):
            yield item


def _name_problems(kind: str, name: str, tree: Tree) -> list[Problem]:
    said = tree.get("name")
    if not isinstance(said, Scalar) or said.text == name:
        return []
    what = "file" if kind == "composition" else "folder"
    message = f"the {kind} is called '{said.text}', but its {what} '{name}'."
    return [Problem(said.location, message, f"Write 'name: {name}', or rename the {what}.")]


def _ready_problems(tree: Tree) -> list[Problem]:
    ready = tree.get("ready")
    return _one_of(ready, READY_KINDS, "ready") if isinstance(ready, Tree) else []


def _source_problems(tree: Tree) -> list[Problem]:
    sources = tree.get("sources")
    problems = []
    for name, entry in sources.entries.items() if isinstance(sources, Tree) else ():
        if isinstance(entry.value, Tree):
            problems += _one_of(entry.value, SOURCE_KINDS, f"sources.{name}")
    return problems


def _one_of(tree: Tree, keys: tuple[str, ...], path: str) -> list[Problem]:
    given = [key for key in tree.entries if key in keys]
    if len(given) == 1 or not tree.entries:  # of an empty one the schema's check tells
        return []
    allowed = quoted(keys, "or")
    if not given:
        return [Problem(tree.location, f"'{path}' must have one of {allowed}.")]
    message = f"'{path}' has {quoted(given)}; only one of them can hold."
    return [Problem(tree.entries[given[1]].location, message, "Keep one.")]


def _command_line_problems(tree: Tree) -> list[Problem]:
    """Of a kernel: words for a machine that it does not boot on. `common` and `tcg` are for all machines."""
    command_line = tree.get("command_line")
    machines = {node.text for node in _scalars(tree, "machines")}
    return [
        Problem(
            entry.location,
            f"'command_line.{name}' is for no machine under 'machines'.",
            suggestion(name, machines, "Machines"),
        )
        for name, entry in (command_line.entries.items() if isinstance(command_line, Tree) else ())
        if name not in {"common", "tcg", *machines}
    ]


def _volume_problems(tree: Tree) -> list[Problem]:
    volumes = tree.get("volumes")
    problems: list[Problem] = []
    mounts: dict[str, str] = {}
    for name, entry in volumes.entries.items() if isinstance(volumes, Tree) else ():
        mount = entry.value.get("mount") if isinstance(entry.value, Tree) else None
        files = entry.value.get("files") if isinstance(entry.value, Tree) else None
        if isinstance(files, Scalar):
            folder = files.location.path.parent
            if not (folder / files.text).is_dir():
                problems.append(Problem(files.location, f"there is no folder '{files.text}' in '{folder}'."))
        if isinstance(mount, Scalar):
            place = mount.text.rstrip("/")
            if not place:
                problems.append(Problem(mount.location, f"'volumes.{name}.mount' cannot be the root '/'."))
            elif place in mounts:
                problems.append(
                    Problem(mount.location, f"'{mount.text}' is where volume '{mounts[place]}' is mounted already.")
                )
            mounts.setdefault(place, name)
    return problems


def _unique(problems: list[Problem]) -> list[Problem]:
    ordered = dict.fromkeys(problems)
    return sorted(ordered, key=lambda each: (str(each.location.path), each.location.line, each.location.column))
