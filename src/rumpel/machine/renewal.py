"""A machine that goes on from a state that others go on from too gets a time and random numbers of its own.

    renewal = go_on(instance)        # of a halted machine: it runs
    renewal.wait()

The guest's side stands in docs/architecture.md, "What passes between host and guest": `renew`. What the guest does
first when it goes on costs more than the loading of its state, as QEMU translates all of its code anew. So nobody needs
to wait: until the guest has taken its numbers no packet passes between it and its network.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING

from rumpel.errors import MachineError
from rumpel.machine.command import netdevs

if TYPE_CHECKING:
    from rumpel.machine.instance import Instance

LONGEST_RENEWAL = 30.0  # seconds
_SEED = 32  # bytes
_INTERVAL = (1 << 32) - 1  # microseconds after which `filter-buffer` gives up what it holds: more than an hour


class Renewal:
    """Under way since it was made. `over`: the guest has taken what it was sent, or has ended."""

    def __init__(self, instance: Instance, timeout: float) -> None:
        self._instance = instance
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._report = instance.running.report
        self._over = threading.Event()
        self._holding = [(f"{netdev}-held", netdev) for netdev in netdevs(instance.plan)]
        with instance.running.changed:
            self._report.renewed = False
        for name, netdev in self._holding:
            instance.qmp("object-add", qom_type="filter-buffer", id=name, netdev=netdev, interval=_INTERVAL)
        now = time.time_ns() + (instance.options.settings.clock or 0) * 1_000_000_000
        # Sent before the guest goes on: it is the first that the guest finds.
        instance.running.send(f"renew {max(0, now)} {secrets.token_hex(_SEED)}")
        instance.qmp("cont")
        threading.Thread(target=self._follow, name="rumpel-renewal", daemon=True).start()

    @property
    def late(self) -> bool:
        """Whether the guest has let its time pass."""
        return not self._over.is_set() and time.monotonic() > self._deadline

    def wait(self) -> None:
        """Wait until it is over. Raises MachineError where that is late."""
        if not self._over.wait(max(0.0, self._deadline - time.monotonic())):
            raise self.too_late()

    def give_up(self) -> None:
        """The guest is to become another one: wait until this one is done with it, or too late."""
        if not self._over.wait(max(0.0, self._deadline - time.monotonic())):
            self._release()

    def too_late(self) -> MachineError:
        """The error of a guest that has let its time pass."""
        return self._instance.failed(
            f"The guest of '{self._instance.name}' did not take a time and random numbers of its own within "
            f"{self._timeout:g} s."
        )

    def _follow(self) -> None:
        report, running = self._report, self._instance.running

        def settled() -> bool:
            # After a restore the report is another one, and this guest is no more.
            if running.ended or running.report is not report:
                return True
            return report.renewed or report.status is not None or bool(report.failure or report.panic)

        with running.changed:
            running.changed.wait_for(settled)
        if running.report is report and not running.ended:
            self._release()
        self._over.set()

    def _release(self) -> None:
        for name, _ in self._holding:
            with contextlib.suppress(MachineError):  # QEMU has ended
                self._instance.running.monitor.execute("object-del", {"id": name})


def go_on(instance: Instance, timeout: float = LONGEST_RENEWAL) -> Renewal | None:
    """Let a halted guest go on, with the host's time (the start's `clock` holds) and random numbers of its own.

    A machine with a seed goes on as it was (None): the same state and the same seed are the same run. So does a guest
    that has not started its program: it does not listen yet. Raises MachineError where QEMU refuses.
    """
    if instance.options.seed is None and instance.running.report.started:
        return Renewal(instance, timeout)
    instance.qmp("cont")
    return None
