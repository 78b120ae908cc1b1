"""The plugin's promises, seen from outside: a project's tests are run by a pytest of their own, and looked at."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.harness.plugin_runs import ROOT, Run, project_with, run_pytest

from rumpel.machine.emulator import find_qemu

pytestmark = [pytest.mark.boot, pytest.mark.slow]

TESTS = f"""
import pytest
from conftest import sql

WHERE = {{"project": {str(ROOT)!r}}}
database = pytest.mark.composition("sqlite-web", **WHERE)

@database
@pytest.mark.parametrize("number", range(3))
def test_fresh(vm, number):
    assert sql(vm, "create table t (x)").status_code == 200

@database
def test_failing(vm):
    vm.faults.nmi()
    vm.console.wait_for("NMI")
    assert sql(vm, "select * from t").status_code == 200

@database
def test_crashing(vm):
    vm.faults.power_cut()
    vm.console.wait_for("never")

class TestShared:
    pytestmark = pytest.mark.composition("sqlite-web", scope="class", env={{"LIMIT": "77"}}, **WHERE)

    def test_writes(self, vm):
        assert sql(vm, "create table t (x)").status_code == 200

    def test_sees_what_the_other_wrote(self, vm):
        assert sql(vm, "select count(*) from t").status_code == 200

@pytest.mark.composition("sqlite-web", machine=["microvm", "q35"], **WHERE)
def test_matrix(vm, request):
    assert vm.plan.machine.name in request.node.name

@database
def test_factory(boot):
    first, second = boot(), boot()
    assert first.url != second.url
    assert sql(first, "create table t (x)").status_code == 200
    assert sql(second, "select * from t").status_code == 400

@pytest.mark.composition("sqlite-web", memory="8M", **WHERE)
@pytest.mark.parametrize("number", range(3))
def test_never_boots(vm, number):
    raise AssertionError("it ran")
"""


# It is ready at a word that its program never says.
SILENT = """
schema: 1
name: silent
summary: Ends before it is ready
kernel: nano
machine: microvm
components: [hello]
arguments: [--status, "3"]
ready: {console: "^never$$"}
"""

TEST_OF_SILENT = """
import pytest

@pytest.mark.composition("silent")
def test_silent(vm):
    raise AssertionError("it ran")
"""


TEST_WITHOUT_FIXTURES = """
import rumpel

def test_by_itself():
    rumpel.boot("silent", accel="tcg")
