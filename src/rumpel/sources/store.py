"""The content-addressed store: files by SHA-256, verified on every use, safe with several builds at once.

ROOT/ab/abcdef...      a file, read-only, named by its digest (in a folder of the digest's first two digits)
ROOT/damaged/          what was found not to match its digest; kept for a look, never used
ROOT/.partial/         files on their way in; the same filesystem, so that the last step is one rename
ROOT/.locks/           one lock for each digest
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from rumpel.errors import SourceError
from rumpel.places import store_dir

_CHUNK = 1 << 20
_ABANDONED = 86400.0  # seconds


class PinnedFile(Protocol):
    """One pinned file; plan.SourceFile and lock.LockFile both are."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> int: ...


class Pinned(Protocol):
    """One pinned source; plan.Source and lock.LockEntry both are."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def package(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def files(self) -> tuple[PinnedFile, ...]: ...


class Store:
    """The store below `root`. Folders are made when the first file comes in."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else store_dir()

    def location(self, sha256: str) -> Path:
        """Where the file with this digest is or would be; says nothing about its presence."""
        return self.root / sha256[:2] / sha256

    def has(self, file: PinnedFile) -> bool:
        """Whether a file of this digest and size is there. Cheap: its content is checked when it is used."""
        try:
            return self.location(file.sha256).stat().st_size == file.size
        except OSError:
            return False

    def has_all(self, source: Pinned) -> bool:
        """Whether every file of `source` is there (cheap, as `has`)."""
        return all(self.has(file) for file in source.files)

    def path(self, file: PinnedFile) -> Path:
        """The file's path, its content verified. Read-only; the caller copies what it wants to change.

        Raises SourceError where it is missing, unreadable or damaged; a damaged file is moved aside first.
        """
        location = self.location(file.sha256)
        try:
            found = digest_of(location)
        except FileNotFoundError:
            raise SourceError(
                f"'{file.name}' (SHA-256 {file.sha256}) is not in the store '{self.root}'.",
                hint="`rumpel fetch all` brings it.",
                source=file.name,
            ) from None
        except OSError as error:
            raise SourceError(
                f"'{file.name}' cannot be read from the store: '{location}': {error.strerror}.",
                hint="Check the folder's permissions and the disk, or name another folder with RUMPEL_CACHE.",
                source=file.name,
            ) from None
        if found == file.sha256:
            return location
        aside = self._move_aside(location)
        raise SourceError(
            f"'{file.name}' in the store is damaged: its SHA-256 should be {file.sha256} and is {found}.",
            hint=f"It was moved to '{aside}'; run the command again, or `rumpel fetch all`, to fetch it anew.",
            source=file.name,
        )

    def add(self, path: Path, file: PinnedFile) -> Path:
        """Copy `path` into the store as `file`, if its content is what `file` pins; answers with where it is now.

        Atomic: the file is there complete or not at all. Raises SourceError on a mismatch or where it cannot be
        written; the store is then as it was.
        """
        location = self.location(file.sha256)
        with self._writing(file):
            partial_dir = self.root / ".partial"
            partial_dir.mkdir(parents=True, exist_ok=True)
            partial = partial_dir / f"{file.sha256[:16]}.{os.getpid()}.{secrets.token_hex(4)}"
            try:
                found, size = _copy(path, partial)
                if found != file.sha256:
                    raise mismatch(file, found, size)
                with self._locked(file.sha256):
                    if location.exists():
                        if digest_of(location) == file.sha256:
                            return location
                        self._move_aside(location)
                    location.parent.mkdir(parents=True, exist_ok=True)
                    partial.replace(location)
                    _sync_folder(location.parent)
            finally:
                partial.unlink(missing_ok=True)
        return location

    @contextlib.contextmanager
    def work_folder(self, label: str) -> Iterator[Path]:
        """A fresh folder for a download, in the store's own filesystem; removed at the end, whatever happened."""
        folder = self.root / ".partial" / f"{label}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            folder.mkdir(parents=True)
            self._remove_abandoned()
        except OSError as error:
            raise self._unwritable(label, error) from None
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Remove what a killed run left on its way in, a day after it was last touched."""
        for path in (self.root / ".partial").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.lstat().st_mtime > _ABANDONED:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextlib.contextmanager
    def _writing(self, file: PinnedFile) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(file.name, error) from None

    def _unwritable(self, what: str, error: OSError) -> SourceError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free some space there, or name a folder on another disk with RUMPEL_CACHE."
        else:
            hint = "Check the folder's permissions, or name another folder with RUMPEL_CACHE."
        return SourceError(
            f"'{what}' cannot be put into the store '{self.root}': {error.strerror or error}.", hint=hint, source=what
        )

    @contextlib.contextmanager
    def _locked(self, sha256: str) -> Iterator[None]:
        from filelock import FileLock

        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{sha256}.lock"):
            yield

    def _move_aside(self, location: Path) -> Path:
        damaged = self.root / "damaged"
        aside = damaged / f"{location.name}.{secrets.token_hex(4)}"
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            damaged.mkdir(parents=True, exist_ok=True)
            location.replace(aside)
        return aside


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def mismatch(file: PinnedFile, found: str, size: int | None = None) -> SourceError:
    """What was fetched is not what was pinned; `size` is None where only its digest is known."""
    measured = "" if size is None else f" ({size} bytes)"
    return SourceError(
        f"'{file.name}' is not what was pinned: its SHA-256 should be {file.sha256} ({file.size} bytes)"
        f" and is {found}{measured}.",
        hint="It was thrown away and the store is as it was. Fetch again; if it happens again, the mirror or proxy that"
        " this machine uses changes files, or the pin is wrong (`rumpel lock --update NAME` pins anew).",
        source=file.name,
    )


def _copy(source: Path, target: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
            size += len(chunk)
        writer.flush()
        os.fchmod(writer.fileno(), 0o444)
        os.fsync(writer.fileno())
    return digest.hexdigest(), size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
