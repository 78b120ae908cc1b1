"""The configuration of the kernel `linux`: what the base and the parts of the plan ask for, and nothing else.

Kconfig itself decides (`make allnoconfig` with what was asked for). What it did not take is an error that says why.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from rumpel.build.kernel_linux_kconfig import Kconfig, Symbol, unmet
from rumpel.build.kernel_linux_make import make, make_error, require_tools
from rumpel.build.kernel_linux_source import source_tree, version_of
from rumpel.build.step import Step, ToolError, Workspace, part_name
from rumpel.build.toolchain import Toolchain
from rumpel.errors import BuildError
from rumpel.model.names import nearest, quoted
from rumpel.resolve.plan import Frozen, Plan, Source

_LINE = re.compile(r"CONFIG_(\w+)=(.+)")
_OFF = re.compile(r"# CONFIG_(\w+) is not set")


class AskedBy(Frozen, frozen=True):
    """A part of the plan and the symbols that it asks to be on; `path` is its description file."""

    part: str
    path: str
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class _Asked:
    """One option with who asks for it: `place` is file:line:column, `who` the words of a sentence."""

    symbol: str
    value: str
    place: str
    who: str


def asked_by(plan: Plan) -> tuple[AskedBy, ...]:
    """What the parts of a plan ask for: the optional parts of its kernel, and its drivers.

    The same for all plans that ask for the same, in whatever order: they share one kernel.
    """
    kernel = plan.kernel
    parts = [AskedBy(part=f"kernel/{kernel.name}", path=f"{kernel.directory}/kernel.yaml", symbols=kernel.kconfig)]
    parts += [
        AskedBy(part=f"driver/{each.name}", path=f"{each.directory}/driver.yaml", symbols=each.kconfig)
        for each in plan.drivers
    ]
    return tuple(
        msgspec.structs.replace(part, symbols=tuple(sorted(set(part.symbols))))
        for part in sorted(parts, key=lambda part: part.part)
        if part.symbols
    )


class Configure(Step, frozen=True):
    """The base configuration (the source; `base` names it) and what the parts ask for to a whole `.config`."""

    verb: ClassVar[str] = "CONFIGURE"
    code: ClassVar[tuple[str, ...]] = (
        *("kernel_linux_kconfig.py", "kernel_linux_make.py", "kernel_linux_source.py", "toolchain.py"),
    )
    source: Source
    tools: Toolchain
    base: str
    asked: tuple[AskedBy, ...]

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        asked = _together([*_of_base(sources[0], self.base), *_of_parts(workspace, self.asked)])
        require_tools(workspace)
        tree = source_tree(workspace, self.source)
        with tempfile.TemporaryDirectory(prefix="rumpel-kconfig-") as folder:
            wanted = Path(folder) / "asked.config"
            wanted.write_text("".join(f"CONFIG_{each.symbol}={each.value}\n" for each in asked))
            try:
                make(workspace, tree, Path(folder), "-s", f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
            except ToolError as failure:
                raise make_error(f"The {part_name(self.part)} cannot be configured.", failure) from failure
            result = Path(folder) / ".config"
            values = values_of(result.read_text("utf-8"))
            dropped = [each for each in asked if values.get(each.symbol, "n") != each.value]
            if dropped:
                raise _error(dropped, values, asked, tree)
            targets[0].write_bytes(result.read_bytes())


def values_of(config: str) -> dict[str, str]:
    """The symbols of a `.config` that have a value, strings with their quotes."""
    return {match[1]: match[2] for line in config.splitlines() if (match := _LINE.fullmatch(line))}


def _of_base(path: Path, name: str) -> Iterable[_Asked]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        place = f"{name}:{number}:1"
        if match := _LINE.fullmatch(line):
            yield _Asked(match[1], match[2], place, "the base configuration")
        elif match := _OFF.fullmatch(line):
            yield _Asked(match[1], "n", place, "the base configuration")
        elif line and not line.startswith("# ") and line != "#":
            raise BuildError(
                f"{place}: '{line}' is not a line of a configuration.",
                hint="Write 'CONFIG_NAME=y', '# CONFIG_NAME is not set', or a comment that begins with '# '.",
            )


def _of_parts(workspace: Workspace, parts: Iterable[AskedBy]) -> Iterable[_Asked]:
    for part in parts:
        path = workspace.locate(part.path)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        for symbol in part.symbols:
            yield _Asked(symbol, "y", _place(part.path, lines, symbol), f"the {part_name(part.part)}")


def _place(path: str, lines: Sequence[str], symbol: str) -> str:
    """Where a description file names a symbol; the file alone where that cannot be seen."""
    for number, line in enumerate(lines, 1):
        match = re.search(rf"\b{symbol}\b", line)
        if match and not line.lstrip().startswith("#"):
            return f"{path}:{number}:{match.start() + 1}"
    return path


def _together(asked: Iterable[_Asked]) -> list[_Asked]:
    """Each symbol once. Raises BuildError where two ask for different values."""
    first: dict[str, _Asked] = {}
    for each in asked:
        other = first.setdefault(each.symbol, each)
        if other.value != each.value:
            raise BuildError(
                f"{each.place}: {each.who} asks for the Kconfig symbol '{each.symbol}' to be '{each.value}', but "
                f"{other.who} asks for '{other.value}' ({other.place}).",
                hint="Remove one of the two.",
            )
    return list(first.values())


def _error(dropped: Sequence[_Asked], values: Mapping[str, str], asked: Sequence[_Asked], tree: Path) -> BuildError:
    kconfig = Kconfig(tree)
    version = version_of(tree)
    found = [_explained(each, values, asked, kconfig, version) for each in dropped]
    return BuildError("\n".join(message for message, _ in found), hint="\n".join(dict.fromkeys(h for _, h in found)))


def _explained(
    each: _Asked, values: Mapping[str, str], asked: Sequence[_Asked], kconfig: Kconfig, version: str
) -> tuple[str, str]:
    """Why an option was not taken, and the way out."""
    start = f"{each.place}: {each.who} asks for the Kconfig symbol '{each.symbol}'"
    path = each.place.partition(":")[0]
    symbol = kconfig.symbols.get(each.symbol)
    if symbol is None or not symbol.definitions:
        close = nearest(each.symbol, (name for name, other in kconfig.symbols.items() if other.prompted))
        return f"{start}, which Linux {version} does not have.", (
            f"Did you mean '{close}'?" if close else f"Correct it in {path}."
        )
    got = values.get(each.symbol, "n")
    if each.value == "n" or got != "n":
        selectors = [name for name in symbol.selected_by if values.get(name, "n") != "n"]
        why = f"; it is switched on by {quoted(selectors)}" if selectors and each.value == "n" else ""
        return f"{start} to be '{each.value}', but Kconfig made it '{got}'{why}.", f"Correct it in {path}."
    reasons = _unmet(symbol, values)
    if reasons:
        listed = " and ".join(reasons)
        hold = "does not hold" if len(reasons) == 1 else "do not hold"
        return f"{start}, but Kconfig left it off: it depends on {listed}, which {hold}.", (
            f"Ask for what it depends on as well, or remove '{each.symbol}', in {path}."
        )
    if not symbol.prompted:
        by = f"; what switches it on: {quoted(sorted(set(symbol.selected_by))[:5], 'or')}" if symbol.selected_by else ""
        return f"{start}, but it cannot be asked for: it has no prompt{by}.", (
            f"Remove '{each.symbol}' in {path}; ask for what switches it on."
        )
    taken = [name for name in kconfig.others_of_choice(symbol) if values.get(name) == "y"]
    if taken:
        also = next((other for other in asked if other.symbol == taken[0]), None)
        by = f", which {also.who} asks for ({also.place})" if also else ""
        return f"{start}, but only one of its choice can be on, and '{taken[0]}' is{by}.", "Remove one of the two."
    return f"{start}, but Kconfig left it off.", f"See what it depends on in Linux {version}, or remove it in {path}."


def _unmet(symbol: Symbol, values: Mapping[str, str]) -> list[str]:
    """What keeps a symbol from being visible, at the definition that is nearest to it."""
    each = []
    for definition in symbol.definitions:
        reasons = [reason for condition in definition.depends for reason in unmet(condition, values)]
        each.append((not definition.prompted, len(reasons), list(dict.fromkeys(reasons))))
    return min(each, key=lambda found: found[:2])[2]
