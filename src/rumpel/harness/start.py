"""What is asked of a machine of the harness: which image, and how it is started. Equal records, equal machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import msgspec

from rumpel.errors import UsageError
from rumpel.harness.images import Wanted, project_of
from rumpel.machine.accelerator import Asked
from rumpel.resolve.plan import Frozen

_UNITS = {"": 1, "M": 1, "MIB": 1, "G": 1024, "GIB": 1024}


class Start(Frozen, frozen=True):
    """One way to start one image. `memory` is in MiB, `clock` in seconds; 0, empty and None leave what the
    composition says. `ports`: host port by port name; every other port gets a free one. `record` is a folder; a
    relative one is in the machine's own."""

    wanted: Wanted
    memory: int = 0
    cpus: int = 0
    arguments: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    hostname: str | None = None
    clock: int | None = None
    accelerator: Asked = "auto"
    name: str = ""
    seed: int | None = None
    record: str = ""

    def __str__(self) -> str:
        """As a person would say it: "sqlite-web (kernel debian, memory 64 MiB)"."""
        wanted = self.wanted
        said = [("kernel", wanted.kernel), ("machine", wanted.machine), *wanted.variables]
        said += [("memory", f"{self.memory} MiB" if self.memory else ""), ("cpus", str(self.cpus or ""))]
        said += [("seed", "" if self.seed is None else str(self.seed)), *self.environment]
        words = ", ".join(f"{name} {value}" for name, value in said if value)
        return f"{wanted.composition} ({words})" if words else wanted.composition


class Words(TypedDict, total=False):
    """What may be said of a start; what is left out is as the composition says.

    `kernel` and `machine` by name; `memory` in MiB or as "64M"; `cpus`; the program's `arguments`; `env`, variables of
    its environment; `variables` of the composition; `ports`, the host's port by the port's name (every other port gets
    a free one); `hostname`; `clock`, seconds by which the guest's clock is ahead; `accel`, "auto" (measured), "tcg" or
    "kvm"; `name`, the machine's (the composition's); `project`, the project's folder, else the nearest one above the
    working directory (Rumpel's own compositions are found from everywhere); `seed`, from which all random numbers of
    the guest and its clock come; `record`, a folder that is not there yet, for `rumpel replay`, or False: not even
    where the tests are run with `--rumpel-record`.
    """

    kernel: str
    machine: str
    memory: str | int
    cpus: int
    arguments: Sequence[str] | None
    env: Mapping[str, str] | None
    variables: Mapping[str, object] | None
    ports: Mapping[str, int] | None
    hostname: str | None
    clock: int | None
    accel: Asked
    name: str
    project: str | Path | None
    seed: int | None
    record: str | Path | Literal[False] | None


def make_start(composition: str, **words: Unpack[Words]) -> Start:
    """The record of what is asked for. Raises UsageError for a word that there is not, a size that is none, or an
    unknown accelerator."""
    for word in words:
        if word not in Words.__annotations__:
            raise UsageError(f"A start has no option '{word}'.", hint=_suggestion(word))
    accel = words.get("accel", "auto")
    if accel not in ("auto", "tcg", "kvm"):
        raise UsageError(f"There is no accelerator '{accel}'.", hint="There are: auto, tcg, kvm.")
    seed, record = words.get("seed"), words.get("record")
    if seed is not None and not 0 <= seed < 1 << 32:
        raise UsageError(f"'{seed}' is not a seed.", hint="A seed is a number from 0 to 4294967295.")
    project, arguments = words.get("project"), words.get("arguments")
    wanted = Wanted(
        composition=composition,
        project=str(project_of(Path.cwd()) if project is None else Path(project).absolute()),
        kernel=words.get("kernel", ""),
        machine=words.get("machine", ""),
        variables=tuple(sorted((key, str(value)) for key, value in (words.get("variables") or {}).items())),
    )
    return Start(
        wanted=wanted, memory=mebibytes(words.get("memory", 0)), cpus=words.get("cpus", 0),
        arguments=None if arguments is None else tuple(arguments),
        environment=tuple(sorted((words.get("env") or {}).items())),
        ports=tuple(sorted((words.get("ports") or {}).items())), hostname=words.get("hostname"),
        clock=words.get("clock"), accelerator=accel, name=words.get("name", "") or composition,
        seed=seed, record=str(Path(record).absolute()) if record else "",
    )  # fmt: skip


def _suggestion(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, Words.__annotations__, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(Words.__annotations__)}."


def with_accelerator(start: Start, accelerator: Asked) -> Start:
    """The same on another accelerator."""
    return msgspec.structs.replace(start, accelerator=accelerator)


def mebibytes(size: str | int) -> int:
    """`256`, `"256M"` or `"1G"` in MiB; 0 and "" are 0. Raises UsageError."""
    text = str(size).strip() or "0"
    digits = text.rstrip("GgMmIiBb")
    unit = _UNITS.get(text[len(digits) :].upper())
    if unit is None or not (digits.isascii() and digits.isdecimal()):
        raise UsageError(f"'{size}' is not a size of memory.", hint="Write it as 256M or 1G.")
    return int(digits) * unit
