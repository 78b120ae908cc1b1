"""A newc cpio archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst), the same bytes every time.

Owner, times and inode numbers carry nothing: owner and times are 0, inodes count in the order of the sorted paths.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAX_FILE_SIZE = 0xFFFFFFFF  # sizes are eight hexadecimal digits


@dataclass(frozen=True)
class Entry:
    """One file of the archive. `path` has no leading slash; `mode` holds type and permissions (inode(7));
    `data` is a file's content or a symbolic link's target; `device` is major and minor of a device node."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str) -> Entry:
    """A folder that everyone may enter and list."""
    return Entry(path, stat.S_IFDIR | 0o755)


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive of `entries`, sorted by path. Raises ValueError for a path that occurs twice or is not relative."""
    body = bytearray()
    seen: set[str] = set()
    ordered = sorted(entries, key=lambda entry: entry.path.split("/"))
    for inode, entry in enumerate(ordered, start=1):
        if not entry.path or entry.path.startswith("/") or "\0" in entry.path or entry.path in seen:
            raise ValueError(f"{entry.path!r} is not a fresh relative path")
        if len(entry.data) > MAX_FILE_SIZE:
            raise ValueError(f"{entry.path!r} is larger than a cpio archive can hold")
        seen.add(entry.path)
        _append(body, entry, inode)
    _append(body, Entry("TRAILER!!!", 0), 0)
    return bytes(body)


def _append(body: bytearray, entry: Entry, inode: int) -> None:
    name = entry.path.encode("utf-8", "surrogateescape") + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    body += b"070701" + b"".join(b"%08X" % value for value in fields) + name
    body += bytes(-len(body) % 4)
    body += entry.data
    body += bytes(-len(body) % 4)
