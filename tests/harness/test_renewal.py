"""A machine that is restored has the host's time and random numbers of its own; one with a seed is the same again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.conftest import Guest
from tests.harness.dicing import copy_project, roll, roll_at

import rumpel
from rumpel.errors import MachineError
from rumpel.harness.vm import Vm

pytestmark = [pytest.mark.boot, pytest.mark.slow]

AHEAD = 100_000  # seconds
BEGIN = 1704067200  # 2024-01-01, where a seeded machine's clock begins
MINUTE, HOUR = 60, 3600


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project("dice", tmp_path_factory.mktemp("dice"))


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project("parrot", tmp_path_factory.mktemp("parrot"))


@pytest.fixture(scope="module", params=["nano", "linux", "debian"])
def machine(request: pytest.FixtureRequest, project: Path) -> Iterator[Vm]:
    with rumpel.boot("dice", kernel=request.param, accel="tcg", clock=AHEAD, project=project) as vm:
        vm.snapshot("ready")
        yield vm


def test_restores_of_one_snapshot_have_no_random_number_in_common(machine: Vm) -> None:
    port, rolls = machine.host_port("http"), []
    for _ in range(4):
        machine.restore("ready")
        rolls.append(roll_at(port))  # a client that nobody holds back
    assert len({each.random for each in rolls}) == 4
    assert len({(each.drawn, each.asked) for each in rolls}) == 1  # it is the one program that was saved


def test_a_machine_may_be_restored_while_it_is_still_on_its_way(machine: Vm) -> None:
    for _ in range(3):
        machine.restore("ready")
    machine.snapshot("again")
    machine.restore("again")
    assert machine.console.text == ""
    assert roll(machine).random != roll(machine).random


def test_a_restored_machine_has_the_hosts_time_and_the_clock_that_it_was_started_with(machine: Vm) -> None:
    machine.restore("ready")
    machine.pause()
    time.sleep(3)
    machine.snapshot("later")
    machine.kill()  # another QEMU's time stamp counter begins where the snapshot's ended
    for name in ("ready", "later"):
        machine.restore(name)
        before = time.time()
        told = roll(machine).time - AHEAD
        assert before - 1 <= told <= time.time() + 1


@pytest.mark.documents("Vm.wait_renewed", MachineError)
@pytest.mark.documents("VmConsole.type", MachineError)
def test_a_guest_that_takes_no_random_numbers_of_its_own_is_an_error(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rumpel.harness.vm.LONGEST_RENEWAL", 0.5)
    vm = guest("deaf", net=True)
    vm.console.wait_for("READY")
    vm.snapshot("deaf")
    for _ in range(2):
        vm.restore("deaf")
        with pytest.raises(MachineError) as caught:
            vm.wait(lambda: False)
        assert caught.value.message == (
            "The guest of 'floor' did not take a time and random numbers of its own within 0.5 s."
        )
    for unheard in (vm.wait_renewed, lambda: vm.console.type("x"), lambda: vm.snapshot("late")):
        with pytest.raises(MachineError, match="did not take"):
            unheard()


def dice_of(vm: Vm) -> tuple[str, int]:
    """A random number of the kernel's and its time, asked for in a way that draws no other number."""
    vm.console.type("dice\n")
    _, random, moment = vm.console.wait_for(r"^dice: \w+ \d+\n").text.split()
    return random, int(moment)


def test_a_machine_with_a_seed_is_the_same_after_each_restore(parrot: Path) -> None:
    with rumpel.boot("parrot", accel="tcg", seed=7, project=parrot) as vm:
        vm.snapshot("ready")
        told = []
        for _ in range(3):
            vm.restore("ready")
            told.append(dice_of(vm)[0])
        assert len(set(told)) == 1


def test_a_machine_with_a_seed_has_a_clock_of_its_own_also_after_a_restore(parrot: Path) -> None:
    # A program that never sleeps: while a guest with a seed does, its time leaps from timer to timer, by hours.
    with rumpel.boot("parrot", accel="tcg", seed=7, arguments=["awake"], project=parrot) as vm:
        began = int(vm.console.wait_for(r"^began: \d+\n").text.split()[1])
        assert BEGIN <= began < BEGIN + MINUTE
        vm.snapshot("ready")
        for _ in range(3):
            vm.restore("ready")
            assert began <= dice_of(vm)[1] < BEGIN + HOUR


def test_copies_of_a_machine_with_a_seed_are_the_same(parrot: Path) -> None:
    pool = rumpel.pool("parrot", size=1, accel="tcg", seed=7, project=parrot)
    with pool, pool.take() as first, pool.take() as second:
        assert dice_of(first)[0] == dice_of(second)[0]
