"""Which QEMU runs a machine: the one that Rumpel built (`rumpel qemu build`), or the one that Debian installed.

    find_qemu("auto", plan)         # Rumpel's own, where it is built and has the plan's devices; else Debian's

`own` and `system` ask for one of them, any other word is a program by its name or path. The variable RUMPEL_QEMU says
what no option says.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rumpel.build.emulators import built_emulator, program_of
from rumpel.errors import HostError
from rumpel.resolve.plan import Plan

SYSTEM_QEMU = "qemu-system-x86_64"
SETTING = "RUMPEL_QEMU"
AUTO, OWN, SYSTEM = "auto", "own", "system"
CHOICES = (AUTO, OWN, SYSTEM)
_BUILD = "`rumpel qemu build` builds it, once, in some minutes; '--qemu system' takes Debian's."


def asked_qemu(asked: str) -> str:
    """What is asked for: `asked`, else what the setting says, else `auto`; a program's path in full."""
    asked = asked or os.environ.get(SETTING, "") or AUTO
    return str(Path(asked).absolute()) if "/" in asked else asked


def find_qemu(asked: str, plan: Plan | None = None) -> str:
    """The full path of the QEMU that runs `plan`; empty `asked`: as the setting says, or `auto`.

    Raises HostError where there is none, or the one that was asked for lacks a device of the plan.
    """
    asked = asked_qemu(asked)
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
    system = _full_path(SYSTEM_QEMU) if asked_qemu(asked) == AUTO else ""
    return tuple(dict.fromkeys(filter(None, (chosen, system))))


def models_of(plan: Plan) -> tuple[str, ...]:
    """The device models that a machine of this plan is started with."""
    return tuple(sorted({"isa-debug-exit", "isa-serial", *(device.model for device in plan.devices)}))


def _installed(program: str) -> str:
    path = _full_path(program)
    if path:
        return path
    if program == SYSTEM_QEMU:
        raise HostError(
            f"QEMU is not installed: there is no program '{program}'.",
            hint="Install it with: apt-get install qemu-system-x86",
        )
    there = Path(program).exists() if "/" in program else False
    raise HostError(
        f"'{program}' was asked for as QEMU, but {'it is no program' if there else 'there is no such program'}.",
        hint=f"'--qemu' and {SETTING} take 'own', 'system', or the name or path of a program.",
    )


def _full_path(program: str) -> str:
    """Where it is on the PATH; empty where it is not."""
    path = shutil.which(program)
    return str(Path(path).absolute()) if path else ""
