"""What is asked of a machine of the harness: which image, and how it is started. Equal records, equal machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rumpel.errors import UsageError
from rumpel.harness.images import Wanted, project_of
from rumpel.machine.accelerator import Asked
from rumpel.resolve.plan import Frozen

_UNITS = {"": 1, "M": 1, "MIB": 1, "G": 1024, "GIB": 1024}


class Start(Frozen, frozen=True):
    """One way to start one image. `memory` is in MiB, `clock` in seconds; 0, empty and None leave what the
    composition says. `ports`: host port by port name; every other port gets a free one."""

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

    def __str__(self) -> str:
        """As a person would say it: "sqlite-web (kernel debian, memory 64 MiB)"."""
        wanted = self.wanted
        said = [("kernel", wanted.kernel), ("machine", wanted.machine), *wanted.variables]
        said += [("memory", f"{self.memory} MiB" if self.memory else ""), ("cpus", str(self.cpus or ""))]
        said += list(self.environment)
        words = ", ".join(f"{name} {value}" for name, value in said if value)
        return f"{wanted.composition} ({words})" if words else wanted.composition


def make_start(
    composition: str,
    *,
    kernel: str = "",
    machine: str = "",
    memory: str | int = 0,
    cpus: int = 0,
    arguments: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    variables: Mapping[str, object] | None = None,
    ports: Mapping[str, int] | None = None,
    hostname: str | None = None,
    clock: int | None = None,
    accel: Asked = "auto",
    name: str = "",
    project: str | Path | None = None,
) -> Start:
    """The record of what is asked for. Raises UsageError for a size that is none, or an unknown accelerator."""
    if accel not in ("auto", "tcg", "kvm"):
        raise UsageError(f"There is no accelerator '{accel}'.", hint="There are: auto, tcg, kvm.")
    wanted = Wanted(
        composition=composition,
        project=str(project_of(Path.cwd()) if project is None else Path(project).absolute()),
        kernel=kernel,
        machine=machine,
        variables=tuple(sorted((key, str(value)) for key, value in (variables or {}).items())),
    )
    return Start(
        wanted=wanted, memory=mebibytes(memory), cpus=cpus, arguments=None if arguments is None else tuple(arguments),
        environment=tuple(sorted((env or {}).items())), ports=tuple(sorted((ports or {}).items())), hostname=hostname,
        clock=clock, accelerator=accel, name=name or composition,
    )  # fmt: skip


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
