"""A fleet runs every case once it has a worker for it, and loses none with a worker that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.fleet_cases import LONGEST, ROOT, Serve, Served, die, fail_at_two, serve, wait_long, where

import rumpel
from rumpel.errors import HostError, MachineError, UsageError
from rumpel.harness.fleet import Outcome

pytestmark = [pytest.mark.boot, pytest.mark.slow]


class Fleet:
    """A scheduler on the loopback interface, and its workers, each a process that runs one case at a time."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir()
        self._folder = folder
        paths = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        self._environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder), **environment}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(self._file))
        deadline = time.monotonic() + LONGEST
        while not self._file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.address = str(json.loads(self._file.read_text())["address"])

    def worker(self, *words: str) -> subprocess.Popen[bytes]:
        local = ("--local-directory", str(self._folder))
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny", *local, *words)

    def _start(self, role: str, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", role, "--host", "127.0.0.1", "--no-dashboard", *words]
        log = (self._folder / f"{role}{len(self._processes)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, env=self._environment, cwd=self._folder, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def wait_for_workers(self, number: int) -> None:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=LONGEST)

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()


@contextlib.contextmanager
def fleet_in(folder: Path, **environment: str) -> Iterator[Fleet]:
    fleet = Fleet(folder, **environment)
    try:
        yield fleet
    finally:
        fleet.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, int]]:
    """A fleet of two workers; the process of the one that declares 'kvm', which for a fleet is only a word."""
    with fleet_in(tmp_path_factory.mktemp("pair") / "fleet") as fleet:
        fleet.worker()
        declaring = fleet.worker("--resources", "kvm=1")
        fleet.wait_for_workers(2)
        yield fleet, declaring.pid


