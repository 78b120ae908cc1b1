"""What is in files, by digest, and whether a file is still what it was when the build first looked at it.

A time alone tells neither: it has whole seconds in SCons' own signatures, tools set it back, and a file may be written
while it is compiled. Here a file is known by its inode, size, time of modification and time of change (inode(7)), in
nanoseconds. The last of these no program can set, so a file that has all of them as before has its bytes as before,
with one exception: times advance in ticks, so what is read in the tick of a change may change once more in it. Such a
digest counts only until the build's end.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

_TICK = 50_000_000  # ns; the kernel's is at most 10 ms
_COARSE_TICK = 2_000_000_000  # of filesystems that keep whole seconds, and FAT's two
_SECOND = 1_000_000_000
_KEPT = 20_000  # files; above this, those that the last build did not look at are forgotten


class Stamp(NamedTuple):
    """Which file a path leads to, and when that was last written; times in nanoseconds since 1970."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    def settles(self, now: int) -> int:
        """How many nanoseconds after `now` a change would surely have another stamp than this; 0 or less: at once."""
        tick = _TICK if self.changed % _SECOND else _COARSE_TICK
        return self.changed + tick - now


class _Known(NamedTuple):
    stamp: Stamp
    sha256: str
    settled: bool


class _Source(NamedTuple):
    stamp: Stamp
    sha256: str = ""


class Digests:
    """The digests of one build's files. `file` keeps them from one build to the next; it may be removed at any time.

    Every question may be asked from several threads.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[tuple[int, ...], _Known] = {}
        self._kept = _read(file)
        self._sources: dict[str, _Source] = {}

    def look(self, path: str) -> None:
        """A source is about to be read: from now on `changed` tells whether it is written. Waits for the end of the
        tick where the file was written in this one."""
        if path not in self._sources:
            with contextlib.suppress(OSError):
                stamp = stamp_of(path)
                wait = stamp.settles(time.time_ns())
                if 0 < wait <= _COARSE_TICK:
                    time.sleep(wait / _SECOND)
                    stamp = stamp_of(path)
                self._sources.setdefault(path, _Source(stamp))

    def source(self, path: str) -> str | None:
        """The SHA-256 of a source, the same for the whole build; None where there is no such file."""
        self.look(path)
        source = self._sources.get(path)
        if source is None or source.sha256:
            return source and source.sha256
        found = self._find(path)
        if found is None:
            return None
        # What was first looked at counts, as it was scanned for headers: a file that is another one now has changed.
        self._sources[path] = _Source(source.stamp, found.sha256)
        return found.sha256

    def product(self, path: str) -> str | None:
        """The SHA-256 of a file that the build makes, as it is now; None where there is none."""
        found = self._find(path)
        return found and found.sha256

    def made(self, path: str, sha256: str) -> None:
        """The build has made a file, and has read it."""
        now = time.time_ns()
        with contextlib.suppress(OSError):
            stamp = stamp_of(path)
            self._known[stamp[:2]] = _Known(stamp, sha256, stamp.settles(now) <= 0)

    def changed(self, paths: Iterable[str]) -> list[str]:
        """Those of the sources that were written since the build first looked at them."""
        return [path for path in paths if (source := self._sources.get(path)) is not None and _differs(path, source)]

    def save(self) -> None:
        """Keep what is known for the next build. Raises OSError."""
        kept = {} if len(self._kept) + len(self._known) > _KEPT else dict(self._kept)
        for key, known in self._known.items():
            if known.settled:
                kept[key] = known
            else:
                kept.pop(key, None)
        if kept != self._kept:
            partial = self._file.with_name(f"{self._file.name}.part")
            partial.write_bytes(msgspec.json.encode([(known.stamp, known.sha256) for known in kept.values()]))
            partial.replace(self._file)

    def _find(self, path: str) -> _Known | None:
        try:
            stamp = stamp_of(path)
            found = self._known.get(stamp[:2]) or self._kept.get(stamp[:2])
            if found is None or found.stamp != stamp:
                settled = stamp.settles(time.time_ns()) <= 0
                found = _Known(stamp, sha256_of(path), settled)
        except OSError:
            return None
        self._known[stamp[:2]] = found
        return found


def stamp_of(path: str) -> Stamp:
    """The stamp of the file that `path` leads to. Raises OSError."""
    status = Path(path).stat()
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def sha256_of(path: str) -> str:
    """In hexadecimal. Raises OSError."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _differs(path: str, source: _Source) -> bool:
    try:
        now = stamp_of(path)
        if now == source.stamp:
            return False
        # Another time of change alone is that of new permissions, or of one more link.
        return now[:4] != source.stamp[:4] or sha256_of(path) != source.sha256
    except OSError:
        return True


def _read(file: Path) -> dict[tuple[int, ...], _Known]:
    try:
        rows = msgspec.json.decode(file.read_bytes(), type=list[tuple[Stamp, str]])
    except (OSError, msgspec.DecodeError):
        return {}
    return {stamp[:2]: _Known(stamp, sha256, True) for stamp, sha256 in rows}
