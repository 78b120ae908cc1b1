"""The reference page of the harness, from its docstrings: `python -m rumpel.harness.reference` prints it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

_INTRODUCTION = """# The harness, name by name

Made from the docstrings by `rumpel python -m rumpel.harness.reference`; [harness.md](harness.md) says how to use it.
Every timeout is in seconds and is multiplied by `--rumpel-timeout-scale`.
"""


def page() -> str:
    """The whole page, in Markdown."""
    from rumpel.errors import Evidence, MachineError
    from rumpel.harness import aio, api, console, dialog, events, faults, fleet, plugin, start, vm, warm
    from rumpel.machine.console import Found
    from rumpel.machine.instance import Stats
    from rumpel.machine.monitor import Event

    parts = [_INTRODUCTION]
    parts += [_function(f"rumpel.{each.__name__}", each) for each in (api.boot, api.launch, api.pool)]
    parts.append(f"### What may be said of a start\n\n{_text(start.Words)}\n")
    for name, kind in (
        ("vm", vm.Vm), ("vm.console", console.VmConsole), ("vm.console.interact()", dialog.Dialog),
        ("vm.events", events.Events), ("vm.events.expect()", events.Expected), ("vm.faults", faults.Faults),
        ("rumpel.pool()", warm.WarmPool),
    ):  # fmt: skip
        parts.append(_class(name, kind))
    parts += [_function(f"rumpel.fleet.{each.__name__}", each) for each in (fleet.run, fleet.matrix)]
    parts.append("## What is returned and raised\n")
    parts += [_record(kind) for kind in (Found, Event, Stats, fleet.Outcome, MachineError, Evidence)]
    parts.append(_module("rumpel.aio", aio))
    parts.append(_module("Fixtures of pytest", plugin))
    return "\n".join(parts)


def _function(name: str, function: Callable[..., Any]) -> str:
    return f"## `{name}`\n\n```python\n{_signature(name.rpartition('.')[2], function)}\n```\n\n{_text(function)}\n"


def _class(name: str, kind: type) -> str:
    lines = [f"## `{name}`\n", _text(kind), ""]
    for key, member in vars(kind).items():
        if key.startswith("_") or not _text(member):
            continue
        if isinstance(member, property):
            lines += [f"### `{key}`\n", _text(member), ""]
        elif isinstance(member, FunctionType):
            lines += [f"### `{_signature(key, member)}`\n", _text(member), ""]
    return "\n".join(lines)


def _record(kind: type) -> str:
    return f"### `{kind.__name__}`\n\n{_text(kind)}\n"


def _module(title: str, module: ModuleType) -> str:
    return f"## {title}\n\n{_text(module)}\n"


def _signature(name: str, function: Callable[..., Any]) -> str:
    from rumpel.harness.start import Words

    signature = inspect.signature(function)
    parameters = []
    for each in signature.parameters.values():
        if each.annotation == "Unpack[Words]":
            named = [each.replace(name=word, kind=inspect.Parameter.KEYWORD_ONLY) for word in Words.__annotations__]
        else:
            named = [each]
        parameters += [_plain(one) for one in named]
    words = str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))
    return name + words.replace("(self, ", "(").replace("(self)", "()").replace("(/, ", "(")


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Without its type; a function that is the default by its name."""
    default = parameter.default
    if isinstance(default, FunctionType):
        default = _Name(default.__name__)
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


class _Name(str):
    def __repr__(self) -> str:
        return str(self)


def _text(thing: object) -> str:
    return inspect.getdoc(thing) or ""


if __name__ == "__main__":
    sys.stdout.write(page())
