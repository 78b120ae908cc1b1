"""Faults of a volume's disk, put between the guest's device and its image while the machine runs.

    disk = DiskFaults(instance)
    disk.put("data", Errors(on="write", errno=errno.EIO))
    disk.put("data", Slow(operations=20))           # in place of the former
    disk.heal("data")

QEMU's block filters do it: `blkdebug` (QEMU `docs/devel/blkdebug.rst`) and `throttle` (`docs/throttle.txt`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

from rumpel.errors import MachineError, UsageError
from rumpel.machine.command import volume_node
from rumpel.machine.instance import Instance

Operation = Literal["read", "write", "flush", "any"]

_REQUESTS: dict[str, tuple[str, ...]] = {
    "read": ("read",),
    "write": ("write", "write-zeroes", "discard"),
    "flush": ("flush",),
    "any": ("read", "write", "write-zeroes", "discard", "flush"),
}


@dataclass(frozen=True)
class Errors:
    """Every operation of this kind fails with `errno`, the host's error number. A guest sees an I/O error whatever
    the number is: virtio-blk has only one (virtio 1.2, 5.2.6)."""

    on: Operation
    errno: int


@dataclass(frozen=True)
class Slow:
    """At most so many operations and bytes a second; 0: as many as there are."""

    operations: int = 0
    bytes: int = 0


class DiskFaults:
    """The faults of a machine's volumes; each has at most one."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._active: dict[str, str] = {}
        self._count = 0

    def put(self, volume: str, fault: Errors | Slow) -> None:
        """Break the volume, in place of how it was broken before. Raises MachineError where QEMU refuses."""
        device = self._device(volume)
        self._count += 1
        node = f"fault{self._count}"
        base = volume_node(volume)
        match fault:
            case Errors():
                if fault.on not in _REQUESTS:
                    raise UsageError(f"'{fault.on}' is not an operation of a disk.", hint=f"There are: {_known()}.")
                rules = [
                    {"event": "none", "iotype": request, "errno": fault.errno, "immediately": False}
                    for request in _REQUESTS[fault.on]
                ]
                self._instance.qmp("blockdev-add", driver="blkdebug", node_name=node, image=base, inject_error=rules)
            case Slow():
                limits = {"iops-total": fault.operations, "bps-total": fault.bytes}
                self._instance.qmp("object-add", qom_type="throttle-group", id=f"{node}-group", limits=limits)
                self._instance.qmp(
                    "blockdev-add", driver="throttle", node_name=node, file=base, throttle_group=f"{node}-group"
                )
        self._instance.qmp("qom-set", path=device, property="drive", value=node)
        self._remove(self._active.get(volume))
        self._active[volume] = node

    def heal(self, volume: str) -> None:
        """The volume works again."""
        node = self._active.get(volume)
        if node is not None:
            self._instance.qmp("qom-set", path=self._device(volume), property="drive", value=volume_node(volume))
            self._remove(node)
            del self._active[volume]

    @property
    def broken(self) -> tuple[str, ...]:
        """The volumes that have a fault."""
        return tuple(self._active)

    def _remove(self, node: str | None) -> None:
        if node is None:
            return
        self._instance.qmp("blockdev-del", node_name=node)
        with contextlib.suppress(MachineError):  # only a slow disk has one
            self._instance.qmp("object-del", id=f"{node}-group")

    def _device(self, volume: str) -> str:
        """The path of the device before the volume, whatever filter is between them."""
        wanted = (volume_node(volume), self._active.get(volume))
        for block in self._instance.qmp("query-block"):
            if block.get("inserted", {}).get("node-name") in wanted:
                return str(block["qdev"])
        names = ", ".join(f"'{each.name}'" for each in self._instance.plan.volumes) or "none"
        raise UsageError(f"The machine '{self._instance.name}' has no volume '{volume}'.", hint=f"It has: {names}.")


def _known() -> str:
    return ", ".join(f"'{name}'" for name in _REQUESTS)
