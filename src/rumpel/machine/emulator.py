"""Which QEMU runs a machine: the one that Rumpel built (`rumpel qemu build`), or the one that Debian installed.

    find_qemu("auto", plan)         # Rumpel's own, where it is built and has the plan's devices; else Debian's

`own` and `system` ask for one of them, any other word is a program by its name or path. The variable RUMPEL_QEMU says
what no option says.
"""

from __future__ import annotations

import os
import shutil

from rumpel.build.emulators import built_emulator, program_of
from rumpel.errors import HostError
from rumpel.resolve.plan import Plan

SYSTEM_QEMU = "qemu-system-x86_64"
SETTING = "RUMPEL_QEMU"
AUTO, OWN, SYSTEM = "auto", "own", "system"
CHOICES = (AUTO, OWN, SYSTEM)
_BUILD = "`rumpel qemu build` builds it, once, in some minutes; '--qemu system' takes Debian's."


def find_qemu(asked: str, plan: Plan | None = None) -> str:
    """The full path of the QEMU that runs `plan`; empty `asked`: as the setting says, or `auto`.

    Raises HostError where there is none, or the one that was asked for lacks a device of the plan.
    """
    asked = asked or os.environ.get(SETTING, "") or AUTO
    if asked in (AUTO, OWN):
        built = built_emulator()
        lacks = () if built is None or plan is None else built.lacks(plan.machine.qemu_machine, models_of(plan))
        if built is not None and not lacks:
            return str(program_of(built))
        if asked == OWN and built is None:
            raise HostError("Rumpel's own QEMU was asked for, but it is not built yet.", hint=_BUILD)
        if asked == OWN:
            raise HostError(
                f"Rumpel's own QEMU has no {' and no '.join(repr(model) for model in lacks)}.",
                hint="Name what it needs under 'kconfig' of its driver or machine, and run `rumpel qemu build`; "
                "'--qemu system' takes Debian's.",
            )
        asked = SYSTEM
    return _installed(SYSTEM_QEMU if asked == SYSTEM else asked)


def candidates(asked: str) -> tuple[str, ...]:
    """Every QEMU that may be taken, the first choice first. Raises HostError where there is none."""
    chosen = find_qemu(asked)
    if (asked or os.environ.get(SETTING, "") or AUTO) != AUTO:
        return (chosen,)
    return tuple(dict.fromkeys((chosen, _installed(SYSTEM_QEMU))))


def models_of(plan: Plan) -> tuple[str, ...]:
    """The device models that a machine of this plan is started with."""
    return tuple(sorted({"isa-debug-exit", "isa-serial", *(device.model for device in plan.devices)}))


def _installed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise HostError(
            f"QEMU is not installed: there is no program '{program}'.",
            hint="Install it with: apt-get install qemu-system-x86",
        )
    return path
