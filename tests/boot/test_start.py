"""A machine starts as the plan says, and says what it has."""

from __future__ import annotations

import os
import re
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from tests.boot.conftest import Boot, PlanFactory

from rumpel.errors import HostError, InstanceError, MachineError, UsageError
from rumpel.machine import instance as instances
from rumpel.machine.instance import Image, Options, launch, print_command
from rumpel.machine.registry import console_log, find_instance, list_instances
from rumpel.resolve.plan import Ready, Volume
from rumpel.resolve.settings import StartSettings

pytestmark = pytest.mark.boot

STOP = ("stop",)
HELD = Volume(name="data", mount="/data", size=8, serial="data")


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_machine_runs_to_the_status_of_its_program(boot: Boot, plan_of: PlanFactory, machine: str) -> None:
    instance = boot(plan_of("status=42", machine=machine))
    assert instance.wait(30) == 42
    assert instance.exit_status == 42
    assert find_instance("floor").record.status == 42
    assert find_instance("floor").state == "ended"


def test_console_is_in_the_log_from_its_first_byte(boot: Boot, plan_of: PlanFactory) -> None:
    boot(plan_of("burst=100000")).wait(30)
    log = console_log("floor").read_bytes()
    assert log.startswith(b"READY\nall work and no play")
    assert len(log) == len(b"READY\n") + 100_000


def test_console_of_the_last_run_is_kept(boot: Boot, plan_of: PlanFactory) -> None:
    boot(plan_of("burst=50")).wait(30)
    boot(plan_of()).wait(30)
    log = console_log("floor")
    assert log.read_bytes() == b"READY\n"
    assert log.with_name("console.log.1").read_bytes().startswith(b"READY\nall work")


def test_follower_gets_everything_even_when_it_comes_late(boot: Boot, plan_of: PlanFactory) -> None:
    heard = bytearray()
    instance = boot(plan_of("burst=300000"))
    instance.wait_ready()
    instance.console.follow(heard.extend)
    instance.wait(30)
    assert bytes(heard) == console_log("floor").read_bytes()


def test_ready_line_counts_although_the_program_ends_right_behind_it(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("status=1"))
    instance.wait(30)
    instance.wait_ready()


def test_exit_readiness_is_the_end_of_the_program(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("status=7", ready=Ready(kind="exit", timeout=30)))
    instance.wait_ready()
    assert instance.ended
    assert instance.wait() == 7


