"""Changing a volume that nobody uses: a copy is changed, checked, written back, and takes the image's place.

Whatever fails, or whenever the power is cut, the volume is the old one or the new one, whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rumpel.errors import VolumeError
from rumpel.machine.volumes_ext4 import MIB, check_whole, mend, mib, run_tool
from rumpel.machine.volumes_lock import Taken


@contextlib.contextmanager
def changed(name: str, taken: Taken, more: int) -> Iterator[Path]:
    """A copy of the volume that `taken` holds for writing; where the block ends well, it takes the volume's place and
    `taken` holds it. `more` is how many bytes the change adds to what the volume takes on the disk."""
    path = taken.path.resolve()
    mend(name, path)
    copy = path.with_name(f".{path.name}.copy")  # of a change that was cut off; the lock says that none goes on
    copy.unlink(missing_ok=True)
    require_space(name, path, path.stat().st_blocks * 512 + more)
    try:
        _copy(name, path, copy)
        yield copy
        check_whole(name, copy)
        lock = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fsync(lock)
        copy.replace(path)
        taken.adopt(taken.path, lock)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_space(name, path, path.stat().st_blocks * 512 + more) from error
        raise VolumeError(
            f"The volume '{name}' could not be changed: {path}: {os.strerror(error.errno or 0)}.",
            hint="It was left as it is.",
            volume=path,
        ) from error
    finally:
        copy.unlink(missing_ok=True)


def grow(name: str, taken: Taken, size: int) -> None:
    """Make the volume that `taken` holds for writing `size` MiB large. Raises VolumeError; it is then as it was."""
    path = taken.path
    held = path.stat().st_size
    if size * MIB < held:
        raise VolumeError(
            f"The volume '{name}' has {mib(held)} MiB; a volume is not made smaller, such as to {size} MiB.",
            hint="Make a new one with 'rumpel volume create', and copy the files.",
            volume=path,
        )
    if size * MIB == held:
        return
    with changed(name, taken, size * MIB - held) as copy:
        with copy.open("rb+") as image:
            image.truncate(size * MIB)
        for words in (["e2fsck", "-f", "-p", str(copy)], ["resize2fs", str(copy)]):
            done = run_tool(words, name)
            if done.returncode not in ((0, 1) if words[0] == "e2fsck" else (0,)):
                said = " ".join(done.stdout.split())
                if "No space left on device" in said:
                    raise no_space(name, path, size * MIB)
                raise VolumeError(
                    f"The volume '{name}' could not be made larger: {words[0]} said: {said}",
                    hint="It was left as it is.",
                    volume=path,
                )


def require_space(name: str, path: Path, needed: int) -> None:
    """Raises VolumeError where `needed` bytes are not free beside the image."""
    if shutil.disk_usage(path.parent).free < needed:
        raise no_space(name, path, needed)


def no_space(name: str, path: Path, needed: int) -> VolumeError:
    free = shutil.disk_usage(path.parent).free
    return VolumeError(
        f"There is no disk space to change the volume '{name}': a changed copy needs {mib(needed)} MiB, "
        f"and {free // MIB} MiB are free in '{path.parent}'.",
        hint="Free some space; the volume was left as it is.",
        volume=path,
    )


def _copy(name: str, path: Path, copy: Path) -> None:
    """Sparse, sharing blocks where the filesystem can; with the image's owner and mode."""
    words = ["cp", "--sparse=always", "--reflink=auto", "--preserve=mode,ownership", "--", str(path), str(copy)]
    done = subprocess.run(words, capture_output=True, check=False, env=dict(os.environ, LC_ALL="C"))
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        if "No space left on device" in said or "quota exceeded" in said:
            raise no_space(name, path, path.stat().st_blocks * 512)
        raise VolumeError(f"The volume '{name}' could not be copied: {said}", hint="It was left as it is.", volume=path)


def sync_folder(folder: Path) -> None:
    """Write back the names in a folder: without it a power cut may take a new name away, its file with it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
