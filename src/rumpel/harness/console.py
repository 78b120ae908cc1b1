"""The guest's console, as a test uses it: waited for, typed on, talked with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rumpel.machine.console import ConsoleFailError, ConsoleTimeoutError, Found

if TYPE_CHECKING:
    from rumpel.harness.dialog import Dialog
    from rumpel.harness.vm import Vm


class VmConsole:
    """Everything the guest has written, and a keyboard."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._begin = 0

    @property
    def text(self) -> str:
        """What came since the machine's start, or since it was last restored; at most the last 32 MiB."""
        return self._vm.instance.console.text(self._begin)

    @property
    def position(self) -> int:
        """How many bytes have come since the start of QEMU; what `since` of `wait_for` counts."""
        return self._vm.instance.console.position

    def tail(self, lines: int = 30) -> str:
        """The last lines."""
        return self._vm.instance.console.tail(lines)

    def wait_for(self, pattern: str, *, fail: str = "", timeout: float = 60.0, since: int | None = None) -> Found:
        """Wait until the regular expression `pattern` matches; `^` and `$` are ends of lines. The first match.

        What has come already counts: from position `since` on, else from the machine's start or last restore.
        `timeout` is in seconds. Raises MachineError, with the evidence: `fail` matched before `pattern` did; the
        time was over; QEMU, the guest or its program ended - at once when that happens.
        """
        begin = self._begin if since is None else since
        instance = self._vm.instance
        limit = self._vm.scaled(timeout)
        try:
            return instance.console.wait_for(pattern, limit, since=begin, fail=fail, watch=self._vm.watch)
        except ConsoleFailError as failed:
            message = f"The console of '{self._vm.name}' says '{failed.text}' (by '{fail}'), not '{pattern}'."
        except ConsoleTimeoutError:
            message = f"No line of the console of '{self._vm.name}' matched '{pattern}' within {limit:g} s."
        raise instance.failed(message)

    def type(self, text: str) -> None:
        """Type on the console; a line ends with `\\n`. To a machine that has ended it goes unheard. Raises MachineError
        where a restored guest did not take its random numbers in time."""
        self._vm.wait_renewed()
        self._vm.instance.type_text(text)

    def interact(self, *, timeout: float = 30.0, **options: Any) -> Dialog:
        """A dialog by pexpect: `expect`, `send`, `sendline` and all that pexpect's `SpawnBase` has.

        It begins with what comes from now on. `timeout` is what `expect` waits, in seconds; `options` go to pexpect.
        While it waits, the end of the program is pexpect's EOF, a crash of the machine is a MachineError.
        """
        from rumpel.harness.dialog import Dialog

        return Dialog(self._vm, timeout=self._vm.scaled(timeout), **options)

    def begin_here(self) -> None:
        """The machine is another one now: what it wrote before no longer counts."""
        self._begin = self.position

    def begin_anew(self) -> None:
        """QEMU is another one now: its console is empty."""
        self._begin = 0

    def read_more(self, position: int, timeout: float) -> bytes:
        """What came behind `position`, waiting up to `timeout` seconds for it; empty: nothing."""
        running = self._vm.instance.running
        deadline = time.monotonic() + timeout
        while True:
            with running.changed:
                found = running.console.data(position)
                if found:
                    return found
                remaining = deadline - time.monotonic()
                if not running.ended and remaining > 0:
                    running.changed.wait(min(remaining, 0.25))
                    continue
            return found
