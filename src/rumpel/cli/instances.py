"""Commands about machines that run or ran: ps, logs, stop."""

from __future__ import annotations

import sys
import time

import click

from rumpel.cli.output import echo_json, echo_table
from rumpel.cli.seconds import Seconds
from rumpel.cli.terminal import say
from rumpel.errors import InstanceError, UsageError
from rumpel.machine.registry import Seen, console_log, find_instance, list_instances, stop_instance
from rumpel.resolve.plan import Frozen


class Row(Frozen, frozen=True):
    """One machine, as `ps --json` prints it. `started` is in seconds since 1970, `status` the program's exit status."""

    name: str
    composition: str
    kernel: str
    machine: str
    accelerator: str
    state: str
    started: float
    status: int | None
    ports: dict[str, int]
    urls: dict[str, str]
    qemu: int
    directory: str


def row_of(seen: Seen) -> Row:
    """What is shown of an instance."""
    record = seen.record
    return Row(
        name=record.name, composition=record.composition, kernel=record.kernel, machine=record.machine,
        accelerator=record.accelerator, state=seen.state, started=record.started, status=record.status,
        ports=record.ports, urls=record.urls, qemu=record.qemu, directory=str(seen.directory),
    )  # fmt: skip


@click.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Also machines that ended.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ps(everything: bool, as_json: bool) -> None:
    """List the machines of this user that run, with their addresses."""
    rows = [row_of(seen) for seen in list_instances() if everything or seen.running]
    if as_json:
        echo_json(rows)
        return
    if not rows:
        say("No machine runs." if not everything else "No machine ran yet.")
        return
    echo_table(
        ("NAME", "COMPOSITION", "KERNEL", "MACHINE", "STATE", "SINCE", "ADDRESS"),
        [
            (row.name, row.composition, row.kernel, row.machine, _state(row), _ago(row.started), _address(row))
            for row in rows
        ],
    )


def _state(row: Row) -> str:
    return f"{row.state} ({row.status})" if row.status is not None else row.state


def _address(row: Row) -> str:
    if row.state not in ("starting", "ready"):
        return ""
    return " ".join(row.urls.values() or (f"{name}:{port}" for name, port in row.ports.items()))


def _ago(started: float) -> str:
    seconds = max(0, int(time.time() - started))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@click.command()
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the machine ends or Ctrl-C.")
def logs(name: str | None, follow: bool) -> None:
    """Show the console of a machine: what the kernel and the program wrote. NAME may be left out if one runs."""
    seen = find_instance(name) if name is not None else _the_only_one()
    output = sys.stdout.buffer
    with console_log(seen.record.name).open("rb") as log:
        while True:
            runs = follow and find_instance(seen.record.name).running
            while chunk := log.read(1 << 16):
                output.write(chunk)
            output.flush()
            if not runs:
                return
            time.sleep(0.1)


def _the_only_one() -> Seen:
    running = [seen for seen in list_instances() if seen.running]
    if len(running) == 1:
        return running[0]
    if not running:
        raise InstanceError("No machine runs.", hint="'rumpel ps --all' lists what ran; name one to see its console.")
    names = ", ".join(seen.record.name for seen in running)
    raise UsageError(f"Several machines run: {names}.", hint="Name the one to show.")


@click.command()
@click.argument("names", nargs=-1)
@click.option("-a", "--all", "everything", is_flag=True, help="Stop all machines of this user.")
@click.option("--timeout", metavar="SECONDS", type=Seconds(), default=10.0, help="What the guest gets. [10]")
def stop(names: tuple[str, ...], everything: bool, timeout: float) -> None:
    """Stop machines: the program is asked to end; after the deadline QEMU is told to quit, then killed."""
    if everything:
        names = tuple(seen.record.name for seen in list_instances() if seen.running)
        if not names:
            say("No machine runs.")
    elif not names:
        raise UsageError("'rumpel stop' needs the name of a machine.", hint="'rumpel ps' lists what runs.")
    words = {
        "ended": "had ended already",
        "asked": "ended when asked",
        "quit": "did not end when asked: QEMU was told to quit",
        "killed": "did not end when asked: it was killed",
    }
    for name in names:
        say(f"'{name}' {words[stop_instance(name, timeout=timeout)]}.")
