"""npm's package-lock.json: which packages it asks for, where they go, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rumpel.errors import Location, ModelError
from rumpel.model.package_lock import LockedModule, read_package_lock

GOOD = {"version": "1.0.0", "integrity": "sha512-AAAA"}


def read(folder: Path, packages: dict[str, object], **more: object) -> tuple[LockedModule, ...]:
    path = folder / "package-lock.json"
    path.write_text(json.dumps({"lockfileVersion": 3, "packages": {"": {"name": "app"}, **packages}, **more}))
    return read_package_lock(path, Location(Path("component.yaml"), 9, 9))


def refusal(folder: Path, packages: dict[str, object]) -> str:
    with pytest.raises(ModelError) as caught:
        read(folder, packages)
    return str(caught.value).replace(f"{folder}/", "")


def test_each_package_becomes_a_source_with_its_version_and_its_place(tmp_path: Path) -> None:
    modules = read(
        tmp_path,
        {
            "node_modules/b": GOOD,
            "node_modules/@scope/a": {**GOOD, "version": "2.1.0", "bin": {"a": "cli.js"}},
            "node_modules/b/node_modules/@scope/a": {**GOOD, "version": "1.9.0"},
        },
    )
    assert [(each.path, each.source.name, each.source.package, each.source.version) for each in modules] == [
        ("node_modules/@scope/a", "npm-scope-a-2.1.0", "@scope/a", "2.1.0"),
        ("node_modules/b", "npm-b-1.0.0", "b", "1.0.0"),
        ("node_modules/b/node_modules/@scope/a", "npm-scope-a-1.9.0", "@scope/a", "1.9.0"),
    ]
    assert {each.source.integrity for each in modules} == {"sha512-AAAA"}


def test_what_is_for_development_or_for_another_system_is_left_out(tmp_path: Path) -> None:
    modules = read(
        tmp_path,
        {
            "node_modules/test": {**GOOD, "dev": True},
            "node_modules/mac": {**GOOD, "optional": True, "os": ["darwin"]},
            "node_modules/arm": {**GOOD, "optional": True, "cpu": ["arm64"]},
            "node_modules/not-linux": {**GOOD, "optional": True, "os": ["!linux"]},
            "node_modules/musl": {**GOOD, "optional": True, "libc": ["musl"]},
            "node_modules/ours": {**GOOD, "os": ["linux"], "cpu": ["x64"], "libc": ["glibc"]},
            "node_modules/not-windows": {**GOOD, "os": ["!win32"]},
        },
    )
    assert [each.path for each in modules] == ["node_modules/not-windows", "node_modules/ours"]


def test_a_package_that_wants_an_install_script_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"node_modules/native": {**GOOD, "hasInstallScript": True}}) == (
        "package-lock.json: the npm package 'native' 1.0.0 wants to run a script when it is installed; Rumpel runs no "
        "scripts of packages. Take a package that works as it is published, or one that brings its machine code in a "
        "package for linux-x64."
    )


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(
        tmp_path,
        {
            "node_modules/a": {**GOOD, "resolved": "git+ssh://host/a.git"},
            "node_modules/b": {"version": "1.0.0"},
            "packages/c": {**GOOD, "link": True},
            "node_modules/../../etc": GOOD,
        },
    )
    assert said.splitlines() == [
        "package-lock.json: 'node_modules/../../etc' is not a package of npm's registry, but a folder of this machine. "
        "Publish it, or copy its files into the component's folder and name them under 'files'.",
        "package-lock.json: the npm package 'a' comes from 'git+ssh://host/a.git', not from npm's registry. "
        "Take a published version of it.",
        "package-lock.json: the npm package 'b' has no version or no SHA-512 digest. "
        "Write the file anew: `npm install --package-lock-only`.",
        "package-lock.json: 'packages/c' is not a package of npm's registry, but a folder of this machine. "
        "Publish it, or copy its files into the component's folder and name them under 'files'.",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"lockfileVersion": 1, "dependencies": {}}'])
def test_what_is_no_package_lock_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "package-lock.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"this is not a package-lock.json of version 2 or 3: .*\. Write it anew"):
        read_package_lock(path, Location(Path("component.yaml")))
