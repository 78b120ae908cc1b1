"""Kconfig files, as far as it takes to say why an option was not taken: symbols, what they depend on, who selects them.

Kconfig's own tools decide what a configuration is; this reads the same files to explain it (Linux,
Documentation/kbuild/kconfig-language.rst). A macro call `$(...)` in an expression is a question to the compiler, whose
answer is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(r'\s*(&&|\|\||!=|<=|>=|[()!=<>]|"[^"]*"|\$\((?:[^()]|\([^()]*\))*\)|[A-Za-z0-9_./-]+)')
_PROMPTED = re.compile(r'^(?:bool|tristate|int|hex|string)\s+"')
_SOURCE = re.compile(r'^[or]*source\s+"([^"]+)"')


@dataclass
class Definition:
    """One place that defines a symbol. `depends` holds the conditions around it and its own."""

    depends: tuple[str, ...]
    choice: int = -1  # the number of the choice that it is one of
    prompted: bool = False


@dataclass
class Symbol:
    """A symbol with all its definitions, and the names of those that select it."""

    name: str
    definitions: list[Definition] = field(default_factory=list)
    selected_by: list[str] = field(default_factory=list)

    @property
    def prompted(self) -> bool:
        """Whether a configuration may set it."""
        return any(definition.prompted for definition in self.definitions)


@dataclass
class _Block:
    kind: str
    conditions: list[str] = field(default_factory=list)
    choice: int = -1


class Kconfig:
    """The symbols of a kernel's source tree for one architecture."""

    def __init__(self, tree: Path, architecture: str = "x86") -> None:
        self.symbols: dict[str, Symbol] = {}
        self._tree = tree
        self._architecture = architecture
        self._blocks: list[_Block] = []
        self._choices = 0
        self._read("Kconfig")

    def others_of_choice(self, symbol: Symbol) -> list[str]:
        """The other symbols of the choice that `symbol` is one of."""
        numbers = {definition.choice for definition in symbol.definitions} - {-1}
        return [
            other.name
            for other in self.symbols.values()
            if other is not symbol and any(definition.choice in numbers for definition in other.definitions)
        ]

    def _read(self, name: str) -> None:
        path = self._tree / name.replace("$(SRCARCH)", self._architecture)
        if not path.is_file():  # of an architecture that was not unpacked
            return
        entry: Symbol | None = None
        definition: Definition | None = None
        for line in _statements(path.read_text("utf-8", "replace")):
            word, _, rest = line.partition(" ")
            rest = rest.strip()
            included = _SOURCE.match(line)
            if word in ("config", "menuconfig"):
                entry = self.symbols.setdefault(rest, Symbol(rest))
                choice = next((block.choice for block in self._blocks if block.kind == "choice"), -1)
                definition = Definition(self._conditions(), choice)
                entry.definitions.append(definition)
            elif included:
                entry = definition = None
                self._read(included[1])
            elif word in ("if", "menu", "choice"):
                entry = definition = None
                self._choices += word == "choice"
                block = _Block(word, [rest] if word == "if" else [], self._choices if word == "choice" else -1)
                self._blocks.append(block)
            elif word in ("endif", "endmenu", "endchoice"):
                entry = definition = None
                if self._blocks:
                    self._blocks.pop()
            elif word == "comment":
                entry = definition = None
                self._blocks.append(_Block("comment"))  # its 'depends on' is not the menu's
                self._blocks.pop()
            elif line.startswith("depends on "):
                self._depends(line.removeprefix("depends on ").strip(), definition)
            elif entry is not None and definition is not None:
                if word == "select":
                    self.symbols.setdefault(rest.split()[0], Symbol(rest.split()[0])).selected_by.append(entry.name)
                elif word == "prompt" or _PROMPTED.match(line):
                    definition.prompted = True
                    _, condition, visible = line.rpartition('" if ')
                    if condition:
                        definition.depends += (visible,)

    def _conditions(self) -> tuple[str, ...]:
        return tuple(condition for block in self._blocks for condition in block.conditions)

    def _depends(self, condition: str, definition: Definition | None) -> None:
        if definition is not None:
            definition.depends += (condition,)
        elif self._blocks:
            self._blocks[-1].conditions.append(condition)


