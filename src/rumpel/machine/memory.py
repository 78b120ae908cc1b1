"""Whether an image fits into the memory that it is to get, said before it boots. Reads only headers.

A Linux kernel finds a root filesystem that is an archive in memory, and unpacks it into a tmpfs beside it before the
archive's memory is free again: it is there twice. That tmpfs takes at most half of what the kernel and the archive
leave (Linux, Documentation/filesystems/ramfs-rootfs-initramfs.rst and tmpfs.rst). nano reads the archive where it lies;
QEMU puts it at the memory's end, also where it then lies on the kernel, so what does not fit cannot say so.
"""

from __future__ import annotations

import struct
from pathlib import Path

from rumpel.errors import UsageError
from rumpel.model.size import size_text
from rumpel.resolve.plan import Plan

MIB = 1024 * 1024
ROUND = 4  # what is advised is a multiple of so many MiB

# A small kernel's minimum already has room for the archive of a small program, unpacked.
_ROOM_IN_MINIMUM_MIB = 6
_NEWC = b"070701"
_ELF64 = b"\x7fELF\x02\x01"
_PT_LOAD = 1
_LOADED_AT = MIB


def check_memory(plan: Plan, kernel: Path, rootfs: Path | None, memory: int) -> None:
    """Raises UsageError where `memory` MiB cannot hold the image. Nothing is said of a kernel whose need is not known,
    nor of files that cannot be read: whoever starts the machine does."""
    if not plan.kernel.memory:
        return
    try:
        archive = _archive_size(rootfs) if rootfs is not None else 0
        needed = _needed(plan, _loaded_size(kernel), archive)
    except OSError:
        return
    if memory >= needed:
        return
    advised = -(-needed // ROUND) * ROUND
    again = " and as much again while it is unpacked" if plan.kernel.init else ""
    root = f", the root filesystem {_mib(archive)}M{again}" if archive >= MIB and needed > plan.kernel.memory else ""
    raise UsageError(
        f"{size_text(memory)} is too little for '{plan.composition}': the kernel '{plan.kernel.name}' takes "
        f"{size_text(plan.kernel.memory)}{root}.",
        hint=f"Give it at least {size_text(advised)}, with '--memory {size_text(advised)}' or by the composition's "
        f"'memory'.",
    )


def _needed(plan: Plan, kernel: int, archive: int) -> int:
    """In MiB; rounded down, so that nothing is refused that would have started."""
    minimum = plan.kernel.memory
    if not plan.kernel.init:
        return max(minimum, _mib(_LOADED_AT + kernel + archive))
    unpacking = minimum + 2 * archive // MIB - _ROOM_IN_MINIMUM_MIB
    half_of_the_rest = (kernel + 3 * archive) // MIB
    return max(minimum, unpacking, half_of_the_rest)


def _archive_size(path: Path) -> int:
    """The size of a newc archive; a filesystem of another kind stays on its disk: 0."""
    with path.open("rb") as file:
        if file.read(len(_NEWC)) != _NEWC:
            return 0
    return path.stat().st_size


def _loaded_size(path: Path) -> int:
    """What the segments of an ELF kernel take in memory, in bytes (ELF-64, Figures 2 and 6); 0 for another format."""
    with path.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or not header.startswith(_ELF64):
            return 0
        table, size, count = struct.unpack_from("<Q14xHH", header, 32)
        file.seek(table)
        entries = file.read(size * count)
    taken = 0
    for at in range(0, len(entries) - 55, size or 56):
        kind, _, _, _, _, _, memory = struct.unpack_from("<IIQQQQQ", entries, at)
        taken += memory if kind == _PT_LOAD else 0
    return taken


def _mib(size: int) -> int:
    return -(-size // MIB)
