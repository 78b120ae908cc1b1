"""QEMU's asynchronous events, expected before the command that causes them.

stopped = vm.events.expect("STOP")
vm.pause()
stopped.wait()
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rumpel.machine.monitor import Event

if TYPE_CHECKING:
    from rumpel.harness.vm import Vm


class Events:
    """The events of a machine (QEMU's QMP reference lists them)."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm

    @property
    def seen(self) -> tuple[Event, ...]:
        """All since the start of QEMU, the oldest first."""
        return self._vm.instance.events

    def expect(self, *names: str) -> Expected:
        """Look out, from now on, for an event with one of these names; without a name, for any."""
        return Expected(self._vm, names)


class Expected:
    """What was expected at some moment, and what has come of it since."""

    def __init__(self, vm: Vm, names: tuple[str, ...]) -> None:
        self._vm = vm
        self._names = names
        self._instance = vm.instance
        self._next = len(vm.instance.events)

    @property
    def seen(self) -> tuple[Event, ...]:
        """The matching events that have come and were not yet taken by `wait`."""
        return tuple(event for event in self._instance.events[self._next :] if self._fits(event))

    def wait(self, timeout: float = 30.0) -> Event:
        """The next matching event, at the latest after `timeout` seconds. Raises MachineError where it did not come,
        and at once where QEMU has ended without it."""
        running = self._instance.running
        limit = self._vm.scaled(timeout)
        deadline = time.monotonic() + limit
        while True:
            with running.changed:
                events = running.events[self._next :]
                for number, event in enumerate(events):
                    if self._fits(event):
                        self._next += number + 1
                        return event
                remaining = deadline - time.monotonic()
                if remaining > 0 and not running.ended:
                    running.changed.wait(min(remaining, 0.25))
                    continue
            came = ", ".join(sorted({event.name for event in events})) or "none"
            wanted = " or ".join(f"'{name}'" for name in self._names) or "any"
            until = f"within {limit:g} s" if remaining <= 0 else "before QEMU ended"
            raise self._instance.failed(f"QEMU did not report the event {wanted} {until}; reported were: {came}.")

    def _fits(self, event: Event) -> bool:
        return not self._names or event.name in self._names
