"""A jump of the guest's clocks, by a snapshot whose clocks are moved before it is loaded.

QEMU's virtual clock and the guest's time stamp counter are two numbers of the saved state: the section "timer" of
the migration stream (QEMU `softmmu/cpu-timers.c`, `docs/devel/migration.rst`): ticks, eight unused bytes, nanoseconds.
Every clock of the machine but the battery-backed one follows them.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rumpel.errors import MachineError, UsageError
from rumpel.machine import snapshots
from rumpel.machine.command import MEMORY_NODE
from rumpel.machine.instance import Instance

LONGEST = 3600.0  # seconds
# A clock that has advanced by more since it was last read overflows in Linux (`clocksource_max_deferment`).
_STEP = 60.0
_BETWEEN = 0.1  # the guest runs so long between two steps
_NAME = "clock-jump"
# The section's name, its instance (0) and its version (2).
_SECTION = b"\x05timer" + struct.pack(">II", 0, 2)
_VALUES = struct.Struct(">q8xq")
_FOOTER = 0x7E


class Clocks(NamedTuple):
    """The time stamp counter and the virtual clock of a machine."""

    ticks: int
    nanoseconds: int


def jump(instance: Instance, seconds: float) -> None:
    """Advance the guest's clocks by `seconds`, in steps of at most a minute. The machine was running, and runs.

    Raises UsageError for seconds that are not above 0 or above an hour, or under another accelerator than TCG.
    """
    if not 0 < seconds <= LONGEST:
        raise UsageError(
            f"The guest's clock cannot jump by {seconds:g} s.",
            hint=f"It can be advanced by more than 0 and at most {LONGEST:g} s.",
        )
    if instance.accelerator.name != "tcg":
        raise UsageError(
            f"The guest's clock cannot jump under the accelerator '{instance.accelerator.name}'.",
            hint="Start the machine with the accelerator 'tcg'.",
        )
    last = _look(instance)
    while seconds > 0:
        time.sleep(_BETWEEN)
        step = min(seconds, _STEP)
        instance.qmp("stop")
        saved = snapshots.save(instance, _NAME)
        clocks = _clocks_of(instance)
        # Measured each time: a restored machine's ticks go on from the highest value that they ever had.
        ticks = round(step * 1e9 * (clocks.ticks - last.ticks) / (clocks.nanoseconds - last.nanoseconds))
        last = Clocks(clocks.ticks + ticks, clocks.nanoseconds + round(step * 1e9))
        _write(instance, clocks, last)
        snapshots.load(instance, saved)
        instance.qmp("cont")
        snapshots.delete(instance, _NAME)
        seconds -= step


def _look(instance: Instance) -> Clocks:
    instance.qmp("stop")
    snapshots.save(instance, _NAME)
    clocks = _clocks_of(instance)
    snapshots.delete(instance, _NAME)
    instance.qmp("cont")
    return clocks


def _clocks_of(instance: Instance) -> Clocks:
    """The clocks of the snapshot."""
    nanoseconds = _nanoseconds_of(instance)
    with _opened(instance) as image:
        return Clocks(_VALUES.unpack_from(image, _position(image, nanoseconds))[0], nanoseconds)


def _write(instance: Instance, old: Clocks, new: Clocks) -> None:
    with _opened(instance) as image:
        _VALUES.pack_into(image, _position(image, old.nanoseconds), new.ticks, new.nanoseconds)


def _nanoseconds_of(instance: Instance) -> int:
    """The virtual clock of the snapshot, in nanoseconds."""
    for node in instance.qmp("query-named-block-nodes", flat=True):
        if node["node-name"] == MEMORY_NODE:
            for snapshot in node["image"].get("snapshots", ()):
                if snapshot["name"] == _NAME:
                    return int(snapshot["vm-clock-sec"]) * 10**9 + int(snapshot["vm-clock-nsec"])
    raise MachineError("QEMU does not know the snapshot that it has just made.")


@contextlib.contextmanager
def _opened(instance: Instance) -> Iterator[mmap.mmap]:
    assert instance.scratch is not None
    with Path(instance.scratch.memory).open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as image:
        yield image


def _position(image: mmap.mmap, nanoseconds: int) -> int:
    """Where the values are in the section that says so many nanoseconds; older snapshots in the file say others."""
    position = image.find(_SECTION)
    while position >= 0:
        start = position + len(_SECTION)
        # Before the name stand the section's type and number; behind the values a footer repeats the number.
        number = image[position - 4 : position]
        footer = start + _VALUES.size
        found = _VALUES.unpack_from(image, start)[1]
        if found == nanoseconds and image[footer] == _FOOTER and image[footer + 1 : footer + 5] == number:
            return start
        position = image.find(_SECTION, start)
    raise MachineError(
        "The saved state of this QEMU holds its clocks in another form; the guest's clock cannot jump.",
        hint="This is known to work with QEMU 7.2.",
    )
