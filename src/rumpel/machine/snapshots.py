"""Snapshots of a running machine: its memory, its devices and its volumes, by name.

    disks = make_scratch(folder, {"data": image})       # before the start: overlays, and a place for memory
    kept = save(instance, "ready")
    load(instance, kept)                                 # tens of milliseconds; the host's ports stay open
    instance.qmp("cont")

A snapshot lies inside qcow2 files (QEMU `docs/interop/qcow2.txt`): each writable volume gets an overlay above its
image, and one more file, which the guest does not see, holds the memory. All of them are thrown away with the
machine; the images below are opened for reading only. So nothing here is flushed to the host's disk: what the guest
flushed survives a SIGKILL of QEMU, not a power cut of the host.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import mmap
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rumpel.errors import MachineError, UsageError
from rumpel.machine.command import MEMORY_NODE, Scratch, volume_node
from rumpel.machine.control import Report

if TYPE_CHECKING:
    from rumpel.machine.instance import Instance

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DISK_CLUSTER_BITS = 16
# Memory is written and read from end to end: with large clusters the tables of a whole machine fit into one.
_MEMORY_CLUSTER_BITS = 21
_BACKING_FORMAT = 0xE2792ACA
_HEADER = 104
_IO_URING_SETUP = 425  # Linux include/uapi/asm-generic/unistd.h
_IO_URING_PARAMS = 120  # bytes of struct io_uring_params
# A trace event of QEMU's block/io_uring.c. The option's own name says nothing: linkers keep it as the end of another.
_IO_URING_TRACE = b"luring_io_uring_submit"
_LONGEST_JOB = 60.0  # seconds


@dataclass(frozen=True)
class Snapshot:
    """A saved state: its name, the volumes in it (block nodes), what the guest had reported until then."""

    name: str
    nodes: tuple[str, ...]
    report: Report


def make_scratch(
    folder: Path, images: Mapping[str, Path], qemu: str, layers: Mapping[str, tuple[str, ...]] | None = None
) -> Scratch:
    """Overlays in `folder` for the writable volumes `images` (image file by volume name), above the `layers` that are
    there already. Overlays that are there, with what a machine has written, stay. `qemu` is QEMU's full path."""
    folder.mkdir(parents=True, exist_ok=True)
    memory = folder / "memory.qcow2"
    if not memory.exists():
        memory.write_bytes(empty_qcow2(1 << _MEMORY_CLUSTER_BITS, _MEMORY_CLUSTER_BITS))
    overlays = {}
    for name, image in images.items():
        overlay = folder / f"{name}.qcow2"
        if not overlay.exists():
            overlay.write_bytes(empty_qcow2(image.stat().st_size, _DISK_CLUSTER_BITS))
        overlays[name] = str(overlay)
    # QEMU loads a snapshot in pieces of 32 KiB: to hand each to a thread doubles the cost.
    aio: Literal["threads", "io_uring"] = "io_uring" if _has_io_uring(qemu) else "threads"
    return Scratch(memory=str(memory), overlays=overlays, aio=aio, layers=layers or {})


@functools.cache
def _has_io_uring(qemu: str) -> bool:
    """Whether the kernel gives this process io_uring, and this QEMU was built with it."""
    parameters = ctypes.create_string_buffer(_IO_URING_PARAMS)
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(_IO_URING_SETUP, 1, parameters)
    if descriptor < 0:
        return False
    os.close(descriptor)
    with Path(qemu).open("rb") as program, mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_IO_URING_TRACE) >= 0


def empty_qcow2(size: int, cluster_bits: int) -> bytes:
    """The bytes of a qcow2 file, version 3, that shows `size` bytes and holds none of them.

    Four clusters: the header, the table of reference counts, its first block, the first-level table.
    """
    cluster = 1 << cluster_bits
    entries = max(1, -(-size // (cluster * (cluster // 8))))
    if entries * 8 > cluster:
        raise UsageError(f"A disk of {size} bytes is too large to be put under a snapshot.")
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb", 3, 0, 0, cluster_bits, size, 0, entries, 3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, _HEADER,
    )  # fmt: skip
    image = bytearray(4 * cluster)
    image[: len(header)] = header
    struct.pack_into(">Q", image, cluster, 2 * cluster)
    for number in range(4):
        struct.pack_into(">H", image, 2 * cluster + 2 * number, 1)
    return bytes(image)


def save(instance: Instance, name: str) -> Snapshot:
    """Save the state under `name`, in place of an older one of that name. The machine goes on as it was.

    Raises UsageError for a name that cannot be one, or a machine that was started without a place for snapshots;
    MachineError where QEMU refuses.
    """
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"'{name}' cannot name a snapshot.",
            hint="Use up to 63 letters, digits, '.', '_' and '-', the first a letter or a digit.",
        )
    nodes = _nodes(instance)
    running = instance.qmp("query-status")["running"]
    instance.qmp("stop")
    try:
        instance.running.settle()
        report = copy.copy(instance.running.report)
        delete(instance, name)
        _job(instance, "snapshot-save", tag=name, vmstate=MEMORY_NODE, devices=nodes)
    finally:
        if running:
            instance.qmp("cont")
    return Snapshot(name, nodes, report)


def load(instance: Instance, snapshot: Snapshot) -> None:
    """Take the machine back to `snapshot`, and leave it halted. What the guest said in between stays in the logs, but
    what it reported (its program's end, a panic) is as it was then. Raises MachineError where QEMU refuses."""
    instance.qmp("stop")
    _job(instance, "snapshot-load", tag=snapshot.name, vmstate=MEMORY_NODE, devices=snapshot.nodes)
    instance.running.settle()
    instance.running.set_report(snapshot.report)


def delete(instance: Instance, name: str) -> None:
    """Forget the snapshot `name`, which need not be there; its room is used again."""
    _job(instance, "snapshot-delete", tag=name, devices=_nodes(instance))


def _nodes(instance: Instance) -> tuple[str, ...]:
    scratch = instance.scratch
    if scratch is None:
        raise UsageError(
            f"The machine '{instance.name}' was started without a place for snapshots.",
            hint="Machines of 'rumpel.boot' have one.",
        )
    return (*(volume_node(volume) for volume in scratch.overlays), MEMORY_NODE)


def _job(instance: Instance, command: str, **arguments: Any) -> None:
    """Run a QMP job and wait for its end (QEMU `qapi/job.json`); raises MachineError with what it says."""
    name = "snapshot"
    seen = len(instance.events)
    instance.qmp(command, job_id=name, **arguments)
    changed = instance.running.changed
    with changed:
        changed.wait_for(lambda: instance.ended or _concluded(instance, name, seen), _LONGEST_JOB)
    if not _concluded(instance, name, seen):
        raise instance.failed(f"The QMP job '{command}' did not end.")
    job = next(job for job in instance.qmp("query-jobs") if job["id"] == name)
    instance.qmp("job-dismiss", id=name)
    if "error" in job:
        raise MachineError(f"QEMU could not do '{command}': {job['error']}")


def _concluded(instance: Instance, name: str, seen: int) -> bool:
    return any(
        event.name == "JOB_STATUS_CHANGE" and event.data.get("id") == name and event.data.get("status") == "concluded"
        for event in instance.events[seen:]
    )
