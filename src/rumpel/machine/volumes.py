"""Persistent volumes: ext4 images in the state folder, made once, checked before use, never overwritten.

    with contextlib.ExitStack() as stack:
        path = stack.enter_context(take_volume(volume, folder, seed=None)).path

A volume in use is locked twice: by its owner (flock(2) on the image) and by QEMU (OFD locks on its bytes 100 to 203,
QEMU `block/file-posix.c`), so that a QEMU that was started by hand is noticed too.

Check before use: `e2fsck -p` replays the journal and mends what can be mended without a question. After a power cut
the guest's own mount would replay the same journal; doing it here finds a damaged volume before the machine starts,
and gives a guest kernel that mounts without a journal a clean one. What needs a decision is refused untouched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rumpel.errors import HostError, VolumeError
from rumpel.machine.registry import check_name
from rumpel.places import volumes_dir
from rumpel.resolve.plan import Plan, Volume

MIB = 1024 * 1024
_NAMESPACE = uuid.UUID("6b6f3a52-9d0c-5d6e-8d5f-3c1d6a2f7b10")
_QEMU_LOCKS = (100, 104)  # QEMU locks bytes 100 + permission and 200 + permission
_SUPERBLOCK = 1024  # its offset and its length
_TOOLS_AT = "/usr/sbin:/sbin"


def volume_path(instance: str, volume: str, folder: Path | None = None) -> Path:
    """The image file of a volume of the instance; `folder` stands in for the one in the state folder."""
    return (folder or volumes_dir() / check_name(instance)) / f"{volume}.ext4"


def volume_uuid(instance: str, volume: str) -> uuid.UUID:
    """The filesystem's UUID: the same for the same names, so that a volume made again is the same bytes."""
    return uuid.uuid5(_NAMESPACE, f"{instance}/{volume}")


class Taken:
    """A volume in use: its image is there, checked and locked until `release`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


@dataclass(frozen=True)
class Place:
    """Where the volumes of an instance are, and where the seeds of new ones come from (the project's root)."""

    instance: str
    folder: Path | None = None
    project: Path | None = None


def take_volumes(plan: Plan, place: Place, stack: contextlib.ExitStack) -> dict[str, Path]:
    """Create what is missing, check and lock all volumes of the plan; their files by name. `stack` frees them."""
    return {volume.name: stack.enter_context(take_volume(volume, place)).path for volume in plan.volumes}


def take_volume(volume: Volume, place: Place) -> Taken:
    """Create the volume if it is not there yet, lock it and check it. Raises VolumeError; nothing is then changed."""
    path = ensure_volume(volume, place)
    flags = os.O_RDONLY if volume.read_only else os.O_RDWR
    try:
        lock = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        raise VolumeError(
            f"The volume '{volume.name}' cannot be opened: {path}: {os.strerror(error.errno or 0)}.",
            hint="Make the file readable and writable for this user.",
            volume=path,
        ) from error
    taken = Taken(path, lock)
    try:
        _lock(volume, path, lock)
        _compare_size(volume, path)
        if not volume.read_only:
            _check(volume, path)
    except BaseException:
        taken.release()
        raise
    return taken


def ensure_volume(volume: Volume, place: Place) -> Path:
    """The volume's image; made now where there is none."""
    path = volume_path(place.instance, volume.name, place.folder)
    if not path.exists():
        _create(volume, path, place)
    return path


def _create(volume: Volume, path: Path, place: Place) -> None:
    """Make the image beside its place, write it back and link it there: a crash leaves no half volume, and one that
    somebody else made in the meantime wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = None if not volume.files else (place.project or Path.cwd()) / volume.files
    if seed is not None and not seed.is_dir():
        raise VolumeError(
            f"The volume '{volume.name}' is to be filled from '{volume.files}', but there is no such folder: {seed}.",
            hint="Create the folder, or take 'files' out of the volume.",
            volume=path,
        )
    _require_space(volume, path, seed)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as image:
            image.truncate(volume.size * MIB)
        words = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", volume.name[:16]]
        words += ["-U", str(volume_uuid(place.instance, volume.name)), "-E", "lazy_itable_init=0,root_owner=0:0"]
        if seed is not None:
            words += ["-d", str(seed)]
        done = _run([*words, str(fresh)], volume, path)
        if done.returncode != 0:
            raise _not_made(volume, path, done.stdout)
        with fresh.open("rb") as image:
            os.fsync(image.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(volume, path, volume.size * MIB) from error
        raise VolumeError(
            f"The volume '{volume.name}' could not be made: {path}: {os.strerror(error.errno or 0)}.",
            hint=f"Check that '{path.parent}' is a folder that this user may write to.",
            volume=path,
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


def _require_space(volume: Volume, path: Path, seed: Path | None) -> None:
    """The image is sparse, but a guest that fills it must not find the host's disk full: the whole size is needed."""
    needed = volume.size * MIB
    if shutil.disk_usage(path.parent).free < needed:
        raise _no_space(volume, path, needed)
    if seed is not None:
        held = sum(file.stat().st_size for file in seed.rglob("*") if file.is_file() and not file.is_symlink())
        if held > needed:
            raise VolumeError(
                f"The volume '{volume.name}' of {volume.size} MiB is too small for its files: "
                f"'{volume.files}' holds {_mib(held)} MiB.",
                hint="Give the volume a larger 'size'.",
                volume=path,
            )


def _no_space(volume: Volume, path: Path, needed: int) -> VolumeError:
    free = shutil.disk_usage(path.parent).free
    return VolumeError(
        f"There is no disk space for the volume '{volume.name}': it needs {_mib(needed)} MiB, "
        f"and {free // MIB} MiB are free in '{path.parent}'.",
        hint="Free some space, give the volume a smaller 'size', or set RUMPEL_STATE to a folder on another disk.",
        volume=path,
    )


def _not_made(volume: Volume, path: Path, said: str) -> VolumeError:
    if "No space left on device" in said:
        return _no_space(volume, path, volume.size * MIB)
    too_full = "Could not allocate block" in said
    return VolumeError(
        f"The volume '{volume.name}' of {volume.size} MiB could not be made: mke2fs said: {' '.join(said.split())}",
        hint="Give the volume a larger 'size'." if too_full else "",
        volume=path,
    )


def _lock(volume: Volume, path: Path, lock: int) -> None:
    kind = fcntl.LOCK_SH if volume.read_only else fcntl.LOCK_EX
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(volume, path) from None
    for start in _QEMU_LOCKS[:1] if not volume.read_only else ():
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, start, 200 + 5 - start, 0)
        answer = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_OFD_GETLK, asked))
        if answer[0] != fcntl.F_UNLCK:
            raise _in_use(volume, path)


