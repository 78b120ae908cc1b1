"""The cache of built pieces: SCons' CacheDir, prepared so that two builds can begin at once, and kept below a size.

A file's name is the digest of what went into it. SCons sets a file's time when it takes it out, so the oldest time
is the longest unused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import HostError, UsageError

DEFAULT_LIMIT = 2 << 30
LIMIT_SETTING = "RUMPEL_CACHE_LIMIT"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_HEADROOM = 0.9  # pruning goes below the limit, so that not every build prunes


@dataclass(frozen=True)
class _Piece:
    used: float
    size: int
    path: Path


def limit_from(setting: str | None) -> int:
    """The size limit in bytes from RUMPEL_CACHE_LIMIT: a number with K, M or G; the default where it is not set."""
    if not setting:
        return DEFAULT_LIMIT
    match = re.fullmatch(r"(\d+)([KMG]?)", setting.strip().upper())
    if match is None:
        raise UsageError(
            f"'{LIMIT_SETTING}' is '{setting}', which is not a size.", hint="Write a number with K, M or G, such as 2G."
        )
    return int(match[1]) * _UNITS[match[2]]


def prepare(folder: Path) -> None:
    """Create the cache with its configuration in one step, so that no other build reads half of it."""
    config = folder / "config"
    if config.is_file():
        return
    try:
        _write_config(folder, config)
    except OSError as error:
        raise HostError(
            f"The cache of built pieces cannot be made: '{folder}': {error.strerror}.",
            hint="Check the folder's permissions and the disk, or name another folder with RUMPEL_CACHE.",
        ) from error


def _write_config(folder: Path, config: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".config.", dir=folder)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        json.dump({"prefix_len": 2}, stream)
    Path(name).chmod(0o644)
    Path(name).replace(config)


def prune(folder: Path, limit: int) -> int:
    """Remove the longest unused pieces until the cache is below `limit`; the number of bytes removed.

    Does nothing while another build prunes. A piece that vanishes under a build that was about to take it is built
    again by that build.
    """
    with (folder / ".prune.lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        pieces = _pieces(folder)
        total = sum(piece.size for piece in pieces)
        if total <= limit:
            return 0
        removed = 0
        for piece in sorted(pieces, key=lambda piece: (piece.used, piece.path)):
            if total - removed <= limit * _HEADROOM:
                break
            with contextlib.suppress(FileNotFoundError):
                piece.path.unlink()
                removed += piece.size
        return removed


def _pieces(folder: Path) -> list[_Piece]:
    pieces = []
    for prefix in folder.iterdir():
        if len(prefix.name) != 2 or not prefix.is_dir():
            continue
        for path in prefix.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                pieces.append(_Piece(status.st_mtime, status.st_size, path))
    return pieces
