"""`rumpel run`: from a composition's name to a machine that answers."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rumpel.cli.images import BuildChoices, Wanted, build_options, built, composition_options
from rumpel.cli.interrupts import Interrupted, interrupt_main, interruptible
from rumpel.cli.output import echo_json
from rumpel.cli.seconds import Seconds
from rumpel.cli.start import StartWords, start_options, start_settings
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
@click.option("--name", metavar="NAME", default="", help="The machine's name. [the composition's]")
@click.option("-p", "--port", "ports", multiple=True, metavar="HOST:NAME", help="Reach the port NAME on this one.")
@start_options
@click.option("--memory", metavar="SIZE", default="", help="Memory, such as 256M or 1G.")
@click.option("--cpus", metavar="N", type=click.IntRange(1), default=None, help="Number of CPUs.")
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
@click.option("--print-command", is_flag=True, help="Print QEMU's command line, ready to paste; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --detach: print the machine as JSON.")
def run(
    composition: str,
    arguments: tuple[str, ...],
    wanted: Wanted,
    choices: BuildChoices,
    detach: bool,
    name: str,
    ports: tuple[str, ...],
    words: StartWords,
    memory: str,
    cpus: int | None,
    accel: str,
    ready_timeout: float | None,
    stop_timeout: float,
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
    from rumpel.machine.instance import Options, image_of
    from rumpel.machine.registry import check_name

    options = Options(
        name=check_name(name or composition),
        ports=tuple(_host_port(word) for word in ports),
        settings=start_settings(words, arguments),
        memory=_mebibytes(memory),
        cpus=cpus or 0,
        accelerator=accel,  # type: ignore[arg-type]  # click has checked the word
        ready_timeout=ready_timeout or 0.0,
        stop_timeout=stop_timeout,
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
            return _foreground(image.plan, files, options)
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
            instance.console.follow(_to_stdout)
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


def _to_stdout(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        interrupt_main()


def _host_port(word: str) -> tuple[str, int]:
    host, separator, name = word.partition(":")
    if not separator or not name or not host.isdecimal() or int(host) > 65535:
        raise UsageError(
            f"'-p {word}' is not a port.", hint="Write HOST:NAME, such as 8080:http; NAME is a port of the composition."
        )
    return name, int(host)


def _mebibytes(size: str) -> int:
    if not size:
        return 0
    units = {"M": 1, "MIB": 1, "MB": 1, "G": 1024, "GIB": 1024, "GB": 1024}
    digits = size.rstrip("GgMmIiBb")
    unit = units.get(size[len(digits) :].upper())
    if unit is None or not digits.isdecimal() or int(digits) == 0:
        raise UsageError(f"'{size}' is not a size of memory.", hint="Write it as 256M or 1G.")
    return int(digits) * unit
