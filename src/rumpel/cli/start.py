"""The options that say how one start differs from the image: what the guest is told, and which volumes it gets."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from rumpel.errors import UsageError

if TYPE_CHECKING:
    from rumpel.resolve.settings import StartSettings, VolumeStart

P = ParamSpec("P")
R = TypeVar("R")

_CLOCK = re.compile(r"([+-]?[0-9]{1,12})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LARGEST_SECRET = 64 * 1024
_NAMES = ("environment", "env_files", "secrets", "hostname", "address", "address6", "clock", "no_arguments", "volumes",
          "sizes", "without")  # fmt: skip


@dataclass(frozen=True)
class StartWords:
    """The words of these options, as they were given."""

    environment: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    hostname: str | None = None
    address: str | None = None
    address6: str | None = None
    clock: str = ""
    no_arguments: bool = False
    volumes: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def start_options(command: Callable[P, R]) -> Callable[..., R]:
    """Add the options; the command gets their words as `words`."""

    @click.option(
        "-e", "--env", "environment", multiple=True, metavar="NAME[=VALUE]",
        help="Set a variable in the guest; without a value, to the one that it has here.",
    )  # fmt: skip
    @click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="Variables, a NAME=VALUE in a line.")
    @click.option(
        "--secret", "secrets", multiple=True, metavar="NAME=FILE",
        help="Put the content of FILE into the guest's /run/secrets/NAME. It is in no command line.",
    )  # fmt: skip
    @click.option("--no-arguments", is_flag=True, help="Start the program without the composition's arguments.")
    @click.option("--hostname", metavar="NAME", help="The guest's host name. [the composition's]")
    @click.option(
        "--address", metavar="ADDRESS/BITS[,GATEWAY[,NAMESERVER]]", help="The guest's IPv4 network, or 'dhcp'."
    )
    @click.option(
        "--address6", metavar="ADDRESS/64[,GATEWAY[,NAMESERVER]]", help="The guest's IPv6 network, or 'auto'."
    )
    @click.option(
        "--clock-offset",
        "clock",
        metavar="TIME",
        default="",
        help="Move the guest's clock, such as by -90, +2h or 30d.",
    )
    @click.option(
        "--volume", "volumes", multiple=True, metavar="NAME=[FILE][:ro]",
        help="Use FILE for the volume NAME; 'ro': only read it.",
    )  # fmt: skip
    @click.option(
        "--volume-size", "sizes", multiple=True, metavar="NAME=SIZE", help="Make the volume NAME so large, such as 1G."
    )
    @click.option("--no-volume", "without", multiple=True, metavar="NAME", help="Start without the volume NAME.")
    @functools.wraps(command)
    def wrapper(*args: P.args, **words: P.kwargs) -> R:
        given: dict[str, Any] = {name: words.pop(name) for name in _NAMES}
        words["words"] = StartWords(**given)
        return command(*args, **words)

    return wrapper


def start_settings(words: StartWords, arguments: tuple[str, ...]) -> StartSettings:
    """What the words ask for. Reads the files that they name; raises UsageError for what no start can be given."""
    from rumpel.resolve.settings import StartSettings, check_start, parse_address, parse_address6

    if arguments and words.no_arguments:
        raise UsageError("'--no-arguments' does not go with arguments.", hint="Leave out one of them.")
    address, gateway, nameserver = (None, None, None) if words.address is None else parse_address(words.address)
    address6, gateway6, nameserver6 = (None, None, None) if words.address6 is None else parse_address6(words.address6)
    variables = [variable for file in words.env_files for variable in _from_file(file)]
    settings = StartSettings(
        arguments=() if words.no_arguments else arguments or None,
        environment=(*variables, *(_variable(f"-e {word}", word) for word in words.environment)),
        hostname=words.hostname,
        address=address,
        gateway=gateway,
        nameserver=nameserver,
        address6=address6,
        gateway6=gateway6,
        nameserver6=nameserver6,
        clock=_clock(words.clock),
        secrets=tuple(_secret(word) for word in words.secrets),
        volumes=tuple(_volumes(words).values()),
    )
    check_start(settings)
    return settings


def _variable(where: str, word: str) -> tuple[str, str]:
    """`NAME=VALUE`, or `NAME` for the value that it has in the caller's environment."""
    from rumpel.resolve.settings import check_variable

    name, separator, value = word.partition("=")
    if not name:
        raise UsageError(
            f"'{where}' names no variable.", hint="Write NAME=VALUE, or NAME for the value that it has here."
        )
    check_variable(name)
    if separator:
        return name, value
    if name not in os.environ:
        raise UsageError(
            f"'{where}' asks for the value that '{name}' has here, but there is no such variable.",
            hint=f"Set it, or write {name}=VALUE.",
        )
    return name, os.environ[name]


