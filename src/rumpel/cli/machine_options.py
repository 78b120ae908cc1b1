"""The options that say how a machine is started, for every command that starts one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from rumpel.cli.start import StartWords, start_options, start_settings
from rumpel.errors import UsageError

if TYPE_CHECKING:
    from rumpel.machine.instance import Options

P = ParamSpec("P")
R = TypeVar("R")

_NAMES = ("name", "ports", "memory", "cpus", "seed", "qemu", "words")


@dataclass(frozen=True)
class MachineWords:
    """The words of these options, as they were given. `cpus` None: as the composition says."""

    name: str = ""
    ports: tuple[str, ...] = ()
    memory: str = ""
    cpus: int | None = None
    seed: int | None = None
    qemu: str = ""
    words: StartWords = field(default_factory=StartWords)


def machine_options(command: Callable[P, R]) -> Callable[..., R]:
    """Add the options; the command gets their words as `machine_words`."""

    @click.option("--name", metavar="NAME", default="", help="The machine's name. [the composition's]")
    @click.option("-p", "--port", "ports", multiple=True, metavar="HOST:NAME", help="Reach the port NAME on this one.")
    @start_options
    @click.option("--memory", metavar="SIZE", default="", help="Memory, such as 256M or 1G.")
    @click.option("--cpus", metavar="N", type=click.IntRange(1), default=None, help="Number of CPUs.")
    @click.option(
        "--seed", metavar="N", type=click.IntRange(0, (1 << 32) - 1), default=None,
        help="The same random numbers and clock at each start with the same N.",
    )  # fmt: skip
    @click.option(
        "--qemu", metavar="WHICH", default="",
        help="'own', 'system' or a program. [RUMPEL_QEMU, else 'own' where 'rumpel qemu build' has built it]",
    )  # fmt: skip
    @functools.wraps(command)
    def wrapper(*args: P.args, **words: P.kwargs) -> R:
        given: dict[str, Any] = {name: words.pop(name) for name in _NAMES}
        words["machine_words"] = MachineWords(**given)
        return command(*args, **words)

    return wrapper


def machine_start(composition: str, given: MachineWords, arguments: tuple[str, ...]) -> Options:
    """What the words ask for. Raises UsageError for what no start can be given."""
    from rumpel.machine.instance import Options
    from rumpel.machine.registry import check_name

    return Options(
        name=check_name(given.name or composition),
        ports=tuple(_host_port(word) for word in given.ports),
        settings=start_settings(given.words, arguments),
        memory=_mebibytes(given.memory),
        cpus=given.cpus or 0,
        seed=given.seed,
        qemu=given.qemu,
    )


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
