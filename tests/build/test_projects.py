"""Several projects that are built with one Rumpel, and one cache, keep apart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpel.build.api import BuildOptions, build

from .conftest import FILES, SmallProject, make_project

SOURCE = "components/greeting/greeting.c"


@pytest.fixture
def second(tmp_path: Path, checkout: Path, shared_cache: Path) -> SmallProject:
    return make_project(tmp_path / "second", checkout, shared_cache)


def greet(project: SmallProject, word: str) -> None:
    """Change what the project's program says, without a change of the source's time."""
    project.write(SOURCE, FILES[SOURCE].replace('"hello"', f'"{word}"'))
    os.utime(project.root / SOURCE, (1_600_000_000, 1_600_000_000))


def image(project: SmallProject) -> bytes:
    """Build the project's image with this checkout's Rumpel; the root filesystem."""
    manifest = build("hello", BuildOptions(project=project.root, offline=True))
    return (project.root / manifest.directory / manifest.rootfs.path).read_bytes()


def test_what_was_built_in_one_project_is_not_taken_for_what_was_built_in_another(
    project: SmallProject, second: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    greet(project, "good morning")
    greet(second, "good evening")
    assert b"good morning" in image(project)
    assert b"good evening" in image(second)


def test_a_build_of_a_project_writes_nothing_into_rumpel_itself(
    project: SmallProject, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    kept = {path: path.stat().st_mtime_ns for path in (checkout / "build").glob(".*")}
    image(project)
    assert {path: path.stat().st_mtime_ns for path in (checkout / "build").glob(".*")} == kept
    assert (project.root / "build/.signatures.dblite").is_file()
