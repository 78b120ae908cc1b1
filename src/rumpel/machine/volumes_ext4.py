"""ext4 images on the host: what their superblock says, and the programs of e2fsprogs that check and change them.

Source of the superblock's layout: Linux, Documentation/filesystems/ext4/super.rst.
"""

from __future__ import annotations

import os
import struct
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import HostError, VolumeError

MIB = 1024 * 1024

_SUPERBLOCK = 1024  # its offset and its length
_MAGIC = 0xEF53
_RECOVER = 0x4  # INCOMPAT_RECOVER: the journal holds what the filesystem does not have yet
_64BIT = 0x80
_TOOLS_AT = "/usr/sbin:/sbin"


@dataclass(frozen=True)
class Superblock:
    """What a filesystem says of itself; sizes in bytes. `recover`: its journal has to be replayed before use."""

    size: int
    free: int
    files: int
    free_files: int
    label: str
    uuid: uuid.UUID
    recover: bool


def read_superblock(name: str, path: Path) -> Superblock:
    """The superblock of the image; raises VolumeError where it holds no ext4 filesystem or cannot be read."""
    try:
        with path.open("rb") as image:
            image.seek(_SUPERBLOCK)
            data = image.read(_SUPERBLOCK)
    except OSError as error:
        raise unreadable(name, path, error) from error
    if len(data) < _SUPERBLOCK or struct.unpack_from("<H", data, 56)[0] != _MAGIC:
        raise VolumeError(
            f"The volume '{name}' holds no ext4 filesystem: {path}.",
            hint="Check that this is the file that you mean; nothing was changed.",
            volume=path,
        )
    inodes, blocks, _, free, free_inodes, _, shift = struct.unpack_from("<7I", data, 0)
    incompatible = struct.unpack_from("<I", data, 96)[0]
    if incompatible & _64BIT:
        blocks += struct.unpack_from("<I", data, 0x150)[0] << 32
        free += struct.unpack_from("<I", data, 0x158)[0] << 32
    block = 1024 << shift
    return Superblock(
        size=blocks * block,
        free=free * block,
        files=inodes - free_inodes,
        free_files=free_inodes,
        label=data[120:136].rstrip(b"\0").decode("utf-8", "replace"),
        uuid=uuid.UUID(bytes=data[104:120]),
        recover=bool(incompatible & _RECOVER),
    )


def unreadable(name: str, path: Path, error: OSError) -> VolumeError:
    """The error for an image that cannot be opened."""
    return VolumeError(
        f"The volume '{name}' cannot be opened: {path}: {os.strerror(error.errno or 0)}.",
        hint="Make the file readable and writable for this user.",
        volume=path,
    )


def mend(name: str, path: Path) -> None:
    """`e2fsck -p`, taken back where it fails: what it had already written is undone (e2undo(8)).

    Raises VolumeError with its words for a filesystem that needs a decision. Its exit status is a sum of bits:
    1 mended, 2 mended (reboot), 4 left damaged, 8 and more: it could not check; negative: a signal ended it.
    """
    undo = path.with_name(f".{path.name}.undo")
    undo.unlink(missing_ok=True)
    with path.open("rb") as image:
        image.seek(_SUPERBLOCK)
        superblock = image.read(_SUPERBLOCK)
    try:
        done = run_tool(["e2fsck", "-p", "-z", str(undo), str(path)], name)
        if done.returncode in (0, 1):
            return
        if undo.exists():
            run_tool(["e2undo", "-f", str(undo), str(path)], name)
            with path.open("rb+") as image:  # e2undo itself writes the time into it
                image.seek(_SUPERBLOCK)
                image.write(superblock)
    finally:
        undo.unlink(missing_ok=True)
    if done.returncode < 0:
        raise VolumeError(
            f"The volume '{name}' could not be checked: signal {-done.returncode} ended e2fsck: {path}.",
            hint="Try again; perhaps this machine is short of memory.",
            volume=path,
        )
    said = " ".join(done.stdout.replace(str(path), f"'{path.name}'").split())
    raise VolumeError(
        f"The volume '{name}' is damaged in a way that needs a decision: {path}. e2fsck said: {said}",
        hint=f"Keep a copy of the file, then mend it with: e2fsck {path}",
        volume=path,
    )


def check_whole(name: str, path: Path) -> None:
    """`e2fsck -fn`: the filesystem is whole, and nothing was written. Raises VolumeError with its words."""
    done = run_tool(["e2fsck", "-f", "-n", str(path)], name)
    if done.returncode != 0:
        said = " ".join(done.stdout.replace(str(path), f"'{path.name}'").split())
        raise VolumeError(
            f"The changed copy of the volume '{name}' is not whole; the volume was left as it is. e2fsck said: {said}",
            volume=path,
        )


def run_tool(words: Sequence[str], name: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program of e2fsprogs for the volume `name`; both of its outputs are in `stdout`."""
    done = run_apart(words, name, folder)
    output = (done.stderr + done.stdout).decode("utf-8", "replace")
    return subprocess.CompletedProcess(done.args, done.returncode, output)


def run_apart(words: Sequence[str], name: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """As `run_tool`, the outputs apart and as bytes. `folder`: where the program runs."""
    environment = dict(os.environ, PATH=f"{os.environ.get('PATH', '')}:{_TOOLS_AT}", LC_ALL="C", DEBUGFS_PAGER="cat")
    try:
        return subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=folder
        )
    except FileNotFoundError as error:
        raise HostError(
            f"The program '{words[0]}', which the volume '{name}' needs, is not installed.",
            hint="Install it with: apt-get install e2fsprogs",
        ) from error


def mib(size: int) -> int:
    """Bytes in MiB, rounded up."""
    return -(-size // MIB)
