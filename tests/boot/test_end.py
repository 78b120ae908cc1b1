"""However a machine ends, it is said at once, in words, with all that is known."""

from __future__ import annotations

import os
import signal
from typing import Literal

import pytest
from tests.boot.conftest import Boot, PlanFactory

from rumpel.errors import InstanceError, MachineError
from rumpel.machine import instance as instances
from rumpel.machine.instance import Instance
from rumpel.machine.registry import find_instance, stop_instance
from rumpel.machine.running import Running
from rumpel.resolve.plan import Ready

pytestmark = pytest.mark.boot

NEVER = Ready(kind="console", console="never said", timeout=120)


def failure_of(instance: Instance) -> MachineError:
    with pytest.raises(MachineError) as caught:
        instance.wait_ready()
    return caught.value


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fail", "The guest could not run the program: there is no program at '/bin/none'."),
        ("panic", "The guest's kernel panicked: page fault at 0x10."),
        ("mute", "The guest ended the machine without saying how its program fared."),
        ("status=9", "The program ended with status 9 before the machine was ready."),
    ],
)
def test_wait_ends_with_the_machine_and_says_how(boot: Boot, plan_of: PlanFactory, word: str, message: str) -> None:
    error = failure_of(boot(plan_of(word, ready=NEVER)))
    assert error.message == message
    assert error.evidence.console == "READY"
    assert error.evidence.qemu_status == 1
    assert error.evidence.guest_status == (9 if word == "status=9" else None)
    assert "qemu-system-x86_64" in error.evidence.command
    assert f"The whole console is in {error.evidence.files[0]}." in str(error)


