"""YAML files as trees in which every key and value knows its place.

Scalars follow the core schema of YAML 1.2 (specification 1.2.2, section 10.3.2): `no`, `on` and `12:30` are text,
`0755` is the number 755. Duplicate keys, tags, several documents in one file and self-containing aliases are errors.
Trees are built from parser events, with bounds on nesting and on the number of nodes that aliases unfold to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from rumpel.errors import Location, ModelError, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000

ScalarValue = str | int | float | bool | None

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. `text` is what the file says, `value` what it means."""

    value: ScalarValue
    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a mapping; `location` is the key's."""

    key: str
    value: Node
    location: Location


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, in the file's order. Keys are unique and are taken as they are written."""

    entries: dict[str, Entry]
    location: Location

    def get(self, key: str) -> Node | None:
        """The value of `key`, or None where the mapping has no such key."""
        entry = self.entries.get(key)
        return None if entry is None else entry.value


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its tree, and its bytes as they were read."""

    root: Mapping
    data: bytes


def read_document(path: Path) -> Document:
    """Read the YAML file at `path`. Raises ModelError, with every duplicate key or unusable node of the file."""
    shown = shown_path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _failure(Location(shown), f"the file cannot be read: {error.strerror}.") from None
    return Document(parse_document(data, shown), data)


def parse_document(data: bytes, path: Path) -> Mapping:
    """Parse YAML bytes; `path` is only named in locations. Raises ModelError."""
    if len(data) > MAX_BYTES:
        raise _failure(Location(path), f"the file has {len(data)} bytes; at most {MAX_BYTES} are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise _failure(Location(path, line, column), "the file is not UTF-8 text here.") from None
    builder = _Builder(path)
    loader = _loader(text)
    try:
        root = builder.build(loader)
    except yaml.YAMLError as error:
        raise _syntax_failure(error, text, path) from None
    finally:
        loader.dispose()
    if builder.problems:
        raise ModelError(builder.problems)
    if not isinstance(root, Mapping):
        where = root.location if root is not None else Location(path)
        raise _failure(where, "the file must hold a mapping (lines of 'key: value').")
    return root


def core_value(text: str) -> ScalarValue:
    """The meaning of a plain scalar by YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first.isdigit() or first in "+-."):
        return text
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.lower().replace(".", ""))
    return text


def shown_path(path: Path) -> Path:
    """`path` as messages show it: relative to the current directory where it is below it."""
    try:
        return path.relative_to(Path.cwd()) if path.is_absolute() else path
    except (ValueError, OSError):
        return path


class _Events(Protocol):
    def check_event(self, *choices: type[object]) -> bool: ...
    def get_event(self) -> Any: ...
    def dispose(self) -> None: ...


def _loader(text: str) -> _Events:
    factory: type[_Events] = getattr(yaml, "CSafeLoader", None) or yaml.SafeLoader
    loader: _Events = factory(text)  # type: ignore[call-arg]
    return loader


class _Builder:
    """Builds the tree of one file from parser events and gathers what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}
        self._sizes: dict[str, int] = {}
        self._nodes = 0

    def build(self, loader: _Events) -> Node | None:
        root: Node | None = None
        documents = 0
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise ModelError([Problem(self._at(event), "a second document starts here; a file must hold one.")])
                root = self._node(loader, loader.get_event(), 0)
        return root

    def _node(self, loader: _Events, event: Any, depth: int) -> Node:
        location = self._at(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), location)
        if depth > MAX_DEPTH:
            raise _failure(location, f"the file is nested more than {MAX_DEPTH} levels deep here.")
        self._count(1, location)
        before = self._nodes
        if event.anchor:
            self._anchors[event.anchor] = None
        self._check_tag(event, location)
        node = self._content(loader, event, depth, location)
        if event.anchor:
            self._anchors[event.anchor] = node
            self._sizes[event.anchor] = self._nodes - before + 1
        return node

    def _content(self, loader: _Events, event: Any, depth: int, location: Location) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            return Scalar(core_value(event.value) if plain else event.value, event.value, location)
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(tuple(self._items(loader, depth)), location)
        return Mapping(self._entries(loader, depth), location)

    def _items(self, loader: _Events, depth: int) -> Iterator[Node]:
        while not isinstance(event := loader.get_event(), yaml.SequenceEndEvent):
            yield self._node(loader, event, depth + 1)

    def _entries(self, loader: _Events, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        while not isinstance(event := loader.get_event(), yaml.MappingEndEvent):
            key = self._node(loader, event, depth + 1)
            value = self._node(loader, loader.get_event(), depth + 1)
            if not isinstance(key, Scalar):
                self.problems.append(Problem(key.location, "a key must be a single word, not a list or a mapping."))
            elif key.text in entries:
                first = entries[key.text].location
                self.problems.append(
                    Problem(
                        key.location,
                        f"the key '{key.text}' is given twice; first on line {first.line}.",
                        "Keep one of them.",
                    )
                )
            else:
                entries[key.text] = Entry(key.text, value, key.location)
        return entries

    def _alias(self, anchor: str, location: Location) -> Node:
        if anchor not in self._anchors:
            raise _failure(location, f"the alias '*{anchor}' has no anchor '&{anchor}' before it.")
        node = self._anchors[anchor]
        if node is None:
            raise _failure(location, f"the alias '*{anchor}' stands inside its own anchor.")
        self._count(self._sizes[anchor], location)
        return node

    def _check_tag(self, event: Any, location: Location) -> None:
        if event.tag:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.problems.append(Problem(location, f"the tag '{shown}' is not allowed.", "Remove it."))

    def _count(self, nodes: int, location: Location) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _failure(location, f"the file unfolds to more than {MAX_NODES} values here.")

    def _at(self, event: Any) -> Location:
        mark = event.start_mark
        return Location(self.path, mark.line + 1, mark.column + 1)


def _syntax_failure(error: yaml.YAMLError, text: str, path: Path) -> ModelError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", 0) or 0
        before = text[:position]
        location = Location(path, before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
        reason = getattr(error, "reason", "")
        return _failure(location, f"this is not valid YAML: {reason or 'a character is not allowed here'}.")
    location = Location(path, mark.line + 1, mark.column + 1)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1]:
        return _failure(location, "a tab stands where YAML expects spaces.", "Indent with spaces.")
    what = getattr(error, "problem", None) or "it cannot be parsed"
    context = getattr(error, "context", None)
    opened = getattr(error, "context_mark", None)
    if context and opened is not None:
        what += f" {context} that starts on line {opened.line + 1}"
    found = f"near '{line.strip()}'" if line.strip() else "at the end of the file"
    return _failure(location, f"this is not valid YAML, {found}: {what}.")


def _failure(location: Location, message: str, hint: str = "") -> ModelError:
    return ModelError([Problem(location, message, hint)])
