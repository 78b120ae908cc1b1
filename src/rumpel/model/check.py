"""Checks a description file's tree against its JSON Schema and says in sentences what is wrong with it.

The schemas in `schemas/` are the one definition of the format. This reads the part of JSON Schema 2020-12 that they
use, on trees that know their places; the tests hold it to the verdicts of the reference implementation.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rumpel.errors import Problem
from rumpel.model.document import Entry, Mapping, Node, Scalar, Sequence
from rumpel.model.names import nearest, quoted
from rumpel.places import own_root

KNOWN_SCHEMA = 1

KEYWORDS = frozenset(
    {
        *("type", "const", "enum", "pattern", "format", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "items", "minItems", "uniqueItems"),
        *("properties", "required", "additionalProperties", "propertyNames", "minProperties", "dependentRequired"),
        *("allOf", "if", "then"),
    }
)
ANNOTATIONS = frozenset({"$schema", "title", "description", "default", "patternErrorMessage"})

_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}

Schema = dict[str, Any]


def schema_folder() -> Path:
    """Where the JSON Schemas are: in the installed package, else at the root of the checkout."""
    return own_root() / "schemas"


@functools.cache
def load_schema(kind: str) -> Schema:
    """The JSON Schema of the description files of `kind` ("composition", "component", ...)."""
    schema: Schema = json.loads((schema_folder() / f"{kind}.schema.json").read_bytes())
    return schema


def check(root: Mapping, kind: str) -> list[Problem]:
    """Every problem of a description file of `kind`, in the file's order. A newer format is the only problem told."""
    version = root.get("schema")
    if isinstance(version, Scalar) and type(version.value) is int and version.value > KNOWN_SCHEMA:
        message = f"the file is written for schema {version.value}; this Rumpel knows schema {KNOWN_SCHEMA}."
        return [Problem(version.location, message, "Use a newer Rumpel.")]
    found: dict[Problem, None] = dict.fromkeys(_check(root, load_schema(kind), "", f"the {kind}"))
    return sorted(found, key=lambda problem: (str(problem.location.path), problem.location.line))


def _check(node: Node, schema: Schema, path: str, whole: str) -> Iterator[Problem]:
    wanted = schema.get("type")
    if wanted is not None and not _has_type(node, wanted):
        yield Problem(
            node.location,
            f"{_name(path, whole)} must be {_types(wanted)}, not {_describe(node)}.",
            schema.get("patternErrorMessage", ""),
        )
        return
    yield from _check_choice(node, schema, _name(path, whole))
    if isinstance(node, Mapping):
        yield from _check_mapping(node, schema, path, whole)
    elif isinstance(node, Sequence):
        yield from _check_sequence(node, schema, path, whole)
    else:
        yield from _check_scalar(node, schema, path, whole)
    for part in schema.get("allOf", ()):
        if not any(_check(node, part["if"], path, whole)):
            yield from _check_consequence(node, part, schema["properties"], path, whole)


def _check_consequence(
    node: Node, schema: Schema, properties: dict[str, Schema], path: str, whole: str
) -> Iterator[Problem]:
    """`then` of a schema whose `if` holds; its problems say which value made the demand. What is wrong by the
    `properties` of the schema around it is told there."""
    conditions = [f"{key} '{_scalar_text(node, key)}'" for key in schema["if"].get("properties", {})]
    label = " and ".join(conditions)
    consequence = schema["then"]
    forbidden = {key for key, value in consequence.get("properties", {}).items() if value is False}
    if isinstance(node, Mapping):
        for key in forbidden & node.entries.keys():
            entry = node.entries[key]
            yield Problem(entry.location, f"'{_join(path, key)}' does not go with {label}.", "Remove it.")
        for key in consequence.get("required", ()):
            if key not in node.entries:
                yield Problem(node.location, f"'{_join(path, key)}' is missing; it goes with {label}.")
        for key, value in consequence.get("properties", {}).items():
            if value is not False and key in node.entries:
                entry = node.entries[key]
                told = any(_check(entry.value, properties[key], _join(path, key), whole))
                if not told and any(_check(entry.value, value, _join(path, key), whole)):
                    allowed = quoted([str(each) for each in value["enum"]], "or")
                    yield Problem(
                        entry.value.location,
                        f"'{_join(path, key)}' is {_describe(entry.value)}; with {label} it must be {allowed}.",
                    )


def _check_mapping(node: Mapping, schema: Schema, path: str, whole: str) -> Iterator[Problem]:
    properties: dict[str, Any] = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in node.entries:
            hint = str(properties.get(key, {}).get("description", ""))
            of = f" in '{path}'" if path else ""
            yield Problem(node.location, f"'{key}' is missing{of}.", hint)
    for key, entry in node.entries.items():
        if "propertyNames" in schema:
            name = Scalar(key, key, entry.location)
            yield from _check(name, schema["propertyNames"], _join(path, key), whole)
        if key in properties:
            if isinstance(properties[key], dict):
                yield from _check(entry.value, properties[key], _join(path, key), whole)
        elif schema.get("additionalProperties") is False:
            yield _unknown_key(entry, properties, path)
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from _check(entry.value, schema["additionalProperties"], _join(path, key), whole)
    if len(node.entries) < schema.get("minProperties", 0):
        yield Problem(node.location, f"{_name(path, whole)} must not be empty.", schema.get("description", ""))
    for key, others in schema.get("dependentRequired", {}).items():
        if key in node.entries:
            for other in others:
                if other not in node.entries:
                    where = node.entries[key].location
                    yield Problem(where, f"'{_join(path, key)}' only goes with '{other}'.")


