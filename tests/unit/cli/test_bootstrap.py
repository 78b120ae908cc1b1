"""Which Debian packages a command asks for, and what is said where they may not be installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpel.cli.bootstrap import Level, bring, bring_emulator_packages, required_packages
from rumpel.cli.images import bring_npm
from rumpel.errors import HostError
from rumpel.model.lock import load_lock

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The PATH is one empty folder, and the user is not the administrator."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


def program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\nexit 1\n")
    (folder / name).chmod(0o755)


def test_a_package_is_not_asked_for_where_its_program_came_in_another_way(tmp_path: Path, no_programs: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/debian.txt").write_text("# All\ngit   # clones\nnpm unless npm  # packages\n")
    level = Level("some", "run.txt", ("debian.txt",))
    assert required_packages(tmp_path, level) == ["git", "npm"]
    program(no_programs, "npm")
    assert required_packages(tmp_path, level) == ["git"]


def test_npm_is_asked_for_only_where_something_is_to_be_fetched_with_it(
    no_programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(no_programs / "cache"))
    lock = load_lock(ROOT / "rumpel.lock")
    bring_npm([entry for entry in lock.entries if entry.kind != "npm"])
    node = lock.get("node")
    assert node is not None
    with pytest.raises(HostError) as caught:
        bring_npm([node])
    assert str(caught.value) == (
        "'npm' is not installed; it fetches 'node'.\n"
        "As root, paste this line, then start again:\n"
        "    apt-get update && apt-get install --yes --no-install-recommends npm"
    )


def test_with_sudo_that_asks_for_a_password_the_line_is_said_with_it(no_programs: Path) -> None:
    program(no_programs, "sudo")
    with pytest.raises(HostError) as caught:
        bring("npm", "npm", "it fetches 'node'.")
    assert caught.value.hint == (
        "Paste this line, then start again:\n"
        "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends npm"
    )


def test_what_is_there_is_not_brought(no_programs: Path) -> None:
    program(no_programs, "npm")
    bring("npm", "npm", "")


def test_the_packages_of_an_emulator_are_not_fetched_where_nothing_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # who could install it
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/debian-emulator.txt").write_text("libc6\nno-such-package\n")
    with pytest.raises(HostError) as caught:
        bring_emulator_packages(tmp_path, offline=True)
    assert caught.value.message == (
        "Nothing may be fetched, but Debian packages are missing to build QEMU: no-such-package."
    )
    assert caught.value.hint.endswith("apt-get install --yes --no-install-recommends no-such-package")
