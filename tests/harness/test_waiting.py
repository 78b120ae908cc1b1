"""Every wait ends with what it waits for, at its deadline, or at once with the machine; and says what it knows."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest
from tests.harness.conftest import Guest

from rumpel.errors import HostError, MachineError, UsageError
from rumpel.harness.vm import Vm
from rumpel.machine.console import Console
from rumpel.resolve.plan import Ready

pytestmark = pytest.mark.boot

LONG = 60.0
NEVER = Ready(kind="console", console="^never$", timeout=LONG)

WAITS: dict[str, Callable[[Vm], Any]] = {
    "console": lambda vm: vm.console.wait_for("never", timeout=LONG),
    "check": lambda vm: vm.wait(lambda: False, LONG),
    "event": lambda vm: vm.events.expect("NEVER").wait(LONG),
    "ready": lambda vm: vm.wait_ready(LONG),
}


def error_of(wait: Callable[[Vm], Any], vm: Vm) -> tuple[MachineError, float]:
    begun = time.monotonic()
    with pytest.raises(MachineError) as caught:
        wait(vm)
    return caught.value, time.monotonic() - begun


@pytest.mark.parametrize("wait", WAITS)
def test_every_wait_ends_at_once_when_qemu_is_killed(guest: Guest, wait: str) -> None:
    vm = guest("deaf", ready=NEVER)
    vm.console.wait_for("READY")
    threading.Timer(0.3, os.kill, (vm.instance.pid, signal.SIGKILL)).start()
    error, took = error_of(WAITS[wait], vm)
    assert took < 5
    assert error.evidence.qemu_status == -9
    if wait != "event":
        assert error.message == "QEMU was ended by signal 9 (SIGKILL)."


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.documents("Vm.wait_ready", MachineError)
@pytest.mark.documents("Vm.watch", MachineError)
def test_every_wait_ends_at_once_when_the_guest_panics(guest: Guest, wait: str) -> None:
    error, took = error_of(WAITS[wait], guest("panic", ready=NEVER))
    assert took < 5
    if wait != "event":
        assert error.message == "The guest's kernel panicked: page fault at 0x10."


@pytest.mark.parametrize("wait", ["console", "check"])
def test_every_wait_ends_at_once_when_the_program_ends(guest: Guest, wait: str) -> None:
    error, took = error_of(WAITS[wait], guest("status=3", ready=NEVER))
    assert took < 5
    assert error.message == "The program of 'floor' ended with status 3."
    assert error.evidence.guest_status == 3


def test_an_error_carries_the_console_the_statuses_and_a_line_to_paste(guest: Guest) -> None:
    error, _ = error_of(WAITS["console"], guest("status=7", ready=NEVER))
    assert "READY" in error.evidence.console
    assert error.evidence.qemu_status == 1
    assert error.evidence.guest_status == 7
    assert error.evidence.command.startswith("/") and "-nodefaults" in error.evidence.command
    assert "READY" in str(error) and "To start it by hand:" in str(error)


@pytest.mark.documents("VmConsole.wait_for", MachineError)
def test_a_console_wait_that_is_late_says_which_pattern_and_how_long(guest: Guest) -> None:
    vm = guest("deaf")
    error, took = error_of(lambda vm: vm.console.wait_for("never", timeout=0.2), vm)
    assert error.message == "No line of the console of 'floor' matched 'never' within 0.2 s."
    assert 0.2 <= took < 3


def test_a_console_wait_gives_the_match_and_its_groups(guest: Guest) -> None:
    found = guest("deaf").console.wait_for(r"^RE(A)DY$")
    assert (found.text, found.groups, found.begin, found.end) == ("READY", ("A",), 0, 5)


def test_what_means_failure_ends_a_console_wait_where_it_comes_first(guest: Guest) -> None:
    vm = guest("echo")
    vm.console.wait_for("READY")
    vm.console.type("bad\nnever\n")
    vm.console.wait_for("2: never")
    with pytest.raises(MachineError) as caught:
        vm.console.wait_for("never", fail=r"b\wd")
    assert caught.value.message == r"The console of 'floor' says 'bad' (by 'b\wd'), not 'never'."
    assert vm.console.wait_for("bad", fail="never").text == "bad"


@pytest.mark.documents("Vm.wait", MachineError)
def test_a_check_that_never_succeeds_says_what_its_last_try_saw(guest: Guest) -> None:
    vm = guest("deaf")

    def lacking() -> bool:
        raise ValueError("3 rows are missing")

    error, _ = error_of(lambda vm: vm.wait(lacking, 0.2), vm)
    assert error.message == "'lacking' did not succeed within 0.2 s; at last it raised ValueError: 3 rows are missing."
    error, _ = error_of(lambda vm: vm.wait(lambda: 0, 0.2, what="the count"), vm)
    assert error.message == "'the count' did not succeed within 0.2 s; at last it returned 0."


def test_a_check_is_tried_once_more_at_the_deadline_and_its_result_returned(guest: Guest) -> None:
    vm = guest("deaf")
    tries: list[float] = []
    begun = time.monotonic()

    def late() -> str:
        tries.append(time.monotonic() - begun)
        return "there" if tries[-1] >= 0.5 else ""

    assert vm.wait(late, 0.5, every=0.4) == "there"
    assert tries[-1] >= 0.5 and all(each < 0.5 for each in tries[:-1])


def test_a_scale_multiplies_timeouts(guest: Guest) -> None:
    vm = guest("deaf", scale=3.0)
    _, took = error_of(lambda vm: vm.wait(lambda: False, 0.2), vm)
    assert took >= 0.6


def test_a_burst_of_ten_megabytes_is_searched_in_less_than_a_second() -> None:
    console = Console(threading.Condition(threading.RLock()))
    found: list[float] = []
    waiter = threading.Thread(target=lambda: found.append(console.wait_for("^the end$", 30).end))
    waiter.start()
    begun = time.process_time()
    for _ in range(160):
        console.feed(b"all work and no play makes the guest a dull machine, over and over \n" * 964)
    console.feed(b"the end\n")
    waiter.join()
    assert console.position > 10_000_000
    assert found == [console.position - 1]
    assert time.process_time() - begun < 1.0


def test_an_event_is_seen_that_came_before_the_wait_for_it(guest: Guest) -> None:
    vm = guest("deaf")
    stopped, resumed = vm.events.expect("STOP"), vm.events.expect("RESUME")
    vm.pause()
    assert vm.qmp("query-status")["running"] is False
    vm.resume()
    assert stopped.wait(10).name == "STOP"
    assert resumed.wait(10).name == "RESUME"
    assert vm.events.expect("STOP").seen == ()


@pytest.mark.documents("Expected.wait", MachineError)
def test_an_event_that_does_not_come_is_told_with_those_that_came(guest: Guest) -> None:
    vm = guest("deaf")
    expected = vm.events.expect("RESET")
    vm.pause()
    with pytest.raises(MachineError) as caught:
        expected.wait(0.5)
    assert caught.value.message == "QEMU did not report the event 'RESET' within 0.5 s; reported were: STOP."


def test_the_exit_status_is_the_programs(guest: Guest) -> None:
    vm = guest("status=42")
    assert vm.wait_exit() == 42
    assert vm.exit_status == 42
    assert vm.ended


@pytest.mark.documents("Vm.wait_exit", MachineError)
def test_a_program_that_does_not_end_and_one_that_was_killed_have_no_status(guest: Guest) -> None:
    vm = guest("deaf")
    error, _ = error_of(lambda vm: vm.wait_exit(0.2), vm)
    assert error.message == "The program of 'floor' did not end within 0.2 s."
    vm.kill()
    error, _ = error_of(lambda vm: vm.wait_exit(), vm)
    assert error.message == "The machine 'floor' does not run: it was killed."
    assert vm.exit_status is None


def test_stop_says_what_it_took(guest: Guest) -> None:
    assert guest("stop", "status=5").stop() == "asked"
    assert guest("deaf").stop(0.2) == "quit"


def test_statistics_have_cpu_time_memory_and_the_timeline(guest: Guest) -> None:
    vm = guest("stop")
    vm.wait_ready()
    stats = vm.stats()
    assert 0 < stats.cpu < 60
    assert stats.resident > 1 << 20
    assert 0 < stats.marks["console"] <= stats.marks["ready"]


def test_a_dialog_expects_and_types(guest: Guest) -> None:
    vm = guest("echo", "status=6")
    dialog = vm.console.interact(timeout=20)
    vm.console.wait_for("READY")
    dialog.sendline("hello")
    dialog.expect(r"(\d): hello")
    assert dialog.match.group(1) == "1"
    dialog.send("grüße\n")
    dialog.expect_exact("2: grüße")
    dialog.sendline()
    dialog.expect(pexpect.EOF)
    assert vm.wait_exit() == 6


@pytest.mark.documents("Dialog.read_nonblocking", MachineError)
@pytest.mark.documents("VmConsole.interact", MachineError)
@pytest.mark.documents("Vm.raise_crash", MachineError)
def test_a_dialog_with_a_machine_that_crashes_is_a_machine_error(guest: Guest) -> None:
    vm = guest("echo", "reset")
    vm.console.wait_for("READY")
    dialog = vm.console.interact(timeout=20)
    dialog.sendline()
    with pytest.raises(MachineError, match="crashed"):
        dialog.expect("never")


@pytest.mark.documents("Vm.url", UsageError)
@pytest.mark.documents("Vm.main_port", UsageError)
@pytest.mark.documents("Vm.url_of", UsageError)
@pytest.mark.documents("Vm.host_port", UsageError)
@pytest.mark.documents("Vm.http", UsageError)
@pytest.mark.documents("Vm.tcp", UsageError)
@pytest.mark.documents("Faults.network_down", UsageError)
@pytest.mark.documents("Faults.network_up", UsageError)
@pytest.mark.documents("Faults.disk_full", UsageError)
def test_what_a_composition_does_not_have_is_a_users_mistake(guest: Guest) -> None:
    vm = guest("deaf")
    with pytest.raises(UsageError) as caught:
        _ = vm.url
    assert str(caught.value) == "The composition 'floor' has no TCP port."
    with pytest.raises(UsageError) as caught:
        vm.url_of("http")
    assert str(caught.value) == "The composition 'floor' has no port named 'http'.\nIt has no ports."
    with pytest.raises(UsageError) as caught:
        vm.host_port("ssh")
    assert str(caught.value) == "The composition 'floor' has no port named 'ssh'.\nIt has no ports."
    with pytest.raises(UsageError) as caught:
        vm.http("ssh")
    assert str(caught.value) == "The composition 'floor' has no port named 'ssh'.\nIt has no ports."
    with pytest.raises(UsageError) as caught:
        vm.tcp("ssh")
    assert str(caught.value) == "The composition 'floor' has no port named 'ssh'.\nIt has no ports."
    for pull in (vm.faults.network_down, vm.faults.network_up):
        with pytest.raises(UsageError) as caught:
            pull()
        assert str(caught.value) == "The composition 'floor' has no network."
    with pytest.raises(UsageError) as caught:
        vm.faults.disk_full()
    assert str(caught.value) == "The composition 'floor' has no volume."


@pytest.mark.documents("Vm.qmp", MachineError)
def test_qemus_refusal_is_told_in_its_words(guest: Guest) -> None:
    with pytest.raises(MachineError) as caught:
        guest("deaf").qmp("query-nothing")
    assert caught.value.message == (
        "QEMU refused the QMP command 'query-nothing': The command query-nothing has not been found"
    )


@pytest.mark.documents("Vm.tcp", MachineError)
@pytest.mark.documents("Vm.pause", MachineError)
@pytest.mark.documents("Vm.resume", MachineError)
def test_a_machine_that_has_ended_answers_by_its_end(guest: Guest) -> None:
    vm = guest("deaf", net=True)
    vm.kill()
    error, _ = error_of(lambda vm: vm.tcp(), vm)
    assert error.message == "The machine 'floor' does not run: it was killed."
    for ask in (lambda vm: vm.pause(), lambda vm: vm.resume(), lambda vm: vm.qmp("query-status")):
        error, took = error_of(ask, vm)
        assert error.message == "QEMU was ended by signal 9 (SIGKILL)."
        assert took < 5


@pytest.mark.documents("Faults.memory_pressure", UsageError)
@pytest.mark.documents("Faults.memory_relief", MachineError)
def test_a_machine_without_a_balloon_keeps_its_memory(guest: Guest) -> None:
    vm = guest("deaf")
    with pytest.raises(UsageError) as caught:
        vm.faults.memory_pressure("little")
    assert str(caught.value) == "'little' is not a size of memory.\nWrite it as 256M or 1G."
    with pytest.raises(MachineError, match="No balloon device has been activated"):
        vm.faults.memory_relief()


@pytest.mark.documents("Faults.network_lossy", HostError)
def test_a_path_that_is_too_long_for_a_socket_is_told(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = guest("deaf", net=True)
    with monkeypatch.context() as patch, pytest.raises(HostError) as caught:
        patch.setattr(vm, "folder", tmp_path / ("x" * 100))
        vm.faults.network_lossy(loss=0.5)
    assert caught.value.message.startswith(f"The path of a socket would be too long: {tmp_path}/xxx")
    assert caught.value.hint == "Set TMPDIR to a folder with a shorter path."
    vm.faults.network_lossy(loss=0.5)
