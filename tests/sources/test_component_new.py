"""`rumpel component new` with a real package: what it says comes next is all that is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.model.project import Project

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def rumpel(project: Path, *words: str) -> str:
    """What it says, after it succeeded."""
    command = [sys.executable, "-I", "-m", "rumpel", "--project", str(project), *words]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_component_out_of_a_package_is_built_after_the_steps_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "compositions").mkdir()
    said = rumpel(tmp_path, "component", "new", "--deb", "nginx-light")
    assert "Wrote components/nginx-light/component.yaml: /usr/sbin/nginx, from 6 packages.\n" in said
    assert "  2. Its packages are pinned already.\n" in said  # by Rumpel's own lock file, for its own nginx

    file = tmp_path / "components/nginx-light/component.yaml"
    text = file.read_text()
    assert "where some may be; add them above: nginx-common)\n" in text
    assert "#   files: [/etc/nginx/**]\n" in text
    text = text.replace("sources:\n", "sources:\n  nginx-common: {deb: nginx-common}\n")
    file.write_text(text.replace("# deb:\n#   files: [/etc/nginx/**]\n", "deb:\n  files: [/etc/nginx/**]\n"))
    (tmp_path / "compositions/nginx-light.yaml").write_text(
        "schema: 1\nname: nginx-light\nsummary: x\nkernel: debian\nmachine: microvm\ncomponents: [nginx-light]\n"
    )
    own = Project([ROOT]).component("nginx")
    new = Project([tmp_path, ROOT]).component("nginx-light")
    assert {source.package for source in new.sources} == {source.package for source in own.sources}
    assert "'nginx-light' is built: " in rumpel(tmp_path, "build", "nginx-light")