def _statements(text: str) -> Iterator[str]:
    """Lines without comments and help texts, continued lines joined, words separated by one space."""
    help_column = -1
    in_help = False
    continued = ""
    for raw in text.splitlines():
        line = raw.expandtabs()
        stripped = line.strip()
        if in_help:
            if not stripped:
                continue
            column = len(line) - len(line.lstrip())
            if help_column < 0:
                help_column = column
            if column >= help_column and column > 0:
                continue
            in_help = False
        if continued:
            stripped = f"{continued} {stripped}"
            continued = ""
        if stripped.endswith("\\"):
            continued = stripped[:-1].rstrip()
            continue
        if stripped in ("help", "---help---"):
            in_help, help_column = True, -1
            continue
        stripped = re.sub(r"\s+#[^\"]*$", "", stripped)
        if stripped and not stripped.startswith("#"):
            yield re.sub(r"\s+", " ", stripped)


def unmet(condition: str, values: Mapping[str, str]) -> list[str]:
    """What of `condition` does not hold under `values` (of every symbol that is on), in words; empty: it holds."""
    return _Expression(condition, values).unmet()


@dataclass(frozen=True)
class _Term:
    """A part of an expression: its value (0, 1 or 2, as Kconfig counts n, m and y) and why it is not 2."""

    value: int
    why: tuple[str, ...] = ()


class _Expression:
    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self._tokens = _TOKEN.findall(text)
        self._values = values
        self._at = 0

    def unmet(self) -> list[str]:
        term = self._or()
        return [] if term.value else list(dict.fromkeys(term.why))

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1]) if self._at <= len(self._tokens) else ""

    def _or(self) -> _Term:
        terms = [self._and()]
        while self._next() == "||":
            self._take()
            terms.append(self._and())
        value = max(term.value for term in terms)
        if value or len(terms) == 1:
            return _Term(value, terms[0].why if not value else ())
        return _Term(0, (" or ".join(" and ".join(term.why) for term in terms),))

    def _and(self) -> _Term:
        terms = [self._not()]
        while self._next() == "&&":
            self._take()
            terms.append(self._not())
        return _Term(min(term.value for term in terms), tuple(why for term in terms for why in term.why))

    def _not(self) -> _Term:
        if self._next() != "!":
            return self._comparison()
        self._take()
        start = self._at
        term = self._not()
        text = "".join(self._tokens[start : self._at])
        return _Term(2 - term.value, () if term.value < 2 else (f"'{text}' off",))

    def _comparison(self) -> _Term:
        if self._next() == "(":
            self._take()
            term = self._or()
            self._take()
            return term
        left = self._take()
        if self._next() in ("=", "!=", "<", "<=", ">", ">="):
            operator, right = self._take(), self._take()
            if left.startswith("$(") or right.startswith("$("):
                return _Term(2)
            holds = _compare(self._value(left), operator, self._value(right))
            return _Term(2 if holds else 0, () if holds else (f"'{left} {operator} {right}'",))
        if left.startswith("$("):
            return _Term(2)
        value = {"y": 2, "m": 1}.get(self._value(left), 0)
        return _Term(value, () if value else (f"'{left}'",))

    def _value(self, token: str) -> str:
        if token.startswith('"'):
            return token[1:-1]
        if token in ("y", "m", "n") or not re.fullmatch(r"\w+", token) or token.isdigit():
            return token
        return self._values.get(token, "n").strip('"')


def _compare(left: str, operator: str, right: str) -> bool:
    if operator in ("=", "!="):
        return (left == right) == (operator == "=")
    try:
        first, second = int(left, 0), int(right, 0)
    except ValueError:
        return False
    return {"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}[operator]
