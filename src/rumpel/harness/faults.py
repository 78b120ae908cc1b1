"""What can be broken on purpose: `vm.faults`.

    vm.faults.disk_errors("data", on="write")
    assert vm.http().post("/api/query", json=insert).status_code == 500
    vm.faults.heal()

`vm.restore` heals too.
"""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from rumpel.errors import MachineError, UsageError
from rumpel.harness.start import mebibytes
from rumpel.machine.command import netdevs
from rumpel.machine.faults_disk import DiskFaults, Errors, Operation, Slow
from rumpel.machine.faults_link import LossyLink, Quality

if TYPE_CHECKING:
    from rumpel.harness.vm import Vm

_MIB = 1 << 20


class Faults:
    """The faults of one machine. Errors of QEMU, which knows what its devices can do, are MachineErrors."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._disks: DiskFaults | None = None
        self._links: list[LossyLink] = []
        self._down = False
        self.clock_jumped = False

    @property
    def links(self) -> tuple[LossyLink, ...]:
        """The networks that lose or delay packets, with how many they have `lost` and `passed`."""
        return tuple(self._links)

    def network_down(self) -> None:
        """Pull the network cables: no packet passes, and the guest sees that the link is down. Raises UsageError
        where the composition has no network."""
        for netdev in self._netdevs():
            self._vm.qmp("set_link", name=netdev, up=False)
        self._down = True

    def network_up(self) -> None:
        """Put the network cables back. Raises UsageError where the composition has no network."""
        for netdev in self._netdevs():
            self._vm.qmp("set_link", name=netdev, up=True)
        self._down = False

    def network_lossy(self, *, loss: float = 0.0, delay: float = 0.0, jitter: float = 0.0, seed: int = 0) -> None:
        """Lose the share `loss` (0 to 1) of all packets in each direction, and delay the others by `delay` seconds and
        up to `jitter` seconds more, by which they overtake each other. `seed` fixes what chance does. Takes the place
        of what was asked for before. Raises UsageError for values that make no sense and where the composition has no
        network, HostError where the machine's folder has too long a path for a socket."""
        if not (0 <= loss <= 1 and delay >= 0 and jitter >= 0):
            raise UsageError(
                f"A network cannot have loss={loss:g}, delay={delay:g}, jitter={jitter:g}.",
                hint="'loss' is from 0 to 1; 'delay' and 'jitter' are in seconds, 0 or more.",
            )
        self.network_whole()
        quality = Quality(loss=loss, delay=delay, jitter=jitter, seed=seed)
        for netdev in self._netdevs():
            self._links.append(LossyLink(self._vm.instance, netdev, self._vm.folder, quality))

    def network_whole(self) -> None:
        """No packet is lost or delayed any more; those under way arrive at once."""
        while self._links:
            self._links.pop().close()

    def disk_errors(self, volume: str = "", *, on: Operation = "any", error: int = errno.EIO) -> None:
        """Let every operation of the kind `on` on a volume (the only one, where it is not named) fail, until `heal`.

        `error` is the host's error number; a guest sees an I/O error whatever it is. Flushed data stays. Raises
        UsageError for an unknown operation, and as `disk_full` does.
        """
        self._disk().put(self._volume(volume), Errors(on, error))

    def disk_full(self, volume: str = "") -> None:
        """Let every write to a volume fail as on a host whose disk is full, until `heal`. The guest sees I/O errors;
        for a full filesystem inside the guest, give it a small volume. Raises UsageError for an unknown volume, and
        where none is named and there is not just one."""
        self._disk().put(self._volume(volume), Errors("write", errno.ENOSPC))

    def disk_slow(self, volume: str = "", *, operations: int = 0, bytes: int = 0) -> None:
        """Let a volume do at most so many operations and bytes a second (0: no limit), until `heal`. Raises UsageError
        where neither is above 0, and as `disk_full` does."""
        if operations < 0 or bytes < 0 or not (operations or bytes):
            raise UsageError("A slow disk needs 'operations' or 'bytes', for each second, above 0.")
        self._disk().put(self._volume(volume), Slow(operations, bytes))

    def memory_pressure(self, leave: str | int, *, timeout: float = 30.0) -> None:
        """Take memory from the guest until it has no more than `leave` (MiB, or as "64M"), and wait for it.

        Needs the driver 'virtio-balloon' in the composition. Raises MachineError where the guest does not give it
        within `timeout` seconds, UsageError for what is no size. `memory_relief` gives it back.
        """
        self._balloon(mebibytes(leave) * _MIB, timeout)

    def memory_relief(self, *, timeout: float = 30.0) -> None:
        """Give the guest all its memory back, and wait until it took it. Raises MachineError where it did not within
        `timeout` seconds, and where there is no balloon."""
        total = sum(self._vm.qmp("query-memory-size-summary").values())
        self._balloon(total, timeout)

    def freeze(self, seconds: float) -> None:
        """Stop the machine for so many seconds of the host's, as a busy host does, and let it go on. Its clock stood
        still: it is behind by so much afterwards."""
        self._vm.pause()
        try:
            time.sleep(seconds)
        finally:
            self._vm.resume()

    def clock_jump(self, seconds: float) -> None:
        """Let the guest find its clocks advanced by so many seconds at once, as after a suspend or a migration: all its
        timers that would have fired meanwhile fire now. More than 0 and at most 3600 s, and only under TCG: else it
        raises UsageError.

        `vm.restore` takes it back. A `reset` after it may find a Linux kernel that does not boot on such clocks.
        """
        from rumpel.machine.faults_clock import jump

        self._vm.disconnect()
        self.clock_jumped = True
        jump(self._vm.instance, seconds)

    def nmi(self) -> None:
        """Send a non-maskable interrupt to every CPU of the guest."""
        self._vm.qmp("inject-nmi")

    def unplug(self, device: str, *, timeout: float = 30.0) -> None:
        """Ask the guest to give up a device, by QEMU's id of it, and wait until it is gone.

        Raises MachineError where its bus cannot do that (virtio-mmio, the root bus of PCI Express), and where the
        guest does not let go of it within `timeout` seconds. A guest that cannot do without it ends.
        """
        gone = self._vm.events.expect("DEVICE_DELETED")
        self._vm.qmp("device_del", id=device)
        try:
            while gone.wait(timeout).data.get("device") != device:
                pass
        except MachineError:
            # A guest that ends because of it may take QEMU along before QEMU has told of it.
            if not (self._vm.ended and self._vm.instance.running.report.failure):
                raise

    def power_cut(self) -> None:
        """End QEMU by SIGKILL. What the guest had not flushed to its volumes may be lost; `vm.power_on` boots again."""
        self._vm.kill()

    def reset(self) -> None:
        """Press the reset button. The guest boots again; `vm.wait_ready` waits for that."""
        self._vm.reset()

    def heal(self) -> None:
        """Repair network and disks; memory, clock and devices that are gone stay as they are."""
        self.network_whole()
        if self._down:
            self.network_up()
        if self._disks is not None:
            for volume in self._disks.broken:
                self._disks.heal(volume)

    def forget(self) -> None:
        """QEMU is gone, and the faults with it."""
        self.network_whole()
        self._disks = None
        self._down = False
        self.clock_jumped = False

    def _disk(self) -> DiskFaults:
        if self._disks is None:
            self._disks = DiskFaults(self._vm.instance)
        return self._disks

    def _volume(self, name: str) -> str:
        names = [volume.name for volume in self._vm.plan.volumes]
        if name or len(names) == 1:
            return name or names[0]
        listed = ", ".join(f"'{each}'" for each in names)
        if not names:
            raise UsageError(f"The composition '{self._vm.plan.composition}' has no volume.")
        raise UsageError(f"'{self._vm.name}' has several volumes.", hint=f"Name one of them: {listed}.")

    def _netdevs(self) -> list[str]:
        found = netdevs(self._vm.plan)
        if not found:
            raise UsageError(f"The composition '{self._vm.plan.composition}' has no network.")
        return found

    def _balloon(self, wanted: int, timeout: float) -> None:
        before = int(self._vm.qmp("query-balloon")["actual"])
        self._vm.qmp("balloon", value=wanted)

        def reached() -> bool:
            now = int(self._vm.qmp("query-balloon")["actual"])
            if (now <= wanted) if wanted < before else (now >= wanted):
                return True
            raise ValueError(f"the guest has {now // _MIB} MiB, not {wanted // _MIB} MiB")

        self._vm.wait(reached, timeout, what="the balloon")
