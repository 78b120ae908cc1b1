"""`rumpel run`: from a composition's name to a machine that answers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rumpel.cli.images import BuildChoices, Wanted, build_options, built, composition_options
from rumpel.cli.interrupts import Interrupted, interrupt_main, interruptible
from rumpel.cli.machine_options import MachineWords, machine_options, machine_start
from rumpel.cli.output import echo_json
from rumpel.cli.seconds import Seconds
from rumpel.cli.terminal import bold, same_place, say
from rumpel.errors import MachineError, UsageError

if TYPE_CHECKING:
    from rumpel.machine.instance import Image, Instance, Options
    from rumpel.resolve.plan import Plan


@click.command(context_settings={"max_content_width": 100})
@click.argument("composition")
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENTS]...")
@composition_options
@build_options
@click.option("-d", "--detach", is_flag=True, help="Return when it answers; it runs on until 'rumpel stop'.")
@machine_options
@click.option(
    "--accel", type=click.Choice(["auto", "tcg", "kvm"]), default="auto", help="The accelerator. [auto: measured]"
)
@click.option(
    "--ready-timeout",
    metavar="SECONDS",
    type=Seconds(more_than_none=True),
    help="It must answer by then. [the composition's]",
)
@click.option(
    "--stop-timeout",
    metavar="SECONDS",
    type=Seconds(),
    default=10.0,
    help="The guest gets this long to end. [10]",
)
@click.option("--record", metavar="DIR", default="", help="Record the run into DIR, for 'rumpel replay DIR'.")
@click.option("--print-command", is_flag=True, help="Print QEMU's command line, ready to paste; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --detach: print the machine as JSON.")
def run(
    composition: str,
    arguments: tuple[str, ...],
    wanted: Wanted,
    choices: BuildChoices,
    detach: bool,
    machine_words: MachineWords,
    accel: str,
    ready_timeout: float | None,
    stop_timeout: float,
    record: str,
    print_command: bool,
    as_json: bool,
) -> int:
    """Build COMPOSITION, boot it and wait until it answers.

    The console is streamed until Ctrl-C, which stops the machine cleanly; a second Ctrl-C kills it. ARGUMENTS take
    the place of the composition's. Nothing is rebuilt for what a start is given: arguments, variables, secrets,
    addresses, volumes, ports, memory.

    Ends with the guest program's own status when the program ends by itself.
    """
    if as_json and not detach:
        raise UsageError("'--json' needs '--detach': in the foreground the output is the console.")
    import msgspec

    from rumpel.machine.instance import image_of

    options = msgspec.structs.replace(
        machine_start(composition, machine_words, arguments),
        accelerator=accel,
        ready_timeout=ready_timeout or 0.0,
        stop_timeout=stop_timeout,
        record=record,
    )
    with interruptible():
        try:
            image = built(composition, wanted, choices)
            files = image_of(image.manifest, image.directory, image.project)
            if print_command:
                from rumpel.machine.instance import print_command as command_of

                click.echo(command_of(image.plan, files, options))
                return 0
            if detach:
                return _detached(image.plan, files, options, as_json)
            try:
                return _foreground(image.plan, files, options)
            finally:
                _tell_recording(options.record)
        except Interrupted as signal:
            say(f"Interrupted by {signal}.")
            return signal.exit_status


def _foreground(plan: Plan, files: Image, options: Options) -> int:
    from rumpel.machine.instance import launch

    with launch(plan, files, options) as instance:
        try:
            for remark in instance.remarks:
                say(remark)
            if instance.accelerator.reason:
                say(instance.accelerator.reason)
            instance.console.follow(to_stdout)
            if plan.ready.kind == "exit":
                _wait_for_start(instance, options.ready_timeout or plan.ready.timeout)
            else:
                instance.wait_ready()
                _announce(instance)
            status = instance.wait()
        except MachineError as error:
            if instance.exit_status is None:
                raise _without_what_was_shown(error) from None
            say(error.message)
            return instance.exit_status
        except Interrupted:
            return _stop(instance)
        say(f"The program ended with status {status}.")
        return status


def _tell_recording(record: str) -> None:
    """Where the recording is, if one was made, and what it takes of the disk."""
    from rumpel.machine.recording import is_finished, size_of

    folder = Path(record)
    if record and is_finished(folder):
        say(f"Recorded in {record} ({size_of(folder) / (1 << 20):.1f} MiB); 'rumpel replay {record}' runs it again.")


def _wait_for_start(instance: Instance, limit: float) -> None:
    """A program that is done when it ends may take as long as it likes; its start may not."""
    try:
        instance.wait(limit)
    except TimeoutError:
        if "start" not in instance.stats().marks:
            instance.wait_ready(limit)  # its time is over: raises with all that is known


def _detached(plan: Plan, files: Image, options: Options, as_json: bool) -> int:
    from rumpel.cli.instances import row_of
    from rumpel.machine.detached import start_detached

    seen = start_detached(plan, files, options)
    row = row_of(seen)
    for remark in seen.record.remarks:
        say(remark)
    if as_json:
        echo_json(row)
    else:
        for url in row.urls.values():
            click.echo(url)
    if seen.running:
        say(f"'{row.name}' runs; 'rumpel stop {row.name}' stops it.")
        return 0
    say(f"The program of '{row.name}' ended with status {row.status}.")
    return row.status or 0


def _announce(instance: Instance) -> None:
    """Where the machine answers, and how it is stopped."""
    seconds = instance.stats().marks.get("ready", 0.0)
    addresses = [
        instance.url(port.name) if port.protocol == "tcp" else f"127.0.0.1:{instance.ports[port.name]} (UDP)"
        for port in instance.plan.ports
    ]
    where = f" at {bold(' and '.join(addresses))}" if addresses else ""
    say(f"'{instance.name}' answers{where} after {seconds:.1f} s. Ctrl-C stops it.")


def _stop(instance: Instance) -> int:
    """Ask the machine to end; a second signal kills it."""
    say(f"Stopping '{instance.name}' ... (Ctrl-C again kills it)")
    try:
        took = instance.stop()
    except Interrupted as again:
        instance.kill()
        say(f"'{instance.name}' was killed.")
        return again.exit_status
    words = {"quit": " It did not end when asked: QEMU was told to quit.", "killed": " It had to be killed."}
    say(f"'{instance.name}' has stopped.{words.get(took, '')}")
    return 0


def _without_what_was_shown(error: MachineError) -> MachineError:
    """The same error; where its words go to the place where the console stands already, without the console's end."""
    if same_place():
        error.evidence = replace(error.evidence, console="")
    return error


def to_stdout(data: bytes) -> None:
    """The console as it comes; where nobody reads it any more the command ends."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        interrupt_main()
