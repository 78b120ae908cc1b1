"""Machines that wait to be used: copies of one that became ready.

    with rumpel.pool("web", size=4, kernel="nano") as pool:
        with pool.take() as vm:
            vm.http().get("/")

The composition is booted once; that machine ends, and its memory, devices and volumes are what every copy begins with
(`machine/template.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import weakref
from types import TracebackType

from rumpel.errors import MachineError, RumpelError, UsageError
from rumpel.harness.images import Bootable
from rumpel.harness.scratch import scratch
from rumpel.harness.start import Start
from rumpel.harness.vm import Vm, options_of
from rumpel.machine.instance import launch
from rumpel.machine.template import Template, TemplateMemory, freeze


class WarmPool:
    """Machines that are ready. Made by `rumpel.pool`. All methods may be called from any thread.

    Every machine has ports, volumes and a folder of its own, and the host's time. Its kernel has random numbers of its
    own; what its program had drawn before the copy was made is the same in all.
    """

    def __init__(
        self, image: Bootable, start: Start, *, size: int, timeout: float | None = None, scale: float = 1.0
    ) -> None:
        if size < 1:
            raise UsageError(f"A pool cannot keep {size} machines.", hint="Its size is 1 or more.")
        if start.ports:
            raise UsageError("The machines of a pool cannot all have the same port.", hint="Leave out 'ports'.")
        if image.plan.ready.kind == "exit":
            raise UsageError(
                f"There can be no pool of '{image.plan.composition}': it is ready when its program has ended.",
                hint="Boot it each time.",
            )
        self._image = image
        self._start = start
        self._size = size
        self._scale = scale
        self._folder = scratch().new(f"{start.name or image.plan.composition}-template")
        self._memory = TemplateMemory(start.memory or image.plan.machine.memory)
        self._idle: list[Vm] = []
        self._lent: weakref.WeakSet[Vm] = weakref.WeakSet()
        self._changed = threading.Condition()
        self._closed = False
        self._paused = False  # a copy failed: the next `take` says why
        try:
            self._template = self._make_template(timeout)
        except BaseException as error:
            self._memory.close()
            if not isinstance(error, MachineError):  # which names files in it
                shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._filler = threading.Thread(target=self._fill, name="rumpel-pool", daemon=True)
        self._filler.start()

    @property
    def size(self) -> int:
        """How many machines it keeps."""
        return self._size

    @property
    def warm(self) -> int:
        """How many machines wait now."""
        with self._changed:
            return len(self._idle)

    @property
    def shared(self) -> int:
        """The memory of the original, in bytes: it is there once, and of it a machine has for itself what it wrote."""
        return os.fstat(self._memory.memory).st_blocks * 512

    def wait_warm(self, timeout: float = 60.0) -> bool:
        """Wait until all machines wait, at most `timeout` seconds; whether they do."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._idle) >= self._size or self._paused or self._closed, timeout * self._scale
            )
            return len(self._idle) >= self._size

    def take(self) -> Vm:
        """A machine that is ready and that nobody has used; it is the caller's, who closes it. Where none waits, one
        is started now. Raises UsageError for a pool that is closed, MachineError or HostError where a copy cannot be
        started."""
        while True:
            with self._changed:
                if self._closed:
                    raise UsageError("The pool is closed.")
                vm = self._idle.pop(0) if self._idle else None
                self._paused = False
                self._changed.notify_all()
            if vm is None:
                vm = self._copy_now()
            elif vm.ended:  # it died while it waited
                vm.close()
                continue
            with self._changed:
                if not self._closed:
                    self._lent.add(vm)
                    return vm
            vm.close()

    def close(self) -> None:
        """Close all machines, those that were taken too. May be called twice."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._filler.join()
        for vm in (*self._idle, *self._lent):
            vm.close()
        self._idle.clear()
        self._memory.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> WarmPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _make_template(self, timeout: float | None) -> Template:
        plan = self._image.plan
        options = options_of(self._start, plan, self._folder, ports={})
        original = launch(plan, self._image.files, options, self._memory.original())
        with original:
            original.wait_ready((plan.ready.timeout if timeout is None else timeout) * self._scale)
            return freeze(original, self._memory)

    def _copy(self) -> Vm:
        folder = scratch().new(self._start.name or self._image.plan.composition)
        try:
            return Vm(self._image, self._start, folder, scale=self._scale, template=self._template)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _copy_now(self) -> Vm:
        try:
            return self._copy()
        except (OSError, RumpelError) as error:
            if self._closed:  # by another thread, meanwhile
                raise UsageError("The pool is closed.") from error
            raise

    def _fill(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (len(self._idle) < self._size and not self._paused))
                if self._closed:
                    return
            vm = None
            with contextlib.suppress(RumpelError):
                vm = self._copy()
            with self._changed:
                if vm is None:
                    self._paused = True
                elif not self._closed:
                    self._idle.append(vm)
                    vm = None
                self._changed.notify_all()
            if vm is not None:
                vm.close()