def begun(log: Path) -> list[tuple[int, int, int]]:
    """Case, worker and QEMU, in the order of their beginning."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(number), int(worker), int(qemu)) for number, worker, qemu in map(str.split, lines)]


def test_cases_of_a_worker_that_is_killed_are_run_again_and_its_machines_die(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    cases = [Serve(number, str(log), str(go)) for number in range(6)]
    outcomes: list[Outcome[Serve, Served]] = []
    with fleet_in(tmp_path / "fleet") as fleet:
        workers = [fleet.worker(), fleet.worker()]
        fleet.wait_for_workers(2)
        running = threading.Thread(
            target=lambda: outcomes.extend(rumpel.fleet.run(serve, cases, scheduler=fleet.address)), daemon=True
        )
        running.start()
        deadline = time.monotonic() + LONGEST
        while len({worker for _, worker, _ in begun(log)}) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        lost = workers[0].pid
        [(case, _, qemu)] = [each for each in begun(log) if each[1] == lost]
        machine = os.pidfd_open(qemu)
        workers[0].kill()
        assert select.select([machine], [], [], 30)[0]  # its owner's death was its own
        os.close(machine)
        go.touch()
        running.join(LONGEST)
    assert [outcome.case for outcome in outcomes] == cases
    assert [outcome.result().number for outcome in outcomes] == list(range(6))
    assert {outcome.result().worker for outcome in outcomes} == {workers[1].pid}
    assert {outcome.result().status for outcome in outcomes} == {200}
    runs = sorted((number, worker) for number, worker, _ in begun(log))
    assert runs == sorted([*((number, workers[1].pid) for number in range(6)), (case, lost)])


def test_an_error_is_the_outcome_of_its_case_alone_with_all_it_holds(pair: tuple[Fleet, int]) -> None:
    fleet, _ = pair
    outcomes = rumpel.fleet.run(fail_at_two, range(4), scheduler=fleet.address)
    assert [outcome.value for outcome in outcomes] == [0, 10, None, 30]
    with pytest.raises(MachineError) as caught:
        outcomes[2].result()
    assert (caught.value.message, caught.value.hint) == ("It broke.", "Mend it.")
    assert caught.value.evidence.console == "the last words"
    assert caught.value.evidence.files == (Path("/a"),)
    [note] = caught.value.__notes__
    assert note.startswith("On the worker tcp://127.0.0.1:")


def test_cases_for_an_accelerator_run_only_where_it_was_declared(pair: tuple[Fleet, int]) -> None:
    fleet, declaring = pair
    cases = rumpel.fleet.matrix(composition="web", accel="kvm", memory=["64M", "128M", "256M", "1G"])
    outcomes = rumpel.fleet.run(where, cases, scheduler=fleet.address)
    assert {outcome.result() for outcome in outcomes} == {declaring}


def test_a_client_that_is_given_stays_open(pair: tuple[Fleet, int]) -> None:
    from distributed import Client

    fleet, _ = pair
    with Client(fleet.address, set_as_default=False) as client:
        assert rumpel.fleet.run(fail_at_two, [5], scheduler=client)[0].result() == 50
        assert rumpel.fleet.run(fail_at_two, [], scheduler=client) == []
        assert client.status == "running"


def test_an_accelerator_that_no_worker_has_is_said_at_once(pair: tuple[Fleet, int]) -> None:
    fleet, _ = pair
    with pytest.raises(HostError) as caught:
        rumpel.fleet.run(where, [{"accel": "hvf"}], scheduler=fleet.address)
    assert str(caught.value) == (
        f"No worker of the Dask scheduler '{fleet.address}' declares the accelerator 'hvf'.\n"
        f"Start one where there is one with: dask worker {fleet.address} --resources hvf=1"
    )


def test_a_case_that_its_workers_die_of_is_given_up(tmp_path: Path) -> None:
    with fleet_in(tmp_path / "fleet", DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as fleet:
        with pytest.raises(HostError) as caught:
            rumpel.fleet.run(where, [{}], scheduler=fleet.address, timeout=0.2)
        assert str(caught.value) == (
            f"The Dask scheduler '{fleet.address}' has had no worker for 0.2 s.\n"
            f"Start one on each computer with: dask worker {fleet.address}"
        )
        worker = fleet.worker()
        [outcome] = rumpel.fleet.run(die, [1], scheduler=fleet.address, timeout=LONGEST)
        assert worker.wait(30) == -signal.SIGKILL
    assert str(outcome.error) == (
        "The case 1 was given up: every worker that ran it was lost.\n"
        "Look at the workers' own logs: they may lack memory."
    )


def test_cases_whose_scheduler_is_lost_are_given_up(tmp_path: Path) -> None:
    with fleet_in(tmp_path / "fleet") as fleet:
        fleet.worker()
        fleet.wait_for_workers(1)
        threading.Timer(2, fleet.scheduler.kill).start()
        [outcome] = rumpel.fleet.run(wait_long, [1], scheduler=fleet.address)
    assert str(outcome.error) == "The case 1 was given up: the scheduler was lost."


@pytest.mark.documents("run", HostError)
def test_a_scheduler_that_is_not_there_is_said() -> None:
    with pytest.raises(HostError) as caught:
        rumpel.fleet.run(where, [{}], scheduler="tcp://127.0.0.1:1", timeout=0.5)
    assert caught.value.message.startswith("The Dask scheduler 'tcp://127.0.0.1:1' cannot be reached: ")
    assert caught.value.hint == ("Start one with 'dask scheduler', and give its address, such as tcp://127.0.0.1:8786.")


@pytest.mark.documents("run", UsageError)
def test_without_dask_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(UsageError) as caught:
        rumpel.fleet.run(where, [{}], scheduler="tcp://127.0.0.1:1")
    assert str(caught.value) == (
        "A fleet needs Dask, which is not installed.\nInstall it with: pip install 'rumpel[dask]'"
    )


@pytest.mark.documents("matrix", UsageError)
def test_a_matrix_has_a_case_for_each_combination() -> None:
    assert rumpel.fleet.matrix(composition="web", kernel=["linux", "nano"], arguments=["-v"], memory=["64M", "1G"]) == [
        {"composition": "web", "arguments": ["-v"], "kernel": "linux", "memory": "64M"},
        {"composition": "web", "arguments": ["-v"], "kernel": "linux", "memory": "1G"},
        {"composition": "web", "arguments": ["-v"], "kernel": "nano", "memory": "64M"},
        {"composition": "web", "arguments": ["-v"], "kernel": "nano", "memory": "1G"},
    ]
    assert rumpel.fleet.matrix(arguments=[["a"], ["b"]]) == [{"arguments": ["a"]}, {"arguments": ["b"]}]
    with pytest.raises(UsageError) as caught:
        rumpel.fleet.matrix(composition="web", kernel=[])
    assert str(caught.value) == "A matrix over no value of 'kernel' has no case.\nLeave it out, or name one."
