"""Machines that begin as copies of one that is ready, in a fraction of its boot and of its memory.

    memory = TemplateMemory(256)                             # MiB
    original = launch(plan, image, options, memory.original())
    original.wait_ready()
    template = freeze(original, memory)                      # the original ends; what it was is kept
    copy = launch_copy(plan, image, options, template)

The original's memory is a file without a name (memfd_create(2)) that it maps shared. The state of its devices is
written into another one by a migration that leaves the memory out (QEMU `docs/devel/migration.rst`, capability
`x-ignore-shared`). A copy maps the memory privately: a page that it never writes is there once for all copies. What a
machine wrote to its volumes lies in a qcow2 file above their images; a copy puts one more above that.

Nothing here has a name on a disk but these qcow2 files; the rest is gone with the last process that holds it.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from rumpel.errors import MachineError
from rumpel.machine.command import Ram
from rumpel.machine.control import Report
from rumpel.machine.instance import Image, Instance, Options, launch
from rumpel.machine.renewal import go_on
from rumpel.resolve.plan import Plan

_LONGEST_MIGRATION = 60.0  # seconds
_STATE = "devices"
# Linux include/uapi/linux/fcntl.h; whether Python knows them depends on what it was built with.
_F_ADD_SEALS = 1033
_SEALS = 0x2 | 0x4 | 0x8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE

Layers = tuple[tuple[str, tuple[str, ...]], ...]


class TemplateMemory:
    """The two files: the memory of a machine, `size` MiB, and the state of its devices."""

    def __init__(self, size: int) -> None:
        self.memory = os.memfd_create("rumpel-memory", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.state = os.memfd_create("rumpel-devices", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memory, size << 20)

    def original(self) -> Ram:
        """For the machine that is to be copied."""
        return Ram(self.memory, copy=False)

    def seal(self) -> None:
        """From now on nobody can change what is in them. Nothing may map them shared any more."""
        for descriptor in (self.memory, self.state):
            fcntl.fcntl(descriptor, _F_ADD_SEALS, _SEALS)

    def close(self) -> None:
        """Copies that run keep what they need."""
        for descriptor in (self.memory, self.state):
            os.close(descriptor)


@dataclass(frozen=True)
class Template:
    """A machine as it was: its memory and devices, the files of its volumes, what its guest had reported. `qemu` is the
    program that ran it: another one may not understand its state."""

    memory: TemplateMemory
    layers: Layers
    report: Report
    qemu: str


def freeze(instance: Instance, memory: TemplateMemory) -> Template:
    """Make a template of a machine that runs in `memory`; the machine ends. Raises MachineError where QEMU refuses."""
    instance.qmp("stop")
    instance.running.settle()
    report = copy.copy(instance.running.report)
    _set_capabilities(instance, ("x-ignore-shared", "events"), True)
    _migrate(instance, "migrate", memory.state)
    scratch = instance.scratch
    layers = tuple(
        (name, (image, *(() if scratch is None or name not in scratch.overlays else (scratch.overlays[name],))))
        for name, image in instance.image_files.items()
    )
    instance.kill()
    memory.seal()
    return Template(memory, layers, report, instance.qemu)


def launch_copy(plan: Plan, image: Image, options: Options, template: Template) -> Instance:
    """Start a copy; it runs when this returns, with time and random numbers of its own (see `renewal`). `plan`, `image`
    and `options` are the original's but for the options' folders and ports. It runs on the original's QEMU, whatever
    the options say.

    Raises what `launch` raises, and MachineError where QEMU refuses the state or the guest the renewal.
    """
    options = msgspec.structs.replace(options, qemu=template.qemu)
    # Opened anew, as the position in a file is shared by all who inherit it.
    state = os.open(f"/proc/self/fd/{template.memory.state}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        instance = launch(plan, image, options, Ram(template.memory.memory, copy=True))
        try:
            _set_capabilities(instance, ("x-ignore-shared", "events"), True)
            _migrate(instance, "migrate-incoming", state)
            _set_capabilities(instance, ("x-ignore-shared",), False)  # its own snapshots hold all its memory
            instance.running.set_report(template.report)
            renewal = go_on(instance)
            if renewal is not None:
                renewal.wait()
            instance.set_ready()
        except BaseException:
            instance.close()
            raise
        return instance
    finally:
        os.close(state)


def _set_capabilities(instance: Instance, names: Sequence[str], state: bool) -> None:
    instance.qmp("migrate-set-capabilities", capabilities=[{"capability": name, "state": state} for name in names])


def _migrate(instance: Instance, command: str, descriptor: int) -> None:
    """Run `command` and wait for its end (QEMU `qapi/migration.json`, event MIGRATION)."""
    seen = len(instance.events)
    instance.running.monitor.give(_STATE, descriptor)
    instance.qmp(command, uri=f"fd:{_STATE}")

    def over() -> str:
        states = [str(event.data.get("status")) for event in instance.events[seen:] if event.name == "MIGRATION"]
        return states[-1] if states and states[-1] in ("completed", "failed") else ""

    with instance.running.changed:
        instance.running.changed.wait_for(lambda: instance.ended or over(), _LONGEST_MIGRATION)
    if over() == "completed":
        return
    reason = "it did not end"
    with contextlib.suppress(MachineError):
        reason = str(instance.qmp("query-migrate").get("error-desc", reason))
    raise instance.failed(f"QEMU could not do '{command}': {reason}.")
