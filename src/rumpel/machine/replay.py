"""A recording that runs again: the same machine, without the world; looked at and compared with what it was.

with launch_replay(recorded, work) as instance:
    wait_for_replay(instance)
    check_replay(recorded, instance)
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path

from rumpel.errors import HostError, MachineError, UsageError
from rumpel.machine.accelerator import Choice
from rumpel.machine.emulator import candidates
from rumpel.machine.instance import Instance, Options
from rumpel.machine.recording import Recorded, qemu_version, replay_launch
from rumpel.machine.registry import Claim
from rumpel.machine.snapshots import make_scratch

_STEP = 0.25  # seconds between two looks


def launch_replay(recorded: Recorded, work: Path, debugger: str = "", qemu: str = "") -> Instance:
    """Start the replay; what it writes goes into the folder `work`, nothing into the recording. `debugger` is the path
    of a socket for a GDB, for which it waits. Of several QEMUs the one that recorded it is taken. Raises what
    `replay_launch` raises, and MachineError."""
    found = candidates(qemu)
    program = next((each for each in found if _is_version(each, recorded.recording.qemu)), found[0])
    how = replay_launch(recorded, program)
    plan = recorded.recording.plan
    written = {volume.name: Path(how.volumes[volume.name]) for volume in plan.volumes if not volume.read_only}
    how = replace(how, scratch=make_scratch(work / "disks", written, program), debugger=debugger)
    directory = work / "machine"
    options = Options(name=plan.composition, directory=str(directory))
    with contextlib.ExitStack() as undo:
        claim = Claim(plan.composition, directory)
        undo.callback(claim.release)
        return Instance(plan, options, how, Choice("tcg", ""), claim, undo.pop_all())


def _is_version(qemu: str, version: str) -> bool:
    try:
        return qemu_version(qemu) == version
    except HostError:
        return False


def check_debugging(recorded: Recorded) -> None:
    """Raises UsageError where GDB cannot look at the replay: whenever a machine is halted QEMU flushes its disks, and
    in a replay waits for ever for the flush to come in the log."""
    written = [volume.name for volume in recorded.recording.plan.volumes if not volume.read_only]
    if written:
        raise UsageError(
            f"QEMU cannot halt a replay that writes to a volume, so GDB cannot look at it: '{written[0]}'.",
            hint=f"Replay it without '--debug', record the run with '--no-volume {written[0]}', or start the machine "
            f"anew with 'rumpel debug {recorded.recording.plan.composition}'.",
        )


def wait_for_replay(instance: Instance) -> None:
    """Wait until the replay has ended; where the log ends before its machine does, QEMU halts, and is ended here."""
    while not instance.ended:
        if any(event.name == "STOP" for event in instance.events):
            instance.running.settle()
            instance.kill()
        instance.running.pause(_STEP)
    instance.running.wait_end(None)
    instance.console.drain()


def check_replay(recorded: Recorded, instance: Instance) -> None:
    """Raises MachineError where the run was not the recorded one: another console, another status. Of a log that QEMU
    could not end the replay may lack the end."""
    ending = recorded.ending
    if ending is None:
        return
    console = (instance.directory / "console.log").read_bytes()
    if not ending.whole:
        if not recorded.console.read_bytes().startswith(console):
            raise _differs(instance, "its console is another one")
        return
    if (hashlib.sha256(console).hexdigest(), len(console)) != (ending.console, ending.size):
        raise _differs(instance, f"its console has {len(console)} bytes, the recorded one {ending.size}")
    if instance.exit_status != ending.status:
        raise _differs(instance, f"its program's status is {instance.exit_status}, the recorded one {ending.status}")


def _differs(instance: Instance, how: str) -> MachineError:
    return instance.failed(f"The replay of '{instance.name}' is not what was recorded: {how}.")
