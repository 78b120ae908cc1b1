"""Folders for machines that are gone when their process is, however it ends.

    folder = scratch().new("web")

All lie in one folder for each process. A small process of its own session waits for the end of this one and removes
that folder, so that a SIGKILL leaves nothing. Were both killed, the next start of a harness removes it: a folder
whose lock is free belongs to nobody.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

PREFIX = "rumpel-harness-"
_KEPT = ".kept"
_GRACE = 60.0  # seconds

# It waits on a pipe whose other end only the owner has: at the owner's end, however it came, `read` returns.
_WATCHER = 'read -r line; [ "$line" = keep ] || rm -rf -- "$1"'


class Scratch:
    """The folder of this process, and those that are made in it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        home = Path(tempfile.gettempdir())
        _sweep(home)
        self.root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getuid()}-", dir=home))
        self._lock = _locked(self.root)
        self._count = 0
        self._counting = threading.Lock()
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCHER, "sh", str(self.root)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip
        atexit.register(self.close)

    def new(self, name: str) -> Path:
        """A fresh folder; `name` is the beginning of its name."""
        with self._counting:
            self._count += 1
            number = self._count
        folder = self.root / f"{name}-{number}"
        folder.mkdir(mode=0o700)
        return folder

    def keep(self) -> None:
        """Leave the folders for a person to look at."""
        (self.root / _KEPT).touch()
        self._end(b"keep\n")

    def close(self) -> None:
        """Remove everything. May be called twice."""
        if os.getpid() == self.owner and self._lock >= 0:
            shutil.rmtree(self.root, ignore_errors=True)
            self._end(b"")

    def _end(self, word: bytes) -> None:
        if self._lock < 0:
            return
        assert self._watcher.stdin is not None
        with contextlib.suppress(OSError):
            self._watcher.stdin.write(word)
        with contextlib.suppress(OSError):
            self._watcher.stdin.close()
        self._watcher.wait()
        os.close(self._lock)
        self._lock = -1


_current: list[Scratch] = []
_making = threading.Lock()


def scratch() -> Scratch:
    """The one of this process; a forked child gets its own."""
    with _making:
        if not _current or _current[0].owner != os.getpid() or not _current[0].root.exists():
            _current[:] = [Scratch()]
        return _current[0]


def _locked(folder: Path) -> int:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _sweep(home: Path) -> None:
    """Remove the folders of this user that nobody holds. One that another process is just making is not yet locked:
    it is left alone for its first minute."""
    for folder in home.glob(f"{PREFIX}{os.getuid()}-*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_old(folder):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _is_old(folder: Path) -> bool:
    return time.time() - folder.stat().st_ctime > _GRACE and not (folder / _KEPT).exists()