def test_guest_that_resets_the_machine_has_crashed(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop", "reset", ready=NEVER))
    instance.qmp("query-status")  # from here on QEMU tells of the reset
    instance._running.send("stop")
    error = failure_of(instance)
    assert error.message == (
        "The guest crashed: it reset the machine, as a kernel does after a panic or a triple fault."
    )
    assert find_instance("floor").record.failure == error.message
    assert find_instance("floor").state == "failed"


@pytest.mark.parametrize("declared", [NEVER, Ready(kind="http", port="http", path="/"), Ready(kind="exit")])
def test_crash_ends_every_kind_of_waiting(boot: Boot, plan_of: PlanFactory, declared: Ready) -> None:
    error = failure_of(boot(plan_of("reset", net=True, ready=declared)))
    assert error.message.startswith("The guest crashed: it reset")


def test_network_that_is_gone_before_qemu_is_part_of_the_end(
    boot: Boot, plan_of: PlanFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "parse_forwards", lambda usernet, ports: {})
    error = failure_of(boot(plan_of("reset", net=True, ready=Ready(kind="http", port="http", path="/"))))
    assert error.message.startswith("The guest crashed: it reset")


def test_machine_that_is_never_ready_shows_the_consoles_end(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("deaf", ready=Ready(kind="console", console="listening", timeout=0.3)))
    instance.console.wait_for("READY")
    error = failure_of(instance)
    assert (
        error.message == "The machine 'floor' was not ready within 0.3 s: no line of the console matched 'listening'."
    )
    assert "The console ended with:\n    READY" in str(error)
    assert error.evidence.qemu_status is None


def test_program_that_never_ends_is_not_ready_by_its_end(boot: Boot, plan_of: PlanFactory) -> None:
    error = failure_of(boot(plan_of("deaf", ready=Ready(kind="exit", timeout=0.3))))
    assert error.message == "The machine 'floor' was not ready within 0.3 s: the program did not end."


@pytest.mark.parametrize("kind", ["http", "port"])
def test_port_without_a_guest_behind_it_is_not_ready(
    boot: Boot, plan_of: PlanFactory, kind: Literal["http", "port"]
) -> None:
    """QEMU accepts connections for a guest that never looks at its network."""
    error = failure_of(boot(plan_of("deaf", net=True, ready=Ready(kind=kind, port="http", path="/", timeout=0.7))))
    seen = {"http": "a connection was open, but no answer came", "port": "the guest did not take a connection"}
    assert error.message == f"The machine 'floor' was not ready within 0.7 s: {seen[kind]}."


def test_killed_qemu_is_named_with_its_signal(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("deaf", ready=NEVER))
    instance.wait_for_console("READY", 30)
    os.kill(instance.pid, signal.SIGKILL)
    assert failure_of(instance).message == "QEMU was ended by signal 9 (SIGKILL)."


def test_qemu_told_to_end_from_outside_is_no_crash_of_the_guest(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("deaf", ready=NEVER))
    instance.qmp("query-status")
    os.kill(instance.pid, signal.SIGTERM)
    assert failure_of(instance).message == "QEMU was told to end by a signal from outside."


def test_qemu_told_to_end_before_the_guest_ran_was_told_to_end(boot: Boot, plan_of: PlanFactory) -> None:
    """QEMU says so on its standard error, too, which without a guest that ran means that it could not begin."""
    instance = boot(plan_of("deaf", ready=NEVER), halted=True)
    instance.qmp("query-status")
    os.kill(instance.pid, signal.SIGTERM)
    error = failure_of(instance)
    assert error.message == "QEMU was told to end by a signal from outside."
    assert "terminating on signal 15" in error.evidence.stderr


def test_qmp_after_a_crash_says_what_happened(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("mute"))
    with pytest.raises(MachineError):
        instance.wait(30)
    with pytest.raises(MachineError) as caught:
        instance.qmp("query-status")
    assert caught.value.message == "The guest ended the machine without saying how its program fared."


def test_stop_asks_the_guest(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop", "status=5"))
    instance.wait_ready()
    assert instance.stop(30) == "asked"
    assert instance.wait() == 5
    assert instance.stop() == "ended"


def test_guest_that_does_not_hear_is_ended_after_the_deadline(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("deaf"))
    instance.wait_ready()
    assert instance.stop(0.2) == "quit"
    with pytest.raises(InstanceError) as caught:
        instance.wait()
    assert str(caught.value) == "The instance 'floor' was ended by force before its program had ended."
    assert find_instance("floor").state == "ended"


def test_qemu_that_does_not_hear_is_killed(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("deaf"))
    instance.wait_ready()
    instance.qmp("query-status")
    os.kill(instance.pid, signal.SIGSTOP)
    assert instance.stop(0.1) == "killed"
    assert instance.stats().cpu > 0


def test_stop_by_name_works_from_another_process(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop", "status=6"), name="web")
    instance.wait_ready()
    assert stop_instance("web", timeout=30) == "asked"
    assert instance.wait(30) == 6


def test_what_an_owner_learns_after_the_end_does_not_touch_the_record_of_the_next(
    boot: Boot, plan_of: PlanFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = boot(plan_of("status=3"))
    assert first.wait(30) == 3
    assert (find_instance("floor").state, find_instance("floor").record.status) == ("ended", 3)
    second = boot(plan_of("stop"))
    second.wait_ready()
    with monkeypatch.context() as patch:
        patch.setattr(Running, "ended", False)  # as it was when the first one looked
        first.wait_ready()
    assert (find_instance("floor").record.qemu, find_instance("floor").state) == (second.pid, "ready")


def test_stop_of_what_does_not_run_says_so(boot: Boot, plan_of: PlanFactory) -> None:
    with pytest.raises(InstanceError) as caught:
        stop_instance("nobody")
    assert str(caught.value) == "There is no instance named 'nobody'.\n'rumpel ps --all' lists what runs and what ran."
    boot(plan_of()).wait(30)
    with pytest.raises(InstanceError) as caught:
        stop_instance("floor")
    assert str(caught.value) == "No instance named 'floor' is running.\n'rumpel ps' lists what runs."


def test_burst_on_the_console_arrives_whole(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("burst=2000000", "status=1"))
    assert instance.wait(120) == 1
    assert (instance.directory / "console.log").stat().st_size == 2_000_006
