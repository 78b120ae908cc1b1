"""`rumpel debug`: a machine in GDB."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rumpel.cli.images import BuildChoices, Wanted, build_options, built, composition_options
from rumpel.cli.interrupts import Interrupted, interruptible
from rumpel.cli.machine_options import MachineWords, machine_options, machine_start
from rumpel.cli.terminal import say

if TYPE_CHECKING:
    from rumpel.debug.symbols import Knowledge, StopAt
    from rumpel.machine.instance import Image, Instance, Options
    from rumpel.resolve.plan import Plan

# Seconds: how much later than GDB the machine that it saw ending may be seen to have ended here.
_END_DELAY = 2.0


@click.command(context_settings={"max_content_width": 100})
@click.argument("composition")
@click.argument("gdb_words", nargs=-1, metavar="[-- GDB'S WORDS]...")
@composition_options
@build_options
@machine_options
@click.option("--argument", "arguments", multiple=True, metavar="WORD", help="In place of the program's arguments.")
@click.option(
    "--stop-at", type=click.Choice(["main", "entry", "kernel", "reset"]), default="main",
    help="Where GDB gets the machine: in the program's main, at its first instruction, in the kernel's first "
    "function, before the first instruction of all. [main]",
)  # fmt: skip
@click.option("--print-command", is_flag=True, help="Print QEMU's command line and GDB's; start nothing.")
def debug(
    composition: str,
    gdb_words: tuple[str, ...],
    wanted: Wanted,
    choices: BuildChoices,
    machine_words: MachineWords,
    arguments: tuple[str, ...],
    stop_at: StopAt,
    print_command: bool,
) -> int:
    """Build COMPOSITION and open it in GDB, with the symbols of its kernel and its program.

    The machine waits where --stop-at says, and ends with GDB. Breakpoints may be set in the program before it has
    been started. Ctrl-C stops the machine, not GDB. The words behind '--' are GDB's:

        rumpel debug sqlite-web -- -ex 'break sql_api' -ex continue
    """
    from rumpel.machine.instance import image_of

    options = machine_start(composition, machine_words, arguments)
    with interruptible():
        try:
            image = built(composition, wanted, choices)
            files = image_of(image.manifest, image.directory, image.project)
            if print_command:
                click.echo(_commands(image.plan, files, options, stop_at, gdb_words))
                return 0
            return _debug(image.plan, files, options, stop_at, gdb_words)
        except Interrupted as signal:
            say(f"Interrupted by {signal}.")
            return signal.exit_status


def _debug(plan: Plan, image: Image, options: Options, stop_at: StopAt, words: tuple[str, ...]) -> int:
    from rumpel.debug.session import find_gdb, options_for, session_folder
    from rumpel.debug.symbols import knowledge_of
    from rumpel.machine.instance import launch

    find_gdb()  # before a machine is started for nothing
    with session_folder() as folder:
        knowledge = knowledge_of(plan, image, folder, stop_at)
        with launch(plan, image, options_for(options, folder)) as instance:
            for remark in instance.remarks:
                say(remark)
            for name, number in instance.ports.items():
                say(f"The port '{name}' is 127.0.0.1:{number}.")
            return in_gdb(instance, knowledge, folder, words)


def in_gdb(instance: Instance, knowledge: Knowledge, folder: Path, words: tuple[str, ...]) -> int:
    """Run GDB over a machine that waits for it; the machine's console comes between. GDB's exit status. Raises
    MachineError where QEMU has ended at once."""
    from rumpel.cli.run import to_stdout
    from rumpel.debug.session import gdb_command, run_gdb, wait_for_socket

    wait_for_socket(instance)
    instance.console.follow(to_stdout)
    status = run_gdb(gdb_command(knowledge, folder, words))
    instance.running.wait_end(_END_DELAY)
    if instance.exit_status is not None:
        say(f"The program ended with status {instance.exit_status}.")
    return status if status >= 0 else 128 - status


def _commands(plan: Plan, image: Image, options: Options, stop_at: StopAt, words: tuple[str, ...]) -> str:
    from rumpel.debug.session import gdb_command, options_for, pasteable
    from rumpel.debug.symbols import knowledge_of
    from rumpel.machine.instance import print_command
    from rumpel.machine.registry import instance_directory

    folder = instance_directory(options.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    machine = print_command(plan, image, options_for(options, folder))
    return pasteable(machine, gdb_command(knowledge_of(plan, image, folder, stop_at), folder, words))
