"""Commands about Rumpel itself: setup, test, scons, python, version, help."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from rumpel.cli import bootstrap
from rumpel.cli.project import CHECKOUT, project_root, unknown
from rumpel.cli.terminal import bold, say

PASS_ON = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command()
@click.option("--test", "level", flag_value="test", default="run", help="Also what only the tests need.")
def setup(level: str) -> None:
    """Install what is missing: Python's packages into '.venv', Debian's through apt. Does nothing else."""
    wanted = bootstrap.TEST if level == "test" else bootstrap.RUN
    bootstrap.set_up(CHECKOUT, wanted, verify=True)
    say("Everything is set up. 'rumpel list' shows the compositions, 'rumpel run NAME' starts one.")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--fast", is_flag=True, help="Boot no machine and leave out what is slow: under three minutes.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST'S WORDS]...")
def test(fast: bool, words: tuple[str, ...]) -> NoReturn:
    """Run the tests with pytest, real boots included. What pytest knows is passed on: paths, -k, -x, -m, ...

    Without a path all tests run, two at a time.
    """
    bootstrap.set_up(CHECKOUT, bootstrap.TEST)
    options = ["-m", "not slow and not boot"] if fast else []
    if not _names_a_path(words):
        os.chdir(CHECKOUT)  # pytest takes its own list of paths only here
        if not any(word.startswith(("-n", "--numprocesses", "--pdb")) for word in words):
            options += ["-n", "2", "--dist", "loadfile"]
    configuration = ["--rootdir", str(CHECKOUT), "-c", str(CHECKOUT / "pyproject.toml")]
    _become("-m", "pytest", *configuration, *options, *words)


def _names_a_path(words: Sequence[str]) -> bool:
    return any(not word.startswith("-") and Path(word.partition("::")[0]).exists() for word in words)


@click.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[SCONS' WORDS]...")
def scons(words: tuple[str, ...]) -> NoReturn:
    """Run SCons in Rumpel's environment, in the project's folder."""
    if not Path("SConstruct").exists():
        root = project_root()
        os.chdir(root if (root / "SConstruct").exists() else CHECKOUT)
    _become("-m", "SCons", *words)


@click.command(context_settings=PASS_ON)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[PYTHON'S WORDS]...")
def python(words: tuple[str, ...]) -> NoReturn:
    """Run Python in Rumpel's environment: 'import rumpel' works."""
    _become(*words)


def _become(*words: str) -> NoReturn:
    sys.stdout.flush()
    interpreter = str(CHECKOUT / ".venv/bin/python")
    os.execv(interpreter, [interpreter, *words])


@click.command()
def version() -> None:
    """Print the version."""
    import rumpel

    click.echo(f"rumpel {rumpel.__version__}")


@click.command("help")
@click.argument("topic", required=False)
@click.pass_context
def help_(context: click.Context, topic: str | None) -> None:
    """Show help on a command, or on 'exit-statuses'."""
    from rumpel.cli.main import COMMANDS, rumpel

    root = context.find_root()
    if topic is None:
        click.echo(rumpel.get_help(root))
        return
    if topic == "exit-statuses":
        click.echo(_exit_statuses())
        return
    command = rumpel.get_command(root, topic)
    if command is None:
        raise unknown("help on", topic, [*COMMANDS, "exit-statuses"])
    with click.Context(command, info_name=topic, parent=root) as inner:
        click.echo(command.get_help(inner))


def _exit_statuses() -> str:
    """The table of docs/exit-statuses.md as plain text."""
    lines = (CHECKOUT / "docs/exit-statuses.md").read_text().splitlines()
    rows = [line.strip("| ").replace("`", "").split(" | ") for line in lines if line.startswith("| `")]
    formatter = click.HelpFormatter(width=80)
    with formatter.section(bold("Exit statuses")):
        formatter.write_dl([(status, meaning) for status, meaning in rows])
    formatter.write("\n'rumpel run' ends with the guest program's own status when the program ends by itself.\n")
    return formatter.getvalue().rstrip("\n")
