"""The lock file's type: what `rumpel.lock` pins for every source, and the stable form it is written in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import msgspec

from rumpel.errors import Location, ModelError, Problem

LOCK_SCHEMA = 1

SourceKind = Literal["deb", "deb-src", "npm", "pypi", "file"]
SOURCE_KINDS: tuple[SourceKind, ...] = get_args(SourceKind)

_SHA256 = re.compile(r"[0-9a-f]{64}")


class LockFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of an entry: its name as the registry has it, its SHA-256 (hexadecimal), its size in bytes."""

    name: str
    sha256: str
    size: int


class LockEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What one source is pinned to.

    `package` is the package that holds the files (with `follow`: the one that the pattern led to), `release` the
    Debian release it came from ("bookworm"; empty for other kinds), `follow` the pattern as the part wrote it
    and `followed` the metapackage it started from (both empty without a pattern).
    `pinned_version` is only set in an effective lock: the version that was pinned and is gone, where `version` was
    taken instead.
    """

    name: str
    kind: SourceKind
    package: str
    version: str
    files: tuple[LockFile, ...]
    release: str = ""
    follow: str = ""
    followed: str = ""
    pinned_version: str = ""


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """All pins, ordered by name. Entries are unique by name."""

    entries: tuple[LockEntry, ...] = ()

    def get(self, name: str) -> LockEntry | None:
        """The entry called `name`, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def replace(self, entry: LockEntry) -> Lock:
        """This lock with `entry` in the place of the one of the same name, or added."""
        others = [other for other in self.entries if other.name != entry.name]
        return Lock(entries=tuple(sorted([*others, entry], key=lambda each: each.name)))

    def without(self, name: str) -> Lock:
        """This lock without the entry called `name`."""
        return Lock(entries=tuple(entry for entry in self.entries if entry.name != name))

    def to_json(self) -> bytes:
        """The stable form: entries by name, keys sorted, two spaces of indentation, one newline at the end."""
        ordered = tuple(sorted(self.entries, key=lambda entry: entry.name))
        encoded = msgspec.json.encode(
            msgspec.to_builtins(_LockDocument(schema=LOCK_SCHEMA, sources=ordered)), order="sorted"
        )
        return msgspec.json.format(encoded, indent=2) + b"\n"


class _LockDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: int
    sources: tuple[LockEntry, ...]


class _LockVersion(msgspec.Struct, frozen=True):
    schema: int


def parse_lock(data: bytes, path: Path) -> Lock:
    """Decode a lock file's bytes; `path` is only named in errors. Raises ModelError where they are damaged."""
    try:
        version = msgspec.json.decode(data, type=_LockVersion).schema
        if version != LOCK_SCHEMA:
            raise _damaged(path, f"the lock file has schema {version}; this Rumpel knows schema {LOCK_SCHEMA}.")
        document = msgspec.json.decode(data, type=_LockDocument)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"the lock file cannot be read: {error}.") from None
    problems = list(_check(document.sources, path))
    if problems:
        raise ModelError(problems)
    return Lock(entries=tuple(sorted(document.sources, key=lambda entry: entry.name)))


def load_lock(path: Path) -> Lock:
    """Read the lock file at `path`; a file that does not exist is an empty lock. Raises ModelError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise _damaged(path, f"the lock file cannot be read: {error.strerror}.") from None
    return parse_lock(data, path)


def _check(entries: tuple[LockEntry, ...], path: Path) -> list[Problem]:
    seen: set[str] = set()
    messages = []
    for entry in entries:
        if entry.name in seen:
            messages.append(f"source '{entry.name}' is pinned twice.")
        seen.add(entry.name)
        if not entry.files:
            messages.append(f"source '{entry.name}' has no files.")
        for file in entry.files:
            if not _SHA256.fullmatch(file.sha256):
                messages.append(
                    f"source '{entry.name}': '{file.sha256}' is not a SHA-256 digest (64 hexadecimal digits)."
                )
            if file.size < 0:
                messages.append(f"source '{entry.name}': file '{file.name}' has the size {file.size}.")
            if not file.name or "/" in file.name or file.name in {".", ".."}:
                messages.append(f"source '{entry.name}': '{file.name}' is not a file's name.")
    return [Problem(Location(path), message, _WAY_OUT) for message in messages]


_WAY_OUT = "Take it from version control again, or write the pins anew with `rumpel lock --update NAME`."


def _damaged(path: Path, message: str) -> ModelError:
    return ModelError([Problem(Location(path), message, _WAY_OUT)])
