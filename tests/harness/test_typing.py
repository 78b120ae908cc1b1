"""A program's standard input is the console, the same on every kernel: what is typed arrives, and there is no end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.dicing import copy_project

import rumpel
from rumpel.harness.vm import Vm

pytestmark = [pytest.mark.boot, pytest.mark.slow]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project("parrot", tmp_path_factory.mktemp("parrot"))


@pytest.fixture(params=["nano", "linux", "debian"])
def parrot(request: pytest.FixtureRequest, project: Path) -> Iterator[Vm]:
    with rumpel.boot("parrot", kernel=request.param, accel="tcg", project=project) as vm:
        yield vm


def test_a_dialog_with_the_program_is_the_same_on_every_kernel(parrot: Vm) -> None:
    parrot.console.wait_for("^terminal: 1 1$")
    parrot.console.wait_for("^readable: 0$")  # neither at its end nor with bytes that nobody typed
    parrot.console.wait_for("^mode: 1 1 1 0, 0 by 0$")  # raw; setting that again is no error
    dialog = parrot.console.interact(timeout=60)
    dialog.sendline("Polly")
    dialog.expect("said: Polly\n")
    assert dialog.before == ""  # nobody echoes what is typed
    dialog.sendline("a\x03b\x04c\x1ad\r")  # to a terminal's line discipline: interrupt, end, stop
    dialog.expect("said: a<3>b<4>c<26>d<13>\n")
    dialog.sendline("bye")
    assert parrot.wait_exit() == 0
