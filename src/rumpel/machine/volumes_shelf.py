"""The volumes of this user: where they are, what they are called, making and removing them.

    volume = find_volume("web/data")
    with hold_for_reading(volume.name, volume.path): ...

A volume's name is `INSTANCE/VOLUME`. A word that begins with '/', '.' or '~' is the path of an image elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import UsageError, VolumeError
from rumpel.machine.registry import check_name
from rumpel.machine.volumes import Place, ensure_volume, volume_path
from rumpel.machine.volumes_ext4 import MIB
from rumpel.machine.volumes_lock import hold_for_writing, is_in_use
from rumpel.places import volumes_dir
from rumpel.resolve.plan import Frozen, Volume

SMALLEST_MIB = 1
LARGEST_MIB = 16 * 1024 * 1024
_SUFFIX = ".ext4"
_VOLUME = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")


@dataclass(frozen=True)
class Named:
    """A volume by its name; its image may not exist."""

    name: str
    path: Path


class Listed(Frozen, frozen=True):
    """One volume, as `volume ls --json` prints it. Sizes in bytes: `size` as the guest sees it, `allocated` on the
    host's disk. `in_use`: a machine or a command has it now."""

    name: str
    instance: str
    volume: str
    size: int
    allocated: int
    in_use: bool
    path: str


def name_volume(word: str) -> Named:
    """The volume that `word` names. Raises UsageError for a word that cannot name one."""
    if word.startswith(("/", ".", "~")):
        path = Path(word).expanduser().absolute()
        return Named(word, path)
    instance, separator, volume = word.partition("/")
    if not separator or _VOLUME.fullmatch(volume) is None:
        raise UsageError(
            f"'{word}' does not name a volume.",
            hint="Write INSTANCE/VOLUME, such as sqlite-web/data ('rumpel volume ls' lists them), or a path that "
            "begins with '/' or './'.",
        )
    return Named(word, volume_path(check_name(instance), volume))


def find_volume(word: str) -> Named:
    """As `name_volume`; raises VolumeError where there is no such volume."""
    named = name_volume(word)
    if not named.path.is_file():
        raise VolumeError(
            f"There is no volume '{named.name}'.",
            hint="'rumpel volume ls' lists what there is; 'rumpel volume create' makes one.",
            volume=named.path,
        )
    return named


def list_volumes() -> list[Listed]:
    """The volumes in the state folder, by name."""
    found = sorted(volumes_dir().glob(f"*/[!.]*{_SUFFIX}")) if volumes_dir().is_dir() else []
    listed = []
    for path in found:
        with contextlib.suppress(FileNotFoundError):
            seen = path.stat()
            volume = path.name.removesuffix(_SUFFIX)
            listed.append(
                Listed(
                    name=f"{path.parent.name}/{volume}", instance=path.parent.name, volume=volume, size=seen.st_size,
                    allocated=seen.st_blocks * 512, in_use=is_in_use(path), path=str(path),
                )
            )  # fmt: skip
    return listed


def create_volume(word: str, size: int, files: Path | None) -> Named:
    """Make an empty volume of `size` MiB, or one with the files of a folder. Raises where there is one already."""
    named = name_volume(word)
    if not SMALLEST_MIB <= size <= LARGEST_MIB:
        raise UsageError(
            f"A volume cannot have {size} MiB.", hint=f"Give it {SMALLEST_MIB}M to {LARGEST_MIB // 1024}G."
        )
    if os.path.lexists(named.path):
        raise VolumeError(
            f"There is a volume '{named.name}' already: {named.path}.",
            hint="Choose another name, or remove it with 'rumpel volume rm'.",
            volume=named.path,
        )
    stem = named.path.name.removesuffix(_SUFFIX)
    if named.path.name == stem:
        raise UsageError(
            f"The file of a volume ends with '{_SUFFIX}': '{word}' does not.", hint=f"Write {word}{_SUFFIX}."
        )
    if named.path != volumes_dir() / named.path.parent.name / named.path.name and not named.path.parent.is_dir():
        raise UsageError(f"There is no folder '{named.path.parent}'.", hint="Create it, or correct the path.")
    volume = Volume(name=stem, mount="/", size=size, files=str(files.absolute()) if files is not None else "")
    ensure_volume(volume, Place(named.path.parent.name, named.path.parent))
    return named


def remove_volume(named: Named) -> None:
    """Remove the volume. Raises VolumeError where it is in use."""
    with hold_for_writing(named.name, named.path):
        named.path.unlink()
    if named.path.parent.parent == volumes_dir():
        with contextlib.suppress(OSError):  # another volume of the instance is in it
            named.path.parent.rmdir()


def mebibytes_of(size: int) -> str:
    """Bytes as MiB for people."""
    return f"{size / MIB:.1f} MiB" if size % MIB else f"{size // MIB} MiB"
