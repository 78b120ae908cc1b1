"""The entry of the command line: finds the command, runs it, and turns whatever comes out into words and a status."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import click

from rumpel import __version__
from rumpel.cli.terminal import bold, error_prefix, say
from rumpel.errors import HostError, RumpelError

INTERRUPTED = 130
BUG = 70
# Errors of the operating system that a user can cause and mend.
MACHINES_ERRORS = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM),
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE),
    }
)

# Section -> command -> where it is (module:attribute), what it does.
SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Machines": {
        "run": ("run:run", "Build a composition, boot it and wait until it answers"),
        "ps": ("instances:ps", "List the machines that run"),
        "logs": ("instances:logs", "Show a machine's console"),
        "debug": ("debug:debug", "Open a machine in GDB, with the symbols of its kernel and program"),
        "replay": ("replay:replay", "Run a recorded machine again, the same in every instruction"),
        "stop": ("instances:stop", "Stop machines: ask the program, then a deadline, then kill"),
        "volume": ("volume:volume", "Look into volumes, fill, copy, grow and remove them"),
    },
    "Compositions": {
        "list": ("compositions:list_", "List the compositions of this project"),
        "explain": ("compositions:explain", "Show what a composition is made of, and why"),
        "plan": ("compositions:plan", "Print a composition's plan as stable JSON"),
        "build": ("build:build", "Build images"),
        "fetch": ("sources:fetch", "Bring sources into the store, for builds without network"),
        "lock": ("sources:lock", "Show the pinned sources, or move a pin"),
    },
    "Parts": {
        "component": ("component:component", "Write a first description of a component from a Debian package"),
    },
    "This machine": {
        "setup": ("tools:setup", "Install what is missing, and nothing else"),
        "qemu": ("qemu:qemu", "Say which QEMU runs the machines; build a small one that starts sooner"),
        "doctor": ("doctor:doctor", "Say what this machine has and lacks"),
        "test": ("tools:test", "Run the tests, real boots included"),
        "scons": ("tools:scons", "Run SCons in Rumpel's environment"),
        "python": ("tools:python", "Run Python in Rumpel's environment"),
        "version": ("tools:version", "Print the version"),
        "help": ("tools:help_", "Show help on a command, or on 'exit-statuses'"),
    },
}
COMMANDS = {name: where for section in SECTIONS.values() for name, where in section.items()}


class Commands(click.Group):
    """The commands by name; the module of a command is imported when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"rumpel.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " 'rumpel --help' lists the commands."
            raise click.UsageError(f"There is no command '{name}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), summary) for name, (_, summary) in commands.items()])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'rumpel COMMAND --help' says more. 'rumpel help exit-statuses' lists what commands end with.",
)
@click.option(
    "--project",
    metavar="DIR",
    envvar="RUMPEL_PROJECT",
    help="The project: the folder that holds 'compositions/'. Default: the nearest such folder from here upwards, "
    "else the one that Rumpel itself is in.",
)
@click.version_option(__version__, message="rumpel %(version)s")
def rumpel(project: str | None) -> None:
    """Composes small single-purpose virtual machines out of parts, and runs them."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit status."""
    _open_standard_streams()
    try:
        status = rumpel.main(args=list(arguments), prog_name="rumpel", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except RumpelError as error:
        output = getattr(error, "output", "")
        said = f"{error.message}\n{output}\n{error.hint}".rstrip("\n") if output else str(error)
        say(f"{error_prefix()}{said}")
        return error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        message = _no_such_option(error) if isinstance(error, click.NoSuchOption) else error.format_message()
        say(f"{error_prefix()}{message}")
        if context is not None and context.command_path != "rumpel":
            say(f"'{context.command_path} --help' shows how it is used.")
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has gone ('rumpel plan web | head'): nothing is wrong. What is still buffered goes nowhere.
        _drop_output()
        return 128 + 13
    except OSError as error:
        if error.errno not in MACHINES_ERRORS:
            return _bug()
        if error.filename is None:
            _drop_output()
        where = f"'{os.fsdecode(error.filename)}': " if isinstance(error.filename, str | bytes) else ""
        say(f"{error_prefix()}{where}{error.strerror}.\nCheck the space on the disk and the permissions there.")
        return HostError.exit_status
    except Exception:
        return _bug()


def _bug() -> int:
    """Show the error that is being handled as what it is."""
    import traceback

    traceback.print_exc()
    say(f"{error_prefix()}{bold('This is a bug in Rumpel')}: please report it with the lines above.")
    return BUG


def _drop_output() -> None:
    """What is still buffered for standard output goes nowhere: it cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_standard_streams() -> None:
    """What the caller has closed (`rumpel ps >&-`) becomes /dev/null: no file that is opened later may take its number
    and get what is said."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _no_such_option(error: click.NoSuchOption) -> str:
    from difflib import get_close_matches

    options = [word for each in error.ctx.command.params for word in each.opts] if error.ctx is not None else []
    near = get_close_matches(error.option_name, options, n=1)
    return f"There is no option '{error.option_name}'." + (f" Did you mean '{near[0]}'?" if near else "")
