"""The components that the documentation shows are correct as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rumpel.model.project import Project

ROOT = Path(__file__).resolve().parents[3]
FILES = {"clock": "clock.py", "greet": "app/server.js", "greeting": "greeting.c"}
EXAMPLE = re.compile(r"`components/([a-z]+)/component.yaml`.*?```yaml\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize(("page", "names"), [("docs/packages.md", ["clock", "greet"]), ("README.md", ["greeting"])])
def test_the_components_in_the_documentation_can_be_read(page: str, names: list[str], tmp_path: Path) -> None:
    shown = dict(EXAMPLE.findall((ROOT / page).read_text()))
    assert sorted(shown) == names
    for name, text in shown.items():
        folder = tmp_path / "components" / name
        (folder / FILES[name]).parent.mkdir(parents=True)
        (folder / FILES[name]).touch()
        (folder / "component.yaml").write_text(text)
        (folder / "package-lock.json").write_text(
            json.dumps({"name": name, "lockfileVersion": 3, "packages": {"": {}}})
        )
        component = Project([tmp_path, ROOT]).component(name)
        assert (component.name, component.summary != "") == (name, True)
