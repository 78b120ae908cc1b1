"""Rumpel composes small single-purpose virtual machines.

The test harness is reached from here: `rumpel.boot`, `rumpel.launch`, `rumpel.pool`, `rumpel.fleet`, `rumpel.aio`, and
the errors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rumpel.errors import MachineError, RumpelError
    from rumpel.harness import aio, fleet
    from rumpel.harness.api import boot, launch, pool
    from rumpel.harness.vm import Vm
    from rumpel.harness.warm import WarmPool

__version__ = "0.1.0"
__all__ = ["MachineError", "RumpelError", "Vm", "WarmPool", "__version__", "aio", "boot", "fleet", "launch", "pool"]

# Imported when they are used: the command line starts without them.
_WHERE = {
    "MachineError": "rumpel.errors",
    "RumpelError": "rumpel.errors",
    "Vm": "rumpel.harness.vm",
    "WarmPool": "rumpel.harness.warm",
    "boot": "rumpel.harness.api",
    "launch": "rumpel.harness.api",
    "pool": "rumpel.harness.api",
}


def __getattr__(name: str) -> Any:
    if name in ("aio", "fleet"):
        return importlib.import_module(f"rumpel.harness.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'rumpel' has no attribute '{name}'")
