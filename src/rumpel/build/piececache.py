"""The cache of built pieces as SCons uses it: every entry ends with a digest of itself, and is verified when it is
taken out. A damaged one (a full disk, a power cut, a hand that slipped) is removed, and its piece is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import IO, Any

from SCons.CacheDir import CacheDir  # type: ignore[import-untyped]

_CHUNK = 1 << 20
_DIGEST = hashlib.sha256().digest_size


class DamagedEntryError(OSError):
    """An entry of the cache that is not what was put there. For SCons it is one that it cannot copy: it builds."""


class PieceCache(CacheDir):  # type: ignore[misc]
    """SCons' CacheDir, which calls these while it holds an entry's final or temporary path."""

    @classmethod
    def copy_to_cache(cls, env: Any, src: str, dst: str) -> str:
        """Entries are nobody's to write: a copy without permission to write, whatever the file has."""
        try:
            with Path(src).open("rb") as source, Path(dst).open("xb") as target:
                status = os.fstat(source.fileno())
                target.write(_copy(source, target, status.st_size))
                os.fchmod(target.fileno(), stat.S_IMODE(status.st_mode) & ~0o222)
        except OSError:
            Path(dst).unlink(missing_ok=True)
            raise
        return dst

    @classmethod
    def copy_from_cache(cls, env: Any, src: str, dst: str) -> str:
        """`dst` is a file of its own with a time of its own, there at once or not at all. Raises DamagedEntryError."""
        target = Path(dst)
        partial = target.with_name(f".{target.name}.part")
        try:
            with Path(src).open("rb") as source, partial.open("wb") as stream:
                _verified(source, stream, src)
            partial.replace(target)
        except DamagedEntryError:
            Path(src).unlink(missing_ok=True)
            raise
        finally:
            partial.unlink(missing_ok=True)
        return dst

    def push(self, node: Any) -> Any:
        """Put in what was just built. Where there is an entry although it had to be built, its step makes several files
        and another one was missing or damaged: this one may be, too, and is replaced."""
        if self.is_enabled() and not self.is_readonly() and not node.nocache:
            _, entry = self.cachepath(node)
            with contextlib.suppress(OSError):
                Path(entry).unlink()
        return super().push(node)

    def get_cachedir_csig(self, node: Any) -> str | None:
        """The digest of what an entry holds, for a build that only says what it would do."""
        _, entry = self.cachepath(node)
        try:
            with Path(entry).open("rb") as source, Path(os.devnull).open("wb") as nothing:
                return _verified(source, nothing, entry).hex()
        except OSError:
            return None


def _verified(source: IO[bytes], target: IO[bytes], name: str) -> bytes:
    """Copy what an entry holds; its digest. Raises DamagedEntryError."""
    size = os.fstat(source.fileno()).st_size - _DIGEST
    digest = _copy(source, target, size)
    if size < 0 or source.read() != digest:
        raise DamagedEntryError(f"The piece '{name}' of the cache is damaged.")
    return digest


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> bytes:
    """Copy `size` bytes, or as many as there are; their digest."""
    digest = hashlib.sha256()
    while size > 0:
        chunk = source.read(min(size, _CHUNK))
        if not chunk:
            break
        digest.update(chunk)
        target.write(chunk)
        size -= len(chunk)
    return digest.digest()
