"""A project's tests, run by a pytest of their own, and what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFTEST = """
import json, os, pathlib, pytest

def sql(vm, statement):
    return vm.http().post("/api/query", json={"sql": statement})

@pytest.fixture(autouse=True)
def seen(request):
    yield
    machine = request.node.funcargs.get("vm")
    if machine is not None:
        place = pathlib.Path(os.environ["SEEN"]) / (request.node.name + ".json")
        place.write_text(json.dumps({"pid": machine.instance.pid, "folder": str(machine.folder), "url": machine.url}))
"""


@dataclass(frozen=True)
class Run:
    """A run of pytest: its words, what it left. `texts` are those of failures in JUnit's file, by the test."""

    output: str
    outcomes: dict[str, str]
    properties: dict[str, dict[str, str]]
    texts: dict[str, str]
    project: Path
    temporary: Path

    def seen(self, test: str) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.project / "seen" / f"{test}.json").read_text())
        return found


def project_with(folder: Path, composition: str, text: str) -> Path:
    """A project below `folder` that has one composition."""
    project = folder / "project"
    (project / "compositions").mkdir(parents=True)
    (project / "compositions" / f"{composition}.yaml").write_text(text)
    return project


def run_pytest(project: Path, tests: str, *options: str, **settings: str) -> Run:
    """Run pytest over `tests` in a project of its own, with options of its command line and environment variables."""
    (project / "seen").mkdir(parents=True)
    temporary = project / "tmp"
    temporary.mkdir()
    (project / "conftest.py").write_text(CONFTEST)
    (project / "test_it.py").write_text(tests)
    report = project / "junit.xml"
    command = [sys.executable, "-m", "pytest", "-p", "rumpel.harness.plugin", "-p", "no:cacheprovider", "-rs", "-v"]
    command += ["--rumpel-accel=tcg", f"--junitxml={report}", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SEEN": str(project / "seen")}
    environment |= {"TMPDIR": str(temporary), **settings}
    done = subprocess.run(
        command, cwd=project, env=environment, text=True, check=False, timeout=280, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    outcomes, properties, texts = {}, {}, {}
    for case in ElementTree.parse(report).iter("testcase"):
        ends = [child for child in case if child.tag in ("failure", "error", "skipped")]
        outcomes[case.attrib["name"]] = ends[0].tag if ends else "passed"
        texts[case.attrib["name"]] = "".join(end.text or "" for end in ends)
        properties[case.attrib["name"]] = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    return Run(done.stdout, outcomes, properties, texts, project, temporary)
