"""What is asked of the build on its command line: `composition=NAME kernel=NAME ...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import UsageError
from rumpel.model.names import suggestion

OPTIONS = {
    "composition": "what to build: a name, several joined by commas, or 'all'",
    "kernel": "a kernel in place of the composition's own",
    "machine": "a machine in place of the composition's own",
    "set": "NAME=VALUE: a variable of the composition; may be given several times",
    "locked": "1: a pinned source that is gone is an error",
    "offline": "1: fetch nothing",
    "verbose": "1: show every command",
}
_SWITCH = {"0": False, "1": True}


@dataclass(frozen=True)
class Request:
    """A checked command line. `kernel` and `machine` are empty where the composition's own is meant."""

    compositions: tuple[str, ...]
    kernel: str = ""
    machine: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    locked: bool = False
    offline: bool = False
    verbose: bool = False


@dataclass(frozen=True)
class Known:
    """The names that a command line may use."""

    compositions: tuple[str, ...]
    kernels: tuple[str, ...]
    machines: tuple[str, ...]


def read_request(arguments: Sequence[tuple[str, str]], targets: Sequence[str], known: Known) -> Request | None:
    """Check the words of the command line; None where there are none. Raises UsageError."""
    given: dict[str, str] = {}
    variables: list[tuple[str, str]] = []
    for name, value in arguments:
        if name not in OPTIONS:
            raise UsageError(f"There is no option '{name}'.", hint=suggestion(name, OPTIONS, "Options"))
        if name == "set":
            variable, separator, text = value.partition("=")
            if not separator or not variable:
                raise UsageError(f"'set={value}' does not name a value.", hint="Write it as set=NAME=VALUE.")
            variables.append((variable, text))
        else:
            given[name] = value
    if "composition" not in given:
        if targets:
            word = targets[0]
            if Path(word).parts[:1] == ("build",):
                raise UsageError(
                    f"'{word}' can be built only together with its image.", hint="Write composition=NAME before it."
                )
            hint = f"Write it as composition={word}." if word in known.compositions else "Write composition=NAME."
            raise UsageError(f"'{word}' is not an option.", hint=hint)
        if not arguments:
            return None
        raise UsageError("No composition is named.", hint="Write composition=NAME, or composition=all.")
    return Request(
        compositions=_compositions(given["composition"], known.compositions),
        kernel=_one("kernel", given.get("kernel", ""), known.kernels),
        machine=_one("machine", given.get("machine", ""), known.machines),
        variables=tuple(variables),
        locked=_switch("locked", given),
        offline=_switch("offline", given),
        verbose=_switch("verbose", given),
    )


def help_text(known: Known, summaries: Sequence[tuple[str, str]]) -> str:
    """What `scons -h` prints: compositions with their summaries, options, allowed values, an example."""
    width = max(len(name) for name in (*OPTIONS, *known.compositions))
    lines = ["usage: scons composition=NAME [OPTION=VALUE ...] [-j JOBS]", "", "Compositions:"]
    lines += [f"  {name:{width}}  {summary}" for name, summary in summaries]
    lines += ["", "Options:"]
    lines += [f"  {name:{width}}  {text}" for name, text in OPTIONS.items()]
    lines += ["", f"Kernels:  {', '.join(known.kernels)}", f"Machines: {', '.join(known.machines)}", ""]
    lines += ["The image is built in build/COMPOSITION/KERNEL-MACHINE/.", ""]
    return "\n".join(lines)


def _compositions(value: str, known: Sequence[str]) -> tuple[str, ...]:
    if value == "all":
        return tuple(known)
    names = [name for name in value.split(",") if name]
    if not names:
        raise UsageError("'composition=' names no composition.", hint=f"Compositions: {', '.join(known)}.")
    return tuple(dict.fromkeys(_one("composition", name, known) for name in names))


def _one(kind: str, name: str, known: Sequence[str]) -> str:
    if name and name not in known:
        raise UsageError(f"There is no {kind} '{name}'.", hint=suggestion(name, known, f"{kind.capitalize()}s"))
    return name


def _switch(name: str, given: dict[str, str]) -> bool:
    value = given.get(name, "0")
    if value not in _SWITCH:
        raise UsageError(f"'{name}={value}' is neither {name}=0 nor {name}=1.")
    return _SWITCH[value]
