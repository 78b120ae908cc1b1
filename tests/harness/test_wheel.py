"""A project outside this repository, with Rumpel installed from its wheel, builds and tests its own composition."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("compositions", "components", "hal", "kernels", "schemas", "requirements", "src", "docs")


def run(command: Sequence[object], **options: object) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RUMPEL_PROJECT")}
    done = subprocess.run(
        [str(word) for word in command], env=environment, text=True, stdout=subprocess.PIPE, check=False,
        stderr=subprocess.STDOUT, timeout=600, **options,  # type: ignore[call-overload]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as building leaves files beside its sources."""
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "SConstruct", "rumpel.lock", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", source / "dist", source])
    [built] = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel in it."""
    home = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", home])
    run([home / "bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel, "pytest-xdist"])
    return home / "bin"


def test_the_wheel_carries_the_parts_and_nothing_of_this_machine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        texts = [archive.read(name) for name in names]
    for name in (
        "compositions/sqlite-web.yaml", "components/web/component.yaml", "hal/drivers/virtio-blk/driver.yaml",
        "hal/machines/q35/machine.yaml", "kernels/debian/kernel.yaml", "kernels/init/main.c", "rumpel.lock",
        "schemas/composition.schema.json", "SConstruct",
    ):  # fmt: skip
        assert f"rumpel/own/{name}" in names
    assert "rumpel/py.typed" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert not [text for text in texts if str(ROOT).encode() in text]


def test_a_project_outside_the_repository_tests_its_own_composition(installed: Path, tmp_path: Path) -> None:
    project = tmp_path / "guestbook"
    shutil.copytree(ROOT / "examples/guestbook", project)
    words = [installed / "pytest", "-q", "-p", "no:cacheprovider", "--rumpel-accel=tcg", "-n2"]
    output = run(words, cwd=project)
    assert "9 passed" in output, output
    assert (project / "build/guestbook/debian-microvm/manifest.json").is_file()


def test_the_installed_command_line_finds_both_projects_parts(installed: Path, tmp_path: Path) -> None:
    project = tmp_path / "guestbook"
    shutil.copytree(ROOT / "examples/guestbook", project)
    output = run([installed / "rumpel", "list"], cwd=project)
    assert "guestbook" in output
    assert "sqlite-web" in output
