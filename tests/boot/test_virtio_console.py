"""A composition that has its console on a virtio device: one log with what goes by the serial port, in order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import rumpel
from rumpel.errors import UsageError

LINES = 100_000  # more than the FIFO between QEMU and its owner holds

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("type") / "project"
    shutil.copytree(Path(__file__).parent / "type", folder)
    return folder


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_what_the_program_writes_and_what_is_typed_goes_by_the_virtio_console(project: Path, machine: str) -> None:
    with rumpel.boot("type", project=project, machine=machine, accel="tcg", arguments=[str(LINES)]) as vm:
        vm.console.type("hello \x01c\n")
        vm.console.wait_for("^typed: .*$")
        lines = vm.console.text.splitlines()
    first = lines.index("line 0 of the program")
    assert lines[first : first + LINES] == [f"line {number} of the program" for number in range(LINES)]
    assert lines[first + LINES :] == ["type something", "typed: hello \x01c"]


def test_the_kernels_own_words_stand_where_they_belong(project: Path) -> None:
    with rumpel.boot("type", project=project, accel="tcg") as vm:
        vm.console.type("crash\n")
        vm.console.wait_for("signal 11")
        text = vm.console.text
    assert text.index("type something") < text.index("typed: crash") < text.index("signal 11")


def test_a_run_whose_typing_could_not_be_recorded_is_not_recorded(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        rumpel.boot("type", project=project, accel="tcg", record=tmp_path / "recording")
    assert str(caught.value) == (
        "A run of 'type' cannot be recorded: its console is on the driver 'virtio-console', and QEMU records what is "
        "typed on serial ports alone.\nTake 'virtio-console' out of the composition's 'drivers'."
    )
    assert not (tmp_path / "recording").exists()