def _unknown_key(entry: Entry, properties: dict[str, Any], path: str) -> Problem:
    where = f" in '{path}'" if path else ""
    close = nearest(entry.key, properties)
    hint = f"Did you mean '{close}'?" if close else f"Allowed are {quoted(sorted(properties))}."
    return Problem(entry.location, f"unknown key '{entry.key}'{where}.", hint)


def _check_sequence(node: Sequence, schema: Schema, path: str, whole: str) -> Iterator[Problem]:
    if len(node.items) < schema.get("minItems", 0):
        yield Problem(node.location, f"{_name(path, whole)} must not be empty.", schema.get("description", ""))
    seen: set[object] = set()
    for index, item in enumerate(node.items):
        if "items" in schema:
            yield from _check(item, schema["items"], f"{path}[{index}]", whole)
        if schema.get("uniqueItems") and isinstance(item, Scalar):
            if (type(item.value), item.value) in seen:
                yield Problem(item.location, f"'{item.text}' stands twice in {_name(path, whole)}.", "Keep one.")
            seen.add((type(item.value), item.value))


def _check_choice(node: Node, schema: Schema, name: str) -> Iterator[Problem]:
    if "const" in schema and not _same(node, schema["const"]):
        allowed = str(schema["const"]).lower() if isinstance(schema["const"], bool) else str(schema["const"])
        yield Problem(node.location, f"{name} is {_describe(node)}; it must be {allowed}.")
    if "enum" in schema and not any(_same(node, each) for each in schema["enum"]):
        close = nearest(node.text, schema["enum"]) if isinstance(node, Scalar) else None
        hint = f"Did you mean '{close}'?" if close else ""
        yield Problem(node.location, f"{name} is {_describe(node)}; it must be {quoted(schema['enum'], 'or')}.", hint)


def _check_scalar(node: Scalar, schema: Schema, path: str, whole: str) -> Iterator[Problem]:
    value = node.value
    name = _name(path, whole)
    if isinstance(value, str):
        yield from _check_text(node, value, schema, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
        if low is not None and not value >= low:
            yield Problem(node.location, f"{name} is {node.text}; it must be at least {low}.")
        if above is not None and not value > above:
            yield Problem(node.location, f"{name} is {node.text}; it must be more than {above}.")
        if high is not None and not value <= high:
            yield Problem(node.location, f"{name} is {node.text}; it must be at most {high}.")


def _check_text(node: Scalar, value: str, schema: Schema, name: str) -> Iterator[Problem]:
    pattern = schema.get("pattern")
    if pattern is not None and not _compiled(pattern).search(value):
        yield Problem(node.location, f"{name} is '{value}'.", schema.get("patternErrorMessage", ""))
    if len(value) < schema.get("minLength", 0):
        yield Problem(node.location, f"{name} must not be empty.", schema.get("description", ""))
    if len(value) > schema.get("maxLength", len(value)):
        yield Problem(node.location, f"{name} has {len(value)} characters; at most {schema['maxLength']} are allowed.")
    if schema.get("format") == "regex":
        try:
            re.compile(value)
        except re.error as error:
            yield Problem(node.location, f"{name} is not a regular expression: {error}.")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # JSON Schema's '$' is the very end; Python's also stands before a last newline.
    return re.compile(re.sub(r"\$$", r"\\Z", pattern))


def _has_type(node: Node, wanted: str | list[str]) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(node, Mapping):
        return "object" in names
    if isinstance(node, Sequence):
        return "array" in names
    value = node.value
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, int):
        return "integer" in names or "number" in names
    if isinstance(value, float):
        return "number" in names or ("integer" in names and value.is_integer())
    return value is not None and "string" in names


def _same(node: Node, other: object) -> bool:
    if not isinstance(node, Scalar):
        return False
    return isinstance(node.value, bool) == isinstance(other, bool) and node.value == other


def _types(wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    words = [_TYPE_NAMES[name] for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _describe(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if node.value is None:
        return "empty"
    if isinstance(node.value, bool):
        return node.text
    if isinstance(node.value, (int, float)):
        return f"the number {node.text}"
    return f"'{node.text}'"


def _scalar_text(node: Node, key: str) -> str:
    value = node.get(key) if isinstance(node, Mapping) else None
    return value.text if isinstance(value, Scalar) else ""


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _name(path: str, whole: str) -> str:
    return f"'{path}'" if path else whole
