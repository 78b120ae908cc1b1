"""A pool's machines are copies of one that became ready, each with a life, a time and random numbers of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.dicing import copy_project, roll
from tests.harness.sql import count, insert, prepare, sql

import rumpel
from rumpel.errors import MachineError, UsageError
from rumpel.harness.scratch import scratch
from rumpel.harness.vm import Vm
from rumpel.harness.warm import WarmPool

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


def memory_of(vm: Vm) -> dict[str, int]:
    """Kilobytes of QEMU's memory by kind (proc_pid_smaps(5)) in the guest's memory alone."""
    found: dict[str, int] = {}
    text = Path(f"/proc/{vm.instance.pid}/smaps").read_text()
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE):
        if "memfd:rumpel-memory" in mapping.partition("\n")[0]:
            for name, value in re.findall(r"^(\w+): +(\d+) kB$", mapping, re.MULTILINE):
                found[name] = found.get(name, 0) + int(value)
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project("dice", tmp_path_factory.mktemp("dice"))


@pytest.fixture(scope="module", params=["nano", "debian"])
def dice(request: pytest.FixtureRequest, project: Path) -> Iterator[WarmPool]:
    with rumpel.pool("dice", size=2, kernel=request.param, accel="tcg", project=project) as pool:
        yield pool


@pytest.fixture(scope="module")
def databases() -> Iterator[WarmPool]:
    with rumpel.pool("sqlite-web", size=1, machine="q35", accel="tcg", project=ROOT) as pool:
        yield pool


def test_machines_of_a_pool_are_ready_and_have_nothing_in_common(dice: WarmPool) -> None:
    with dice.take() as first, dice.take() as second, dice.take() as third:
        rolls = [roll(vm) for vm in (first, second, third)]
        assert len({vm.url for vm in (first, second, third)}) == 3
        assert len({vm.folder for vm in (first, second, third)}) == 3
        assert len({each.random for each in rolls}) == 3
        # All began with the one answer to the question whether the original was ready.
        assert {each.asked for each in rolls} == {rolls[0].asked}
        assert roll(first).asked == rolls[0].asked + 1
        # What the program itself had drawn before is the same, as is documented.
        assert len({each.drawn for each in rolls}) == 1


def test_a_machine_of_a_pool_has_the_hosts_time(dice: WarmPool) -> None:
    with dice.take() as vm:
        before = time.time()
        told = roll(vm).time
        assert before - 1 <= told <= time.time() + 1


def test_a_taken_machine_is_replaced(dice: WarmPool) -> None:
    assert dice.wait_warm()
    assert dice.warm == dice.size == 2
    with dice.take() as vm:
        pid = vm.instance.pid
        assert dice.wait_warm()
        with dice.take() as other:
            assert other.instance.pid != pid


def test_a_machine_that_died_while_it_waited_is_not_given_out(dice: WarmPool) -> None:
    assert dice.wait_warm()
    for waiting in dice._idle:
        os.kill(waiting.instance.pid, signal.SIGKILL)
        assert waiting.instance.running.wait_end(20)
    with dice.take() as vm:
        assert roll(vm).random


def test_memory_that_no_copy_wrote_is_there_once(dice: WarmPool) -> None:
    with dice.take() as first, dice.take() as second:
        assert roll(first) and roll(second)
        assert 0 < dice.shared < 96 << 20
        for vm in (first, second):
            memory = memory_of(vm)
            assert memory["Rss"] > 0
            assert memory["Anonymous"] < memory["Rss"]
            assert memory["Pss"] < memory["Rss"]


def test_a_copy_has_snapshots_a_reset_and_a_power_switch(dice: WarmPool) -> None:
    with dice.take() as vm:
        begun = roll(vm).asked
        vm.snapshot("here")
        assert roll(vm).asked == begun + 1
        vm.restore("here")
        assert roll(vm).asked == begun + 1
        vm.kill()
        vm.restore("here")
        assert roll(vm).asked == begun + 1
        vm.reset()
        vm.wait_ready()
        drawn = roll(vm).drawn
        vm.kill()
        vm.power_on()
        assert roll(vm).drawn != drawn


def test_copies_run_in_the_qemu_of_their_original(
    project: Path, tmp_path: Path, first_qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rumpel.pool("dice", size=1, kernel="nano", accel="tcg", project=project) as pool:
        monkeypatch.setenv("RUMPEL_QEMU", str(tmp_path / "another"))
        for _ in range(3):
            with pool.take() as vm:
                assert vm.instance.qemu == str(first_qemu)
                vm.kill()
                vm.power_on()
                assert vm.instance.qemu == str(first_qemu)


def test_the_volumes_of_copies_begin_alike_and_are_their_own(databases: WarmPool) -> None:
    with databases.take() as first, databases.take() as second:
        prepare(first)
        insert(first)
        assert sql(second, "select * from t").status_code == 400
        prepare(second)
        assert (count(first), count(second)) == (1, 0)
        assert sql(first, "pragma integrity_check").json()["rows"] == [["ok"]]
        first.kill()
        first.power_on()
        assert count(first) == 1
        second.faults.disk_full()
        assert sql(second, "insert into t values (1)").status_code == 500
        second.faults.heal()
        insert(second)
    with databases.take() as third:
        assert sql(third, "select * from t").status_code == 400


def test_a_pool_may_be_used_by_many_threads(dice: WarmPool) -> None:
    seen: list[str] = []

    def use() -> None:
        with dice.take() as vm:
            seen.append(roll(vm).random)

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 5


@pytest.mark.documents("WarmPool.take", UsageError)
def test_a_closed_pool_has_closed_its_machines_and_left_nothing(project: Path) -> None:
    before = set(scratch().root.iterdir())
    pool = rumpel.pool("dice", size=1, accel="tcg", project=project)
    assert pool.wait_warm()
    taken = pool.take()
    waiting = list(pool._idle)
    pool.close()
    pool.close()
    assert taken.ended and all(vm.ended for vm in waiting)
    assert set(scratch().root.iterdir()) == before
    with pytest.raises(UsageError) as caught:
        pool.take()
    assert str(caught.value) == "The pool is closed."


@pytest.mark.documents("pool", UsageError)
def test_what_cannot_be_a_pool_is_refused(project: Path) -> None:
    with pytest.raises(UsageError) as caught:
        rumpel.pool("dice", size=0, accel="tcg", project=project)
    assert str(caught.value) == "A pool cannot keep 0 machines.\nIts size is 1 or more."
    with pytest.raises(UsageError) as caught:
        rumpel.pool("dice", ports={"http": 8080}, accel="tcg", project=project)
    assert str(caught.value) == "The machines of a pool cannot all have the same port.\nLeave out 'ports'."
    with pytest.raises(UsageError) as caught:
        rumpel.pool("hello", accel="tcg", project=ROOT)
    assert str(caught.value) == (
        "There can be no pool of 'hello': it is ready when its program has ended.\nBoot it each time."
    )


def test_an_original_that_does_not_become_ready_says_why(project: Path) -> None:
    with pytest.raises(MachineError, match=r"^The machine 'dice' was not ready within 0\.001 s") as caught:
        rumpel.pool("dice", timeout=0.001, accel="tcg", project=project)
    assert caught.value.evidence.command.startswith("/")
    assert all(file.exists() for file in caught.value.evidence.files)


def test_a_pool_is_used_by_asyncio(project: Path) -> None:
    async def use() -> None:
        async with await rumpel.aio.pool("dice", size=1, accel="tcg", project=project) as pool:
            assert await pool.wait_warm()
            async with await pool.take() as vm:
                assert (await vm.http().get("/")).status_code == 200

    asyncio.run(use())


OWNER = """
import sys, rumpel
pool = rumpel.pool("dice", size=2, accel="tcg", project=sys.argv[1])
pool.wait_warm()
print(*(vm.instance.pid for vm in pool._idle), flush=True)
sys.stdin.read()
"""


def test_the_machines_of_a_pool_die_with_its_owner(project: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert owner.stdout is not None
    machines = [os.pidfd_open(int(word)) for word in owner.stdout.readline().split()]
    assert len(machines) == 2
    owner.kill()
    owner.communicate()
    import select

    for machine in machines:
        assert select.select([machine], [], [], 20)[0]
        os.close(machine)