def _in_use(volume: Volume, path: Path) -> VolumeError:
    return VolumeError(
        f"The volume '{volume.name}' is in use by another instance: {path}.",
        hint="Stop that instance ('rumpel ps' lists what runs); nothing was changed.",
        volume=path,
    )


def _compare_size(volume: Volume, path: Path) -> None:
    held = path.stat().st_size
    if held > volume.size * MIB:
        raise VolumeError(
            f"The volume '{volume.name}' has {_mib(held)} MiB, but the composition asks for {volume.size} MiB; "
            "a volume is not made smaller.",
            hint=f"Write 'size: {_mib(held)}M', or move the file away to begin with an empty volume: {path}",
            volume=path,
        )


def _check(volume: Volume, path: Path) -> None:
    """`e2fsck -p`, taken back where it fails: what it had already written is undone (e2undo(8)).

    Its exit status is a sum of bits: 1 mended, 2 mended (reboot), 4 left damaged, 8 and more: it could not check.
    """
    undo = path.with_name(f".{path.name}.undo")
    undo.unlink(missing_ok=True)
    with path.open("rb") as image:
        image.seek(_SUPERBLOCK)
        superblock = image.read(_SUPERBLOCK)
    try:
        done = _run(["e2fsck", "-p", "-z", str(undo), str(path)], volume, path)
        if done.returncode <= 1:
            return
        if undo.exists():
            _run(["e2undo", "-f", str(undo), str(path)], volume, path)
            with path.open("rb+") as image:  # e2undo itself writes the time into it
                image.seek(_SUPERBLOCK)
                image.write(superblock)
    finally:
        undo.unlink(missing_ok=True)
    said = " ".join(done.stdout.replace(str(path), f"'{path.name}'").split())
    raise VolumeError(
        f"The volume '{volume.name}' is damaged in a way that needs a decision: {path}. e2fsck said: {said}",
        hint=f"Keep a copy of the file, then mend it with: e2fsck {path}",
        volume=path,
    )


def _run(words: list[str], volume: Volume, path: Path) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PATH=f"{os.environ.get('PATH', '')}:{_TOOLS_AT}", LC_ALL="C")
    try:
        return subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise HostError(
            f"The program '{words[0]}', which the volume '{volume.name}' needs, is not installed.",
            hint="Install it with: apt-get install e2fsprogs",
        ) from error


def _mib(size: int) -> int:
    return -(-size // MIB)
