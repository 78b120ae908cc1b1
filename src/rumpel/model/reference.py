"""The reference of the description files, written from their schemas: `python -m rumpel.model.reference`.

`docs/reference-model.md` is this text; a test holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from rumpel.model.check import load_schema

_FILES = {
    "composition": "compositions/NAME.yaml",
    "component": "components/NAME/component.yaml",
    "driver": "hal/drivers/NAME/driver.yaml",
    "machine": "hal/machines/NAME/machine.yaml",
    "kernel": "kernels/NAME/kernel.yaml",
    "emulator": "hal/emulators/NAME/emulator.yaml",
}

_INTRODUCTION = """\
# The description files

Written from the schemas in `schemas/` by `python -m rumpel.model.reference`; change those, not this page.

Files are YAML 1.2: `no`, `on` and `12:30` are words, a key may stand only once, tags are not used. Each file begins
with a line that tells an editor its schema, `# yaml-language-server: $schema=...`. A part is called as its folder (a
composition: as its file); adding a part is adding a folder. Names of files are relative to the folder of the
description and must exist.

In compositions, and only there, `${name}` stands for a variable's value, `${name:-text}` for `text` where there is no
such variable, and `$$` for a dollar sign. A value that is one `${name}` and nothing else keeps the variable's type.

In the tables, `a.b` is the key `b` of the mapping under `a`, `a.NAME` any name there, `a[]` each item of a list.
"""

_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}


def reference() -> str:
    """The whole page."""
    sections = [_INTRODUCTION]
    for kind, file in _FILES.items():
        schema = load_schema(kind)
        rows = "\n".join(_rows(schema, ""))
        sections.append(
            f"## {kind.capitalize()}: `{file}`\n\n{schema['description']}\n\n"
            f"| key | value | meaning |\n|---|---|---|\n{rows}\n" + _conditions(schema)
        )
    return "\n".join(sections)


def _rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    required = schema.get("required", ())
    for key, inner in schema.get("properties", {}).items():
        yield from _row(inner, f"{path}.{key}" if path else key, key in required)
    rest = schema.get("additionalProperties")
    if isinstance(rest, dict):
        yield from _row(rest, f"{path}.NAME", False)


def _row(schema: dict[str, Any], path: str, required: bool) -> Iterator[str]:
    meaning = schema.get("description", "").replace("|", "\\|")
    if required:
        meaning += " **Required.**"
    if "default" in schema:
        meaning += f" Default: `{_plain(schema['default'])}`."
    yield f"| `{path}` | {_value(schema)} | {meaning} |"
    items = schema.get("items", {})
    if items.get("type") == "object":
        yield from _rows(items, f"{path}[]")
    if not _is_simple_map(schema):
        yield from _rows(schema, path)


def _is_simple_map(schema: dict[str, Any]) -> bool:
    """A mapping from names to single values needs no row of its own for the values."""
    rest = schema.get("additionalProperties")
    return isinstance(rest, dict) and "properties" not in schema and rest.get("type") not in ("object", "array")


def _value(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{_plain(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_plain(each)}`" for each in schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = " or ".join(_TYPES[each] for each in types)
    low, high = schema.get("minimum"), schema.get("maximum")
    return f"{words}, {low} to {high}" if low is not None and high is not None else words


def _conditions(schema: dict[str, Any]) -> str:
    lines = []
    for part in schema.get("allOf", ()):
        condition = " and ".join(f"`{key}` {_value(value)}" for key, value in part["if"]["properties"].items())
        demands = [f"`{key}` is required" for key in part["then"].get("required", ())]
        for key, value in part["then"].get("properties", {}).items():
            demands.append(f"`{key}` is not allowed" if value is False else f"`{key}` is one of {_value(value)}")
        lines.append(f"- With {condition}: {', '.join(demands)}.")
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
