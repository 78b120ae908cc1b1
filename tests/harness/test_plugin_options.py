"""Each option of the plugin does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.harness.plugin_runs import ROOT, Run, run_pytest

pytestmark = [pytest.mark.boot, pytest.mark.slow]

TESTS = f"""
import pytest
from rumpel.machine.accelerator import Choice

pytestmark = pytest.mark.composition("web", kernel="nano", project={str(ROOT)!r})

def test_accelerator(vm):
    assert vm.instance.accelerator == Choice("tcg")  # asked for: where it was measured the choice has a reason

def test_late(vm):
    vm.wait(lambda: False, timeout=0.2, what="the impossible")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = ("--rumpel-accel=tcg", "--rumpel-keep", "--rumpel-timeout-scale=2.5", "--rumpel-logs=elsewhere")
    return run_pytest(tmp_path_factory.mktemp("project"), TESTS, *options)


def test_the_accelerator_is_the_one_that_was_asked_for(run: Run) -> None:
    assert run.outcomes["test_accelerator"] == "passed", run.output


def test_every_timeout_is_multiplied(run: Run) -> None:
    assert "MachineError: 'the impossible' did not succeed within 0.5 s; at last it returned False." in run.output


def test_the_files_of_a_test_that_passed_are_kept_too_and_where_it_was_said(run: Run) -> None:
    for test in ("test_accelerator", "test_late"):
        folder = run.project / "elsewhere" / f"test_it.py-{test}" / "web"
        for name in ("console.log", "qmp.log", "command.sh"):
            assert run.properties[test][f"rumpel.web.{name}"] == str(folder / name)
            assert (folder / name).stat().st_size > 0


def test_the_folders_of_the_machines_are_kept_and_named(run: Run) -> None:
    named = re.search(r"^The machines' folders are kept in (.*)$", run.output, re.MULTILINE)
    assert named is not None, run.output
    folder = Path(named[1])
    assert folder.parent == run.temporary
    assert list(folder.glob("web-*/console.log"))


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--rumpel-timeout-scale=0", "--rumpel-timeout-scale: the factor must be above 0."),
        ("--rumpel-accel=xen", "invalid choice: 'xen'"),
        ("--rumpel-seed=-1", "--rumpel-seed: it is a number from 0 to 4294967295, or 'random'."),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(option: str, says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "rumpel.harness.plugin", option], cwd=tmp_path, text=True, check=False,
        env={"PYTHONPATH": str(ROOT / "src")}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert says in done.stdout
