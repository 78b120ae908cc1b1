"""The check against the schemas: its sentences, and that its verdict is the reference implementation's."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rumpel.model.check import ANNOTATIONS, KEYWORDS, check, load_schema, schema_folder
from rumpel.model.document import parse_document

KINDS = ("composition", "component", "driver", "machine", "kernel", "emulator")
ROOT = Path(__file__).parents[3]
PATTERNS = {
    "composition": "compositions/*.yaml",
    "component": "components/*/component.yaml",
    "driver": "hal/drivers/*/driver.yaml",
    "machine": "hal/machines/*/machine.yaml",
    "kernel": "kernels/*/kernel.yaml",
    "emulator": "hal/emulators/*/emulator.yaml",
}
RICH = {
    "composition": {
        "schema": 1,
        "name": "demo",
        "summary": "x",
        "kernel": "tiny",
        "machine": "pc",
        "memory": "64M",
        "cpus": 2,
        "components": ["app", "lib"],
        "drivers": ["nvme"],
        "arguments": ["a", 1, True],
        "environment": {"A": "b", "N": 1.5},
        "network": {"address": "10.0.0.2/24"},
        "volumes": {"data": {"mount": "/data", "size": "64M", "read_only": True}},
        "ports": {"http": {"host": 8080}},
        "ready": {"http": {"port": "http", "path": "/"}, "timeout": 2.5},
        "variables": {"x": 1},
    },
    "component": {
        "schema": 1,
        "name": "app",
        "summary": "x",
        "license": "MIT",
        "kind": "c",
        "role": "program",
        "needs": ["net"],
        "provides": ["http-server"],
        "libraries": ["musl"],
        "sources": {"zlib": {"deb": "zlib", "follow": "zlib*", "release": "bookworm"}},
        "c": {
            "sources": ["a.c"],
            "defines": {"A": 1},
            "prepare": {"commands": [["make", "x"]], "outputs": ["x"]},
        },
        "files": [{"source": "a", "target": "/a", "mode": "0755"}],
        "entry": "/bin/app",
        "ports": {"http": {"port": 80, "protocol": "tcp"}},
        "ready": {"console": "ready"},
    },
    "driver": {
        "schema": 1,
        "name": "nic",
        "summary": "x",
        "provides": ["net"],
        "needs": ["bus:pci"],
        "matches": ["pci:v*"],
        "device": {"backend": "net-user", "models": {"bus:pci-host": "e1000"}, "properties": {"rombar": 0}},
        "kernels": {"debian": {"modules": ["e1000"]}, "linux": {"kconfig": ["E1000"]}},
    },
    "machine": {
        "schema": 1,
        "name": "pc",
        "summary": "x",
        "architecture": "x86_64",
        "provides": ["bus:isa"],
        "qemu": {
            "machine": "pc",
            "options": {"usb": "off"},
            "firmware": "qboot.rom",
            "kernels": {"debian": {"options": {"acpi": "on"}, "firmware": "bios.bin"}},
        },
    },
    "kernel": {
        "schema": 1,
        "name": "tiny",
        "summary": "x",
        "recipe": "debian",
        "provides": ["threads"],
        "optional": {"volume": {"needs": ["block"], "because": "ext4", "modules": ["ext4"]}},
        "machines": ["pc"],
        "sources": {"image": {"deb": "linux-image"}},
        "init": True,
        "command_line": {"common": ["quiet"], "pc": ["reboot=t"]},
    },
    "emulator": {
        "schema": 1,
        "name": "qemu",
        "summary": "x",
        "target": "x86_64-softmmu",
        "sources": {"qemu": {"deb-src": "qemu"}},
        "kconfig": ["ISA_DEBUG"],
    },
}
REPLACEMENTS: list[Any] = [None, True, False, 0, 1, 2, 70000, 1.5, 2.0, "", "x", "64M", "Ünicode", "/..", [], {}]
REPLACEMENTS += [["x", "x"], [1], {"x": 1}, {"A b": "c"}]


def problems(text: str, kind: str) -> list[str]:
    return [str(problem) for problem in check(parse_document(text.encode(), Path("f.yaml")), kind)]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def subschemas(schema: Any) -> list[dict[str, Any]]:
    if not isinstance(schema, dict):
        return []
    found = [schema]
    for key in ("items", "additionalProperties", "propertyNames", "if", "then"):
        found += subschemas(schema.get(key))
    for inner in [*schema.get("properties", {}).values(), *schema.get("allOf", [])]:
        found += subschemas(inner)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_valid_and_use_only_keywords_that_the_check_knows(kind: str) -> None:
    schema = load_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for each in subschemas(schema):
        assert each.keys() <= KEYWORDS | ANNOTATIONS


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_schema_has_a_description(kind: str) -> None:
    conditional = [part["then"] for part in load_schema(kind).get("allOf", [])]
    for each in subschemas({**load_schema(kind), "allOf": []}):
        for key, inner in each.get("properties", {}).items():
            assert inner.get("description"), f"{kind}: {key}"
    assert all(set(part) <= {"required", "properties"} for part in conditional)


@pytest.mark.parametrize("kind", KINDS)
def test_the_project_s_own_files_name_their_schema_for_editors(kind: str) -> None:
    files = sorted(ROOT.glob(PATTERNS[kind]))
    assert files
    for file in files:
        first = file.read_text().splitlines()[0]
        marker = "# yaml-language-server: $schema="
        assert first.startswith(marker), file
        assert (file.parent / first.removeprefix(marker)).resolve() == schema_folder() / f"{kind}.schema.json"


@pytest.mark.parametrize("kind", KINDS)
def test_the_rich_examples_are_correct(kind: str) -> None:
    assert problems(json.dumps(RICH[kind]), kind) == []


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_the_verdict_is_that_of_the_reference_implementation(data: st.DataObject, kind: str) -> None:
    instance: Any = copy.deepcopy(RICH[kind])
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([each for each in places(instance) if each]))
        parent: Any = instance
        for key in path[:-1]:
            parent = parent[key]
        change = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if change == "replace" or isinstance(parent, list):
            parent[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(REPLACEMENTS)))
        else:
            value = parent.pop(path[-1])
            if change == "rename":
                parent[data.draw(st.sampled_from(["x", "kernel", "Bad Name", "console", "deb", "c"]))] = value
    schema = load_schema(kind)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker(["regex"]))
    expected = validator.is_valid(instance)
    if isinstance(instance.get("schema"), int) and not isinstance(instance["schema"], bool) and instance["schema"] > 1:
        expected = False
    assert (problems(json.dumps(instance), kind) == []) == expected, yaml.safe_dump(instance)


def test_all_problems_of_a_file_are_told_at_once_in_its_order() -> None:
    text = (
        "schema: 1\n"
        "name: Demo App\n"
        "summary: 12\n"
        "kernel: [debian]\n"
        "machine: microvm\n"
        "memroy: 128M\n"
        "memory: 128Q\n"
        "cpus: two\n"
        "volumes: {data: {mount: data, sise: 64M}}\n"
    )
    assert problems(text, "composition") == [
        "f.yaml:1:1: 'components' is missing. The parts of the application: folders in `components/`. Exactly one is "
        "a program; libraries are linked into it, files are added to the root filesystem.",
        "f.yaml:2:7: 'name' is 'Demo App'. Expected a name of small letters, digits, '-', '.' and '+', such as "
        "my-part.",
        "f.yaml:3:10: 'summary' must be text, not the number 12.",
        "f.yaml:4:9: 'kernel' must be text, not a list. Expected a name of small letters, digits, '-', '.' and '+', "
        "such as my-part.",
        "f.yaml:6:1: unknown key 'memroy'. Did you mean 'memory'?",
        "f.yaml:7:9: 'memory' is '128Q'. Expected a size: a whole number with M (MiB) or G (GiB), such as 128M.",
        "f.yaml:8:7: 'cpus' must be a whole number, not 'two'.",
        "f.yaml:9:17: 'size' is missing in 'volumes.data'. The size it is created with.",
        "f.yaml:9:25: 'volumes.data.mount' is 'data'. Expected an absolute path in the guest, without '..', such as "
        "/srv/www.",
        "f.yaml:9:31: unknown key 'sise' in 'volumes.data'. Did you mean 'size'?",
    ]


HEAD = "schema: 1\nname: a\nsummary: b\nlicense: MIT\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: d\nrole: library\n", "f.yaml:5:7: 'kind' is 'd'; it must be 'c', 'files', 'deb', 'npm' or 'pypi'."),
        (
            "kind: c\nrole: libary\nc: {}\n",
            "f.yaml:6:7: 'role' is 'libary'; it must be 'program', 'runtime', 'library' or 'files'. "
            "Did you mean 'library'?",
        ),
        ("kind: c\nrole: library\n", "f.yaml:1:1: 'c' is missing; it goes with kind 'c'."),
        (
            "kind: files\nrole: files\nfiles: []\nc: {}\n",
            "f.yaml:8:1: 'c' does not go with kind 'files'. Remove it.",
        ),
        (
            "kind: files\nrole: library\nfiles: []\n",
            "f.yaml:6:7: 'role' is 'library'; with kind 'files' it must be 'program' or 'files'.",
        ),
        (
            "kind: c\nrole: library\nc: {}\nneeds: [net, net]\n",
            "f.yaml:8:14: 'net' stands twice in 'needs'. Keep one.",
        ),
        (
            "kind: c\nrole: library\nc: {}\nports: {http: {port: 99999}}\n",
            "f.yaml:8:22: 'ports.http.port' is 99999; it must be at most 65535.",
        ),
        (
            "kind: c\nrole: library\nc: {sources: [../a.c]}\n",
            "f.yaml:7:15: 'c.sources[0]' is '../a.c'. Expected a path below the folder: relative, without '..'.",
        ),
        (
            "kind: c\nrole: library\nc: {}\nsources: {x: {npm: y, follow: z}}\n",
            "f.yaml:8:23: 'sources.x.follow' only goes with 'deb'.",
        ),
        (
            "kind: c\nrole: library\nc: {}\nprovides:\n",
            "f.yaml:8:10: 'provides' must be a list, not empty.",
        ),
        (
            "kind: c\nrole: program\nc: {}\nentry: /a\nready: {console: '['}\n",
            "f.yaml:9:18: 'ready.console' is not a regular expression: unterminated character set at position 0.",
        ),
        (
            "kind: files\nrole: files\nfiles: [{source: a, target: /a, mode: 0755}]\n",
            "f.yaml:7:39: 'files[0].mode' must be text, not the number 0755. Expected an octal mode in quotes, such as "
            '"0755".',
        ),
    ],
)
def test_a_wrong_component_is_told_in_a_sentence(text: str, message: str) -> None:
    assert problems(HEAD + text, "component") == [message]


def test_a_name_may_not_end_with_a_line_break() -> None:
    assert problems('schema: 1\nname: "a\\n"\nsummary: b\nkernel: k\nmachine: m\ncomponents: [c]\n', "composition") == [
        "f.yaml:2:7: 'name' is 'a\n'. Expected a name of small letters, digits, '-', '.' and '+', such as my-part."
    ]


def test_a_newer_schema_is_the_only_problem_told() -> None:
    assert problems("schema: 2\nfuture: true\n", "composition") == [
        "f.yaml:1:9: the file is written for schema 2; this Rumpel knows schema 1. Use a newer Rumpel."
    ]
