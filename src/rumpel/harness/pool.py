"""Machines that are lent to tests, one after the other, each time as they were when they became ready.

    lease = pool.lend(start)         # boots it, or takes an idle one back to its snapshot
    lease.vm
    pool.give_back(lease)

A machine that did not become ready is not tried again: whoever asks for it next is told what came of the first try.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rumpel.errors import MachineError, RumpelError
from rumpel.harness.api import launch_image
from rumpel.harness.images import Images
from rumpel.harness.start import Start
from rumpel.harness.vm import Vm

READY = "ready"


class BootFailedBefore(Exception):  # noqa: N818 - it is not this test's error
    """The machine did not start for an earlier test; `reason` is the first sentence of what was said then."""

    def __init__(self, start: Start, reason: str) -> None:
        super().__init__(f"'{start}' did not boot in an earlier test: {reason}")


@dataclass
class Lease:
    """A machine in a test's hands. `began` is where the test's part of the console begins, `reset` how many seconds it
    took to reset it (0: it was booted for this test)."""

    start: Start
    vm: Vm
    began: int
    reset: float = 0.0


class Pool:
    """At most `warm` idle machines wait for the next test. `shared` is a folder of all processes of a test run.
    `on_failure` sees a machine that did not become ready before it is closed."""

    def __init__(
        self,
        *,
        shared: Path | None = None,
        scale: float = 1.0,
        warm: int = 4,
        on_failure: Callable[[Lease], None] = lambda lease: None,
    ) -> None:
        self.booted = 0
        self.resets: list[float] = []
        self._images = Images(shared)
        self._shared = shared
        self._scale = scale
        self._warm = warm
        self._on_failure = on_failure
        self._idle: list[Lease] = []  # the one that was used last is the last
        self._failed: dict[Start, str] = {}

    def lend(self, start: Start) -> Lease:
        """A machine that is ready, and untouched since. Raises what booting it raises, and BootFailedBefore."""
        __tracebackhide__ = True
        for lease in reversed(self._idle):
            if lease.start == start:
                self._idle.remove(lease)
                fresh = self._reset(lease)
                if fresh is not None:
                    return fresh
        self._raise_earlier(start)
        try:
            vm = launch_image(self._images.find(start.wanted), start, scale=self._scale)
            self._make_ready(start, vm)
        except RumpelError as error:
            self._remember(start, error)
            raise
        self.booted += 1
        return Lease(start, vm, 0)

    def give_back(self, lease: Lease) -> None:
        """The test is done with it. One that has ended or was recorded, or that nobody has room for, is closed."""
        if lease.vm.ended or lease.vm.recording is not None or self._warm == 0:
            lease.vm.close()
            return
        lease.vm.disconnect()
        self._idle.append(lease)
        while len(self._idle) > self._warm:
            self._idle.pop(0).vm.close()

    def close(self) -> None:
        """Close the machines that wait."""
        while self._idle:
            self._idle.pop().vm.close()

    def end(self) -> None:
        """As `close`, but their folders stay."""
        while self._idle:
            self._idle.pop().vm.end()

    def _make_ready(self, start: Start, vm: Vm) -> None:
        try:
            vm.wait_ready()
            # A program that is ready when it has ended leaves nothing to go back to; a recording cannot go back.
            if not vm.ended and vm.recording is None:
                vm.snapshot(READY)
        except BaseException as error:
            if isinstance(error, MachineError):
                self._on_failure(Lease(start, vm, 0))
            vm.close()
            raise

    def _reset(self, lease: Lease) -> Lease | None:
        begun = time.monotonic()
        try:
            lease.vm.restore(READY)
        except RumpelError:  # it died while it was idle: a fresh one says why, if there is a reason
            lease.vm.close()
            return None
        took = time.monotonic() - begun
        self.resets.append(took)
        return Lease(lease.start, lease.vm, lease.vm.console.position, took)

    def _raise_earlier(self, start: Start) -> None:
        reason = self._failed.get(start, "")
        note = self._note(start)
        if not reason and note is not None and note.exists():
            reason = note.read_text()
        if reason:
            raise BootFailedBefore(start, reason)

    def _remember(self, start: Start, error: RumpelError) -> None:
        """The first process whose try fails reports it; one that fails at the same moment says that it was not the
        first."""
        reason = error.message.splitlines()[0]
        self._failed[start] = reason
        note = self._note(start)
        if note is None:
            return
        fresh = note.with_name(f"{note.name}.{id(error)}-{time.monotonic_ns()}")
        fresh.write_text(reason)
        try:
            note.hardlink_to(fresh)
        except FileExistsError:
            raise BootFailedBefore(start, reason) from error
        finally:
            fresh.unlink()

    def _note(self, start: Start) -> Path | None:
        if self._shared is None:
            return None
        return self._shared / f"{hashlib.sha256(msgspec.json.encode(start)).hexdigest()[:32]}.failed"