"""


@pytest.fixture(scope="module", params=["alone", "xdist"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    options = ("-n2",) if request.param == "xdist" else ()
    return run_pytest(tmp_path_factory.mktemp("project"), TESTS, *options)


def test_every_test_gets_a_machine_as_it_was_when_it_became_ready(run: Run) -> None:
    for number in range(3):
        assert run.outcomes[f"test_fresh[{number}]"] == "passed", run.output


def test_a_machine_that_became_ready_serves_later_tests(run: Run) -> None:
    machines = {run.seen(f"test_fresh[{number}]")["pid"] for number in range(3)}
    assert len(machines) <= (2 if "-n2" in run.output or "gw1" in run.output else 1)


def test_a_matrix_runs_a_test_for_each_value(run: Run) -> None:
    assert run.outcomes["test_matrix[microvm]"] == "passed", run.output
    assert run.outcomes["test_matrix[q35]"] == "passed"


def test_the_factory_gives_machines_that_do_not_share_anything(run: Run) -> None:
    assert run.outcomes["test_factory"] == "passed", run.output


def test_a_failure_shows_the_console_of_the_test_and_names_the_files(run: Run) -> None:
    assert run.outcomes["test_failing"] == "failure"
    assert "Machine 'sqlite-web'" in run.output
    assert "NMI" in run.output
    assert "To start it by hand:" in run.output
    files = run.properties["test_failing"]
    for name in ("console.log", "qmp.log", "command.sh"):
        assert Path(files[f"rumpel.sqlite-web.{name}"]).stat().st_size > 0
    assert "inject-nmi" in Path(files["rumpel.sqlite-web.qmp.log"]).read_text()


def test_an_error_of_the_machine_ends_at_the_test_s_line(run: Run) -> None:
    shown = run.output[run.output.index("_ test_crashing _") :].partition("To start it by hand:")[0]
    assert '>       vm.console.wait_for("never")' in shown
    assert "src/rumpel/" not in shown


def test_the_command_of_a_failure_names_files_that_are_there(run: Run) -> None:
    command = Path(run.properties["test_failing"]["rumpel.sqlite-web.command.sh"])
    for name in ("settings", "volumes/data.ext4"):
        assert str(command.parent / name) in command.read_text()
        assert (command.parent / name).exists()


def test_a_crash_leaves_a_report(run: Run) -> None:
    assert run.outcomes["test_crashing"] == "failure"
    report = Path(run.properties["test_crashing"]["rumpel.sqlite-web.crash.txt"]).read_text()
    assert report.startswith("The machine 'sqlite-web' does not run: it was killed.\n")
    assert "QEMU's exit status: -9\n" in report


def test_a_machine_that_does_not_boot_is_reported_once_and_its_other_tests_are_skipped(run: Run) -> None:
    outcomes = sorted(run.outcomes[f"test_never_boots[{number}]"] for number in range(3))
    assert outcomes == ["error", "skipped", "skipped"], run.output
    assert (
        "'sqlite-web (memory 8 MiB)' did not boot in an earlier test: 8M is too little for 'sqlite-web'" in run.output
    )


def test_a_boot_that_failed_tells_each_thing_once(tmp_path: Path) -> None:
    project = project_with(tmp_path, "silent", SILENT)
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\necho 'a word of QEMU' >&2\nexec {shlex.quote(str(find_qemu('system')))} \"$@\"\n")
    qemu.chmod(0o755)
    run = run_pytest(project, TEST_OF_SILENT, RUMPEL_QEMU=str(qemu))
    assert run.outcomes == {"test_silent": "error"}, run.output

    heading, section = "_ ERROR at setup of test_silent _", "- Machine 'silent-not-booted' -"
    on_terminal = run.output[run.output.index(heading) : run.output.index("- generated xml file")].splitlines()[1:]
    folder = project / "rumpel-logs" / "test_it.py-test_silent" / "silent-not-booted"
    program, command = (folder / "command.sh").read_text().splitlines()
    assert program == "#!/bin/sh"
    expected = [
        "E   rumpel.errors.MachineError: The program ended with status 3 before the machine was ready.",
        section,
        "The console during this test:",
        "    Hello from Rumpel.",
        "    argument 1: --status",
        "    argument 2: 3",
        "    environment HOME=/tmp",
        "    environment PATH=/usr/local/bin:/usr/bin:/bin",
        "QEMU said:",
        "    a word of QEMU",
        "QEMU's exit status: 1",
        "The program's exit status: 3",
        f"Files: {folder}",
        "To start it by hand:",
        "    " + command.removeprefix("exec "),
    ]
    for shown in (on_terminal, run.texts["test_silent"].splitlines()):
        lines = [line for line in shown if line and not line.startswith("All traceback")]
        assert [section if section in line else line for line in lines] == expected


def test_an_error_of_a_machine_that_the_plugin_did_not_start_tells_all_by_itself(tmp_path: Path) -> None:
    project = project_with(tmp_path, "silent", SILENT)
    run = run_pytest(project, TEST_WITHOUT_FIXTURES)
    assert run.outcomes == {"test_by_itself": "failure"}, run.output
    for once in ("    Hello from Rumpel.\n", "To start it by hand:\n", " -kernel "):
        assert run.output.count(once) == 1, run.output


def test_tests_of_one_scope_share_a_machines_state(run: Run) -> None:
    if "gw1" in run.output:
        pytest.skip("pytest-xdist may give the tests of a class to two processes")
    assert run.outcomes["test_writes"] == "passed", run.output
    assert run.outcomes["test_sees_what_the_other_wrote"] == "passed"


def test_nothing_is_left_in_the_temporary_folder(run: Run) -> None:
    assert [path.name for path in run.temporary.iterdir() if not path.name.startswith("pytest-of-")] == []