def test_port_is_chosen_by_qemu_and_read_back(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop", net=True))
    port = instance.ports["http"]
    assert port > 0
    assert instance.url("http") == f"http://127.0.0.1:{port}"
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    assert find_instance("floor").record.ports == {"http": port}


def test_port_that_was_asked_for_is_used(boot: Boot, plan_of: PlanFactory) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    assert boot(plan_of("stop", net=True), ports=(("http", number),)).ports == {"http": number}


def test_port_in_use_is_named_with_its_holder(boot: Boot, plan_of: PlanFactory) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(HostError) as caught:
            boot(plan_of("stop", net=True), ports=(("http", number),))
    name = Path("/proc/self/comm").read_text().strip()
    assert str(caught.value) == (
        f"The port {number} was asked for, but it is in use by '{name}' (pid {os.getpid()}).\n"
        "Stop that program, choose another port with '-p HOST:NAME', or leave it out to let QEMU choose one."
    )
    assert not find_instance("floor").running


def test_unknown_port_name_is_refused_with_the_names_that_there_are(boot: Boot, plan_of: PlanFactory) -> None:
    with pytest.raises(UsageError) as caught:
        boot(plan_of("stop", net=True), ports=(("web", 8080),))
    assert str(caught.value) == "The composition 'floor' has no port named 'web'.\nIts ports are: 'http'."


def test_settings_reach_the_guest_and_no_command_line(boot: Boot, plan_of: PlanFactory) -> None:
    secret = StartSettings(environment=(("TOKEN", "hunter2"),), arguments=("--flag",), clock=-60)
    instance = boot(plan_of("settings", "stop"), settings=secret)
    instance.wait_for_console("^clock=-60$", 30)
    assert instance.console.text().splitlines()[1:] == [
        "schema=1", "arg=--flag", "env=TOKEN=hunter2", "hostname=rumpel", "clock=-60",
    ]  # fmt: skip
    assert b"hunter2" not in Path(f"/proc/{instance.pid}/cmdline").read_bytes()
    assert "hunter2" not in instance.command
    assert stat.S_IMODE((instance.directory / "settings").stat().st_mode) == 0o600


def test_second_instance_of_a_name_is_refused(boot: Boot, plan_of: PlanFactory) -> None:
    first = boot(plan_of("stop"), name="web")
    first.wait_ready()
    with pytest.raises(InstanceError) as caught:
        boot(plan_of("stop"), name="web")
    assert re.fullmatch(
        rf"An instance named 'web' is already running \(QEMU pid {first.pid}, since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)\.\n"
        r"Stop it with 'rumpel stop web' or choose another name with '--name'\.",
        str(caught.value),
    )
    assert caught.value.instance == "web"
    assert not first.ended


def test_instances_are_listed_with_their_state(boot: Boot, plan_of: PlanFactory) -> None:
    boot(plan_of("stop"), name="one").wait_ready()
    boot(plan_of(), name="two").wait(30)
    assert [(seen.record.name, seen.state, seen.running) for seen in list_instances()] == [
        ("one", "ready", True),
        ("two", "ended", False),
    ]


def test_memory_asked_for_replaces_the_plans(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop"), memory=24)
    assert instance.qmp("query-memory-size-summary")["base-memory"] == 24 << 20


def test_qmp_refusal_carries_qemus_words(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop"))
    with pytest.raises(MachineError) as caught:
        instance.qmp("no-such-command")
    assert caught.value.message == (
        "QEMU refused the QMP command 'no-such-command': The command no-such-command has not been found"
    )


def test_qmp_events_and_log_are_kept(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of("stop"))
    instance.qmp("stop")
    instance.qmp("cont")
    instance.stop()
    assert [event.name for event in instance.events][:2] == ["STOP", "RESUME"]
    assert '> {"execute": "stop", "arguments": {}}' in (instance.directory / "qmp.log").read_text()


def test_stats_tell_what_the_machine_used_and_when_it_was_where(boot: Boot, plan_of: PlanFactory) -> None:
    instance = boot(plan_of())
    instance.wait_ready()
    instance.wait(30)
    stats = instance.stats()
    assert stats.cpu > 0
    assert stats.resident > 10 << 20
    assert 0 < stats.marks["console"] <= stats.marks["end"]
    assert 0 < stats.marks["start"] <= stats.marks["end"]
    assert "ready" in stats.marks


def test_printed_command_runs_by_hand(plan_of: PlanFactory, floor: Image) -> None:
    line = print_command(plan_of("status=3", "settings", net=True), floor, Options(accelerator="tcg"))
    assert "\n" not in line
    assert list_instances() == []
    done = subprocess.run(["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.stdout.decode().splitlines()[:2] == ["READY", "schema=1"], done.stderr
    assert shlex.split(line)[0].endswith("qemu-system-x86_64")


def test_printing_a_command_leaves_a_running_instance_alone(boot: Boot, plan_of: PlanFactory, floor: Image) -> None:
    instance = boot(plan_of("stop"))
    instance.wait_ready()
    before = {path.name: path.stat().st_mtime_ns for path in instance.directory.iterdir()}
    print_command(plan_of("stop"), floor, Options(accelerator="tcg"))
    after = {path.name: path.stat().st_mtime_ns for path in instance.directory.iterdir()}
    after.pop("settings.by-hand")
    assert after == before
    assert not instance.ended


def test_missing_qemu_is_said_with_the_line_that_brings_it(
    plan_of: PlanFactory, floor: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HostError) as caught:
        launch(plan_of(), floor, Options(qemu="system"))
    assert str(caught.value) == (
        "QEMU is not installed: there is no program 'qemu-system-x86_64'.\n"
        "Install it with: apt-get install qemu-system-x86"
    )


def test_qemu_that_ends_at_once_is_shown_with_its_own_words(boot: Boot, plan_of: PlanFactory, floor: Image) -> None:
    with pytest.raises(MachineError) as caught:
        instance = launch(plan_of(), Image(kernel="/no/such/kernel"), Options(accelerator="tcg"))
        try:
            instance.wait_ready()
        finally:
            instance.close()
    error = caught.value
    assert error.message == "QEMU ended at once with status 1."
    assert "could not open kernel file '/no/such/kernel': No such file or directory" in error.evidence.stderr
    assert error.evidence.qemu_status == 1
    assert "-kernel /no/such/kernel" in error.evidence.command
    assert f"QEMU said:\n    {error.evidence.stderr.splitlines()[0]}" in str(error)


@pytest.mark.parametrize("where", ["pasteable", "Running"])
def test_a_start_that_breaks_half_way_lets_go_of_the_name_and_the_volumes(
    boot: Boot, plan_of: PlanFactory, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(*words: object, **named: object) -> None:
        raise RuntimeError("half-way")

    with monkeypatch.context() as patch:
        patch.setattr(instances, where, broken)
        with pytest.raises(RuntimeError) as kept:  # the traceback keeps everything alive that the start made
            boot(plan_of("stop", volume=HELD))
    assert kept.value.args == ("half-way",)
    boot(plan_of("stop", volume=HELD)).wait_ready()


def test_a_record_that_cannot_be_written_leaves_no_machine(
    boot: Boot, plan_of: PlanFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = instances.Instance._update

    def broken(instance: instances.Instance, **changes: object) -> None:
        if "qemu" in changes:
            raise RuntimeError("half-way")
        update(instance, **changes)

    with monkeypatch.context() as patch:
        patch.setattr(instances.Instance, "_update", broken)
        with pytest.raises(RuntimeError) as kept:
            boot(plan_of("stop", volume=HELD))
    assert kept.value.args == ("half-way",)
    boot(plan_of("stop", volume=HELD)).wait_ready()
