"""What a person has set or keeps for other purposes does not change a build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpel.build.api import BuildOptions, build

from .conftest import SmallProject


def test_a_build_from_python_ignores_what_is_set_for_other_scons_builds(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    monkeypatch.setenv("SCONSFLAGS", "--clean")
    (project.root / "site_scons").mkdir()
    (project.root / "site_scons/site_init.py").write_text("raise SystemExit('site_init.py ran')\n")
    manifest = build("hello", BuildOptions(project=project.root, offline=True))
    assert (project.root / manifest.directory / manifest.rootfs.path).is_file()


def test_a_file_of_the_project_does_not_stand_in_for_a_module_of_python(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    for module in ("secrets.py", "tempfile.py", "yaml.py"):
        project.write(module, "raise SystemExit('the project took the place of a module')\n")
    assert build("hello", BuildOptions(project=project.root, offline=True)).composition == "hello"


def test_a_relative_cache_is_where_the_command_runs(
    project: SmallProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUMPEL_CACHE", os.path.relpath(project.cache, tmp_path))
    build("hello", BuildOptions(project=project.root, offline=True))
    assert not (project.root / os.environ["RUMPEL_CACHE"]).exists()
