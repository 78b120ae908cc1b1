"""`rumpel replay`: a recorded run, once more."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rumpel.cli.interrupts import Interrupted, interruptible
from rumpel.cli.terminal import say
from rumpel.errors import UsageError

if TYPE_CHECKING:
    from rumpel.debug.symbols import StopAt
    from rumpel.machine.recording import Recorded


@click.command(context_settings={"max_content_width": 100})
@click.argument("directory", metavar="DIR")
@click.argument("gdb_words", nargs=-1, metavar="[-- GDB'S WORDS]...")
@click.option(
    "--debug", "debugged", is_flag=True, help="In GDB; without a network it can also go back: reverse-continue."
)
@click.option(
    "--stop-at", type=click.Choice(["main", "entry", "kernel", "reset"]), default="main",
    help="With --debug: where GDB gets the machine, as 'rumpel debug' has it. [main]",
)  # fmt: skip
def replay(directory: str, gdb_words: tuple[str, ...], debugged: bool, stop_at: StopAt) -> int:
    """Run the machine again that was recorded in DIR by 'rumpel run --record' or by a test.

    It needs nothing of what was around: no network, no volumes, no test. The console is the same, byte for byte, and so
    is every instruction; the recording is only read. Ends with the recorded program's status; with 5 where the replay
    is not what was recorded.
    """
    from rumpel.machine.recording import load_recording

    if gdb_words and not debugged:
        raise UsageError("Words for GDB need '--debug'.", hint=f"Write: rumpel replay --debug {directory} -- ...")
    recorded = load_recording(Path(directory))
    with interruptible():
        try:
            return _in_gdb(recorded, stop_at, gdb_words) if debugged else _alone(recorded)
        except Interrupted as signal:
            say(f"Interrupted by {signal}.")
            return signal.exit_status


def _alone(recorded: Recorded) -> int:
    from rumpel.cli.run import to_stdout
    from rumpel.machine.replay import check_replay, launch_replay, wait_for_replay

    with tempfile.TemporaryDirectory(prefix="rumpel-replay-") as work, launch_replay(recorded, Path(work)) as instance:
        instance.console.follow(to_stdout)
        wait_for_replay(instance)
        check_replay(recorded, instance)
        status = instance.exit_status
    ending = recorded.ending
    if status is not None:
        say(f"The program ended with status {status}, as it was recorded.")
        return status
    if ending is None or not ending.whole:
        say("The recording ends here: its machine was killed, and the log is not whole.")
    elif ending.failure:
        say(f"As it was recorded: {ending.failure}")
        return 5
    else:
        say("The recording ends here: the machine was stopped.")
    return 0


def _in_gdb(recorded: Recorded, stop_at: StopAt, words: tuple[str, ...]) -> int:
    from rumpel.cli.debug import in_gdb
    from rumpel.debug.session import find_gdb, session_folder, socket_in
    from rumpel.debug.symbols import knowledge_of
    from rumpel.machine.instance import Image
    from rumpel.machine.replay import check_debugging, launch_replay

    find_gdb()
    check_debugging(recorded)
    image = Image(kernel=recorded.image("kernel"), project=recorded.recording.project)
    with session_folder() as folder:
        plan = recorded.recording.plan
        knowledge = knowledge_of(plan, image, folder, stop_at)
        if any(device.backend == "net-user" for device in plan.devices):
            say("QEMU cannot run a machine with a network backwards: 'reverse-continue' and the like do not end.")
        with launch_replay(recorded, folder, socket_in(folder)) as instance:
            return in_gdb(instance, knowledge, folder, words)
