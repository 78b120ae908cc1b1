"""What a start is to be, checked before anything is made: the plan as it runs, the guest's settings, the volumes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rumpel.errors import RumpelError, UsageError
from rumpel.machine.accelerator import Asked, Choice
from rumpel.machine.command import Counted, Launch
from rumpel.machine.memory import check_memory
from rumpel.machine.volumes import Place
from rumpel.resolve.plan import Plan
from rumpel.resolve.settings import at_start, encode_settings, settings_of

if TYPE_CHECKING:
    from rumpel.machine.options import Image, Options


@dataclass(frozen=True)
class Prepared:
    """`plan` as this start runs it, its settings as the guest reads them, and the same without secrets."""

    plan: Plan
    settings: bytes
    open_settings: bytes

    @property
    def confidential(self) -> bool:
        return self.settings != self.open_settings


def prepare(plan: Plan, image: Image, options: Options) -> Prepared:
    """Raises UsageError for what does not fit the plan, and for an image that does not fit into the memory."""
    check_ports(plan, options)
    run = at_start(plan, options.settings)
    if options.settings.secrets and not (plan.kernel.init or plan.kernel.recipe == "nano"):
        raise UsageError(
            f"The kernel '{plan.kernel.name}' gives a program no secrets.",
            hint="Choose 'nano', or one with Rumpel's init, such as 'linux' or 'debian'.",
        )
    encoded = encode_settings(settings_of(plan, options.settings))
    without = msgspec.structs.replace(options.settings, secrets=())
    if options.record and options.settings.secrets:
        raise UsageError(
            "A recording would hold the secrets.", hint="Leave out '--secret', or do without the recording."
        )
    rootfs = Path(image.rootfs) if image.rootfs else None
    check_memory(plan, Path(image.kernel), rootfs, options.memory or plan.machine.memory)
    return Prepared(run, encoded, encode_settings(settings_of(plan, without)))


def asked_accelerator(options: Options) -> Asked:
    """The accelerator that is asked for; only TCG counts instructions. Raises UsageError where both are asked."""
    if options.seed is None and not options.record:
        return options.accelerator
    if options.accelerator == "kvm":
        raise UsageError(
            "KVM cannot count the guest's instructions, which recordings and seeds need.",
            hint="Leave the accelerator out, or choose 'tcg'.",
        )
    return "tcg"


def launch_of(
    image: Image, options: Options, qemu: str, choice: Choice, settings: Path, volumes: Mapping[str, str]
) -> Launch:
    """What the command line is made of."""
    return Launch(
        kernel=image.kernel, rootfs=image.rootfs, disk=image.disk, settings=str(settings), qemu=qemu,
        accelerator=choice.name, memory=options.memory, cpus=options.cpus, ports=dict(options.ports),
        firmware=image.firmware, volumes=volumes, halted=options.halted, debugger=options.debugger,
        counted=None if options.seed is None else Counted("seeded", options.seed),
    )  # fmt: skip


def place_of(plan: Plan, image: Image, options: Options) -> Place:
    """Where the volumes of this start are."""
    asked = options.settings.volumes
    return Place(
        options.name or plan.composition,
        Path(options.volumes).absolute() if options.volumes else None,
        Path(image.project) if image.project else None,
        files={volume.name: Path(volume.file).absolute() for volume in asked if volume.file},
        sizes={volume.name: volume.size for volume in asked if volume.size},
    )


def write_settings(path: Path, encoded: bytes) -> None:
    """The settings may hold secrets: the file is readable for this user only, from its first byte."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(encoded)


def check_ports(plan: Plan, options: Options) -> None:
    names = {port.name for port in plan.ports}
    for name, number in options.ports:
        if name not in names:
            raise unknown_port(plan, name)
        if not 0 <= number <= 65535:
            raise UsageError(f"'{number}' is not a port.", hint="A port is a number from 1 to 65535; 0: any free one.")


def unknown_port(plan: Plan, name: str) -> RumpelError:
    known = ", ".join(f"'{port.name}'" for port in plan.ports)
    return UsageError(
        f"The composition '{plan.composition}' has no port named '{name}'.",
        hint=f"Its ports are: {known}." if known else "It has no ports.",
    )
