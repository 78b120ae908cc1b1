"""Persistent volumes: ext4 images in the state folder, made once, checked before use, never overwritten.

    with contextlib.ExitStack() as stack:
        path = stack.enter_context(take_volume(volume, place)).path

Check before use: `e2fsck -p` replays the journal and mends what can be mended without a question. After a power cut
the guest's own mount would replay the same journal; doing it here finds a damaged volume before the machine starts,
and gives a guest kernel that mounts without a journal a clean one. What needs a decision is refused untouched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rumpel.errors import VolumeError
from rumpel.machine.registry import check_name
from rumpel.machine.volumes_change import grow, sync_folder
from rumpel.machine.volumes_ext4 import MIB, mend, mib, run_tool
from rumpel.machine.volumes_fresh import begin_beside, place_without_replacing, remove_abandoned
from rumpel.machine.volumes_lock import Taken, hold_for_reading, hold_for_writing
from rumpel.places import volumes_dir
from rumpel.resolve.plan import Plan, Volume

_NAMESPACE = uuid.UUID("6b6f3a52-9d0c-5d6e-8d5f-3c1d6a2f7b10")


def volume_path(instance: str, volume: str, folder: Path | None = None) -> Path:
    """The image file of a volume of the instance; `folder` stands in for the one in the state folder."""
    return (folder or volumes_dir() / check_name(instance)) / f"{volume}.ext4"


def volume_uuid(instance: str, volume: str) -> uuid.UUID:
    """The filesystem's UUID: the same for the same names, so that a volume made again is the same bytes."""
    return uuid.uuid5(_NAMESPACE, f"{instance}/{volume}")


@dataclass(frozen=True)
class Place:
    """Where the volumes of an instance are, and where the seeds of new ones come from (the project's root).

    `files` are images that stand in for single volumes, by the volume's name: these must exist. `sizes` are sizes in
    MiB that were asked for at this start: a volume that is larger is then refused.
    """

    instance: str
    folder: Path | None = None
    project: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


def take_volumes(plan: Plan, place: Place, stack: contextlib.ExitStack) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Create what is missing, grow what is too small, check and lock all volumes of the plan.

    Their files by name, and sentences about what was done to them. `stack` frees them.
    """
    files: dict[str, Path] = {}
    remarks: list[str] = []
    for volume in plan.volumes:
        before = _size(place, volume)
        files[volume.name] = stack.enter_context(take_volume(volume, place)).path
        after = _size(place, volume)
        if 0 < before < after:
            remarks.append(f"The volume '{volume.name}' was made larger: {mib(before)} MiB -> {mib(after)} MiB.")
    return files, tuple(remarks)


def take_volume(volume: Volume, place: Place) -> Taken:
    """Create the volume if it is not there yet, lock it, check it, and make it larger where it has less than the
    volume's size. Raises VolumeError; nothing is then changed."""
    path = ensure_volume(volume, place)
    if volume.read_only:
        return hold_for_reading(volume.name, path)
    taken = hold_for_writing(volume.name, path)
    try:
        mend(volume.name, path)
        if volume.name in place.sizes or (volume.name not in place.files and path.stat().st_size < volume.size * MIB):
            grow(volume.name, taken, volume.size)
    except BaseException:
        taken.release()
        raise
    return taken


def ensure_volume(volume: Volume, place: Place) -> Path:
    """The volume's image; made now where there is none."""
    given = place.files.get(volume.name)
    if given is not None:
        if not given.is_file():
            raise VolumeError(
                f"There is no file '{given}' for the volume '{volume.name}'.",
                hint=f"Make it with 'rumpel volume create {given} --size {volume.size}M', or correct the name.",
                volume=given,
            )
        return given
    path = volume_path(place.instance, volume.name, place.folder)
    if not path.exists():
        _create(volume, path, place)
    return path


def _create(volume: Volume, path: Path, place: Place) -> None:
    """Make the image beside its place, write it back and put it there: a crash leaves no half volume, and one that
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
    fresh: Path | None = None
    try:
        remove_abandoned(path)
        with begin_beside(path) as image:
            fresh = Path(image.name)
            image.truncate(volume.size * MIB)
            words = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", volume.name[:16]]
            words += ["-U", str(volume_uuid(place.instance, volume.name)), "-E", "lazy_itable_init=0,root_owner=0:0"]
            if seed is not None:
                words += ["-d", str(seed)]
            done = run_tool([*words, str(fresh)], volume.name)
            if done.returncode != 0:
                raise _not_made(volume, path, done.stdout)
            os.fsync(image.fileno())
            with contextlib.suppress(FileExistsError):
                place_without_replacing(fresh, path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(volume, path, volume.size * MIB) from error
        raise VolumeError(
            f"The volume '{volume.name}' could not be made: {path}: {os.strerror(error.errno or 0)}.",
            hint=f"Check that '{path.parent}' is a folder that this user may write to.",
            volume=path,
        ) from error
    finally:
        if fresh is not None:
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
                f"'{volume.files}' holds {mib(held)} MiB.",
                hint="Give the volume a larger 'size'.",
                volume=path,
            )


def _no_space(volume: Volume, path: Path, needed: int) -> VolumeError:
    free = shutil.disk_usage(path.parent).free
    return VolumeError(
        f"There is no disk space for the volume '{volume.name}': it needs {mib(needed)} MiB, "
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


def _size(place: Place, volume: Volume) -> int:
    path = place.files.get(volume.name) or volume_path(place.instance, volume.name, place.folder)
    try:
        return path.stat().st_size
    except OSError:
        return 0
