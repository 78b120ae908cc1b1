"""`${variables}` in compositions.

`${name}` stands for a variable's value, `${name:-text}` for `text` where there is no such variable, `$$` for a dollar
sign. A value that is one `${name}` and nothing else keeps the variable's type; within other text its text is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping

from rumpel.errors import Problem
from rumpel.model.document import Entry, Mapping, Node, Scalar, Sequence, core_value
from rumpel.model.names import suggestion

_MARK = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_-]*?)(?::-(?P<default>[^}]*))?\}|(?P<bad>\{[^}]*\}?)?)")
_KEPT_AS_WRITTEN = frozenset({"schema", "name", "extends", "variables"})


def substitute(root: Mapping, overrides: AnyMapping[str, str]) -> tuple[Mapping, list[Problem]]:
    """`root` with every variable replaced, and what was wrong. `overrides` win over what the file says."""
    substitution = _Substitution(root, overrides)
    entries = {
        key: entry if key in _KEPT_AS_WRITTEN else Entry(entry.key, substitution.replace(entry.value), entry.location)
        for key, entry in root.entries.items()
    }
    entries_with_values = dict(entries)
    if "variables" in entries:
        declared = entries["variables"]
        entries_with_values["variables"] = Entry("variables", substitution.values(declared.value), declared.location)
    return Mapping(entries_with_values, root.location), substitution.problems


def variable_names(root: Mapping) -> set[str]:
    """Every variable that `root` declares or uses."""
    declared = root.get("variables")
    names = set(declared.entries) if isinstance(declared, Mapping) else set()
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            waiting += [entry.value for entry in node.entries.values()]
        elif isinstance(node, Sequence):
            waiting += node.items
        else:
            names.update(match["name"] for match in _MARK.finditer(node.text) if match["name"])
    return names


class _Substitution:
    def __init__(self, root: Mapping, overrides: AnyMapping[str, str]) -> None:
        self.problems: list[Problem] = []
        declared = root.get("variables")
        self._declared: dict[str, Scalar] = {}
        if isinstance(declared, Mapping):
            for name, entry in declared.entries.items():
                if isinstance(entry.value, Scalar):
                    self._declared[name] = entry.value
        self._overrides = {name: Scalar(core_value(text), text, root.location) for name, text in overrides.items()}
        self._open: list[str] = []

    def values(self, declared: Node) -> Node:
        """The `variables:` mapping with the values that hold."""
        if not isinstance(declared, Mapping):
            return declared
        return Mapping(
            {
                name: Entry(name, self._value(name, entry.value) or entry.value, entry.location)
                for name, entry in declared.entries.items()
            },
            declared.location,
        )

    def replace(self, node: Node) -> Node:
        if isinstance(node, Mapping):
            return Mapping(
                {key: Entry(key, self.replace(entry.value), entry.location) for key, entry in node.entries.items()},
                node.location,
            )
        if isinstance(node, Sequence):
            return Sequence(tuple(self.replace(item) for item in node.items), node.location)
        return self._scalar(node)

    def _scalar(self, node: Scalar) -> Scalar:
        if not isinstance(node.value, str) or "$" not in node.text:
            return node
        whole = _MARK.fullmatch(node.text)
        if whole is not None and whole["name"]:
            found = self._lookup(whole, node)
            return node if found is None else Scalar(found.value, found.text, node.location)
        text = _MARK.sub(lambda match: self._text(match, node), node.text)
        return Scalar(text, text, node.location)

    def _text(self, match: re.Match[str], node: Scalar) -> str:
        if match[0] == "$$":
            return "$"
        if match["name"]:
            found = self._lookup(match, node)
            return match[0] if found is None else found.text
        self._wrong(
            node,
            f"'{match[0]}' in '{node.text}' is not a variable.",
            "Write ${name} for a variable's value and $$ for a dollar sign.",
        )
        return match[0]

    def _lookup(self, match: re.Match[str], node: Scalar) -> Scalar | None:
        name, default = match["name"], match["default"]
        found = self._value(name, node)
        if found is None and default is not None:
            return Scalar(core_value(default), default, node.location)
        if found is None and name not in self._declared:
            known = self._declared.keys() | self._overrides.keys()
            hint = suggestion(name, known, "Variables") if known else "Give it a default under 'variables'."
            self._wrong(node, f"unknown variable '{name}' in '{node.text}'.", hint)
        return found

    def _value(self, name: str, node: Node) -> Scalar | None:
        if name in self._overrides:
            return self._overrides[name]
        declared = self._declared.get(name)
        if declared is None:
            return None
        if name in self._open:
            chain = " -> ".join([*self._open[self._open.index(name) :], name])
            self._wrong(node, f"the variable '{name}' stands for itself: {chain}.", "")
            return None
        self._open.append(name)
        try:
            return self._scalar(declared)
        finally:
            self._open.pop()

    def _wrong(self, node: Node, message: str, hint: str) -> None:
        problem = Problem(node.location, message, hint)
        if problem not in self.problems:
            self.problems.append(problem)
