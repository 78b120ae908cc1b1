"""A new image beside its place: nobody sees a half one, and none replaces what is there.

    remove_abandoned(path)
    with begin_beside(path) as image:
        ...
        place_without_replacing(Path(image.name), path)

Whoever makes an image holds a lock on it; one that nobody holds was left by a process that was killed.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import IO

# linux/fcntl.h, linux/fs.h
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# What file systems answer that have no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


def begin_beside(path: Path) -> IO[bytes]:
    """A new empty file in the folder of `path`, locked as long as it is open."""
    while True:
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
        image = fresh.open("xb")
        try:
            fcntl.flock(image, fcntl.LOCK_EX)
            if os.fstat(image.fileno()).st_nlink:
                return image
        except BaseException:
            image.close()
            fresh.unlink(missing_ok=True)
            raise
        image.close()  # somebody took it for an abandoned one before it was locked


def remove_abandoned(path: Path) -> None:
    """Remove what killed processes left that were making `path`."""
    for left in path.parent.iterdir():
        if not (left.name.startswith(f".{path.name}.") and left.name.endswith(".new")):
            continue
        with suppress(OSError), left.open("rb") as image:
            fcntl.flock(image, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def place_without_replacing(fresh: Path, path: Path) -> None:
    """Give `fresh` the name `path`. Raises FileExistsError where there is one already."""
    try:
        path.hardlink_to(fresh)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename(fresh, path)


def _rename(fresh: Path, path: Path) -> None:
    """renameat2(2) with RENAME_NOREPLACE, which Python does not have."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(fresh), _AT_FDCWD, os.fsencode(path), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
