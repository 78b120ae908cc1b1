"""Who uses a volume: its owner's flock(2) on the image, and QEMU's own locks, so that a QEMU that was started by hand
is noticed too.

QEMU takes OFD locks on single bytes: 100 + N for a permission that it uses, 200 + N for one that it lets nobody else
use; N is the permission's bit (QEMU, block/file-posix.c, include/block/block-common.h).
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from types import TracebackType

from rumpel.errors import VolumeError
from rumpel.machine.volumes_ext4 import mend, read_superblock, unreadable

_QEMU_ANY = (100, 105)  # first byte and length: any permission at all, used or kept from others
_QEMU_WRITES = (101, 1)
_TRIES = 5


class Taken:
    """A volume in use: its image is there and locked until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def adopt(self, path: Path, lock: int) -> None:
        """Hold another image in place of this one."""
        self.release()
        self.path, self._lock = path, lock

    def release(self) -> None:
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # as in Claim.release
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


def hold_for_writing(name: str, path: Path) -> Taken:
    """Lock the image for one user alone. Raises VolumeError where it is in use or cannot be opened."""
    lock = _locked(name, path, os.O_RDWR, fcntl.LOCK_EX)
    if _qemu_holds(lock, *_QEMU_ANY):
        os.close(lock)
        raise in_use(name, path)
    return Taken(path, lock)


def hold_for_reading(name: str, path: Path) -> Taken:
    """Lock the image together with others who read, its journal replayed. Raises VolumeError where somebody writes."""
    lock = _locked(name, path, os.O_RDONLY, fcntl.LOCK_SH)
    taken = Taken(path, lock)
    try:
        if _qemu_holds(lock, *_QEMU_WRITES):
            raise in_use(name, path)
        if read_superblock(name, path).recover:
            _replay(name, path, lock)
    except BaseException:
        taken.release()
        raise
    return taken


def in_use(name: str, path: Path) -> VolumeError:
    return VolumeError(
        f"The volume '{name}' is in use by another instance: {path}.",
        hint="Stop that instance ('rumpel ps' lists what runs); nothing was changed.",
        volume=path,
    )


def is_in_use(path: Path) -> bool:
    """Whether somebody holds the image now, as far as /proc/locks tells. Takes no lock: nobody is disturbed."""
    try:
        seen = path.stat()
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return False
    device = f"{os.major(seen.st_dev):02x}:{os.minor(seen.st_dev):02x}:{seen.st_ino}"
    return any(device in line.split() for line in lines)


def _locked(name: str, path: Path, access: int, kind: int) -> int:
    """The descriptor of the file that is at `path` when its lock is taken: it may be replaced by a changed copy."""
    for _ in range(_TRIES):
        try:
            lock = os.open(path, access | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(name, path, error) from error
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise in_use(name, path) from None
        try:
            if os.path.samestat(os.fstat(lock), path.stat()):
                return lock
        except OSError:
            pass  # it was removed in between; opening it again says so
        os.close(lock)
    raise in_use(name, path)


def _replay(name: str, path: Path, lock: int) -> None:
    """A reader has to replay the journal first, which is writing: that needs the image for itself."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise in_use(name, path) from None
    if _qemu_holds(lock, *_QEMU_ANY):
        raise in_use(name, path)
    mend(name, path)
    fcntl.flock(lock, fcntl.LOCK_SH)


def _qemu_holds(lock: int, start: int, length: int) -> bool:
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    answer = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_OFD_GETLK, asked))
    return bool(answer[0] != fcntl.F_UNLCK)
