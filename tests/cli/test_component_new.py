"""`rumpel component new`: what it refuses before it fetches anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rumpel(project: Path, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RUMPEL_CACHE": str(project / "cache")}
    command = [sys.executable, "-m", "rumpel", "--project", str(project), "component", "new", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr.replace("rumpel: ", "", 1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "compositions").mkdir()
    return tmp_path


def test_a_component_that_exists_is_never_written_to(project: Path) -> None:
    folder = project / "components/nginx-light"
    folder.mkdir(parents=True)
    (folder / "component.yaml").write_text("mine\n")
    assert rumpel(project, "--deb", "nginx-light") == (
        2,
        "The folder 'components/nginx-light' exists already; nothing was changed.\nChoose another name: --name NAME.\n",
    )
    assert (folder / "component.yaml").read_text() == "mine\n"
    assert not (project / "cache").exists()


@pytest.mark.parametrize(
    ("words", "what"), [(("--deb", "Nginx"), "package"), (("--deb", "nginx", "--name", "../x"), "component")]
)
def test_a_name_that_cannot_be_one_is_told(project: Path, words: tuple[str, ...], what: str) -> None:
    assert rumpel(project, *words) == (
        2,
        f"'{words[-1]}' cannot be the name of a {what}.\n"
        "A name has small letters, digits, '-', '.' and '+', such as nginx-light.\n",
    )
    assert not (project / "components").exists()