def _from_file(name: str) -> Iterator[tuple[str, str]]:
    """The variables of a file: one in a line, what follows '=' as it stands; empty lines and '#' lines say nothing."""
    text = _read(name, "--env-file").decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n"), 1):
        word = line.removesuffix("\r")
        if word.strip() and not word.lstrip().startswith("#"):
            try:
                yield _variable(f"{name}:{number}", word)
            except UsageError as error:
                start = f"'{name}:{number}' "
                message = error.message if error.message.startswith(start) else f"{name}:{number}: {error.message}"
                raise UsageError(message, hint=error.hint) from None


def _secret(word: str) -> tuple[str, bytes]:
    name, separator, file = word.partition("=")
    if not separator or not name or not file:
        raise UsageError(
            "'--secret' needs a name and a file.",  # the word itself may be the secret, by mistake
            hint="Write it as --secret NAME=FILE; FILE holds the secret.",
        )
    return name, _read(file, "--secret")


def _read(name: str, option: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            content = file.read(_LARGEST_SECRET + 1)
    except OSError as error:
        raise UsageError(
            f"The file '{name}' of '{option}' cannot be read: {os.strerror(error.errno or 0)}.",
            hint="Correct its name.",
        ) from error
    if len(content) > _LARGEST_SECRET:
        raise UsageError(
            f"The file '{name}' of '{option}' is larger than 64 KiB, which is what all settings together may take.",
            hint="Put large data into a volume: 'rumpel volume copy-in'.",
        )
    return content


def _clock(word: str) -> int | None:
    if not word:
        return None
    match = _CLOCK.fullmatch(word)
    if match is None:
        raise UsageError(
            f"'--clock-offset {word}' is not a time.",
            hint="Write whole seconds, or a whole number with 's', 'm', 'h' or 'd', such as -90, +2h or 30d.",
        )
    return int(match[1]) * _SECONDS[match[2]]


def _volumes(words: StartWords) -> dict[str, VolumeStart]:
    import msgspec

    from rumpel.model.size import mebibytes
    from rumpel.resolve.settings import VolumeStart

    volumes: dict[str, VolumeStart] = {}
    for word in words.volumes:
        name, separator, rest = word.partition("=")
        file = rest.removesuffix(":ro")
        if not separator or not name or not rest:
            raise UsageError(
                f"'--volume {word}' names no file.", hint="Write NAME=FILE, NAME=FILE:ro, or NAME=:ro for its own file."
            )
        if name in volumes:
            raise UsageError(f"The volume '{name}' is set more than once.", hint="Keep one.")
        path = str(Path(file).expanduser().absolute()) if file else ""
        volumes[name] = VolumeStart(name=name, file=path, read_only=file != rest)
    for word in words.sizes:
        name, separator, size = word.partition("=")
        if not separator or not name:
            raise UsageError(f"'--volume-size {word}' sets nothing.", hint="Write it as --volume-size NAME=128M.")
        volumes[name] = msgspec.structs.replace(volumes.get(name, VolumeStart(name=name)), size=mebibytes(size))
    for name in words.without:
        if name in volumes:
            raise UsageError(
                f"'--no-volume {name}' does not go with other options for that volume.", hint="Leave out one of them."
            )
        volumes[name] = VolumeStart(name=name, absent=True)
    return volumes
