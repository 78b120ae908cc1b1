"""A restored machine is the one that was saved: memory, devices, volumes, what it reported. It takes milliseconds."""

from __future__ import annotations

import statistics
import struct
import time
from pathlib import Path

import pytest
from tests.harness.conftest import Guest
from tests.harness.sql import count, insert, prepare, sql

from rumpel.errors import MachineError, UsageError
from rumpel.harness.vm import Vm
from rumpel.machine.snapshots import empty_qcow2


@pytest.mark.boot
def test_memory_is_as_it_was(guest: Guest) -> None:
    vm = guest("echo", "status=4")
    vm.console.wait_for("READY")
    vm.console.type("one\n")
    vm.console.wait_for("1: one\n")
    vm.snapshot("after-one")
    for _ in range(3):
        vm.console.type("two\n")
        vm.console.wait_for("2: two\n", timeout=10)
        vm.restore("after-one")
        assert vm.console.text == ""
    vm.console.type("\n")
    assert vm.wait_exit() == 4


@pytest.mark.boot
def test_a_machine_that_has_ended_is_restored_too(guest: Guest) -> None:
    vm = guest("echo", "status=4")
    vm.console.wait_for("READY")
    vm.snapshot("begin")
    vm.console.type("\n")
    assert vm.wait_exit() == 4
    vm.restore("begin")
    assert vm.exit_status is None
    assert vm.instance.running.report.started  # as it had reported when it was saved
    vm.console.type("again\n")
    vm.console.wait_for("1: again\n")
    vm.kill()
    vm.restore("begin")
    vm.console.type("once more\n")
    vm.console.wait_for("1: once more\n")


@pytest.mark.boot
def test_a_machine_goes_on_in_the_qemu_that_was_chosen_first(
    guest: Guest, tmp_path: Path, first_qemu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = guest("echo")
    vm.console.wait_for("READY")
    vm.snapshot("begin")
    monkeypatch.setenv("RUMPEL_QEMU", str(tmp_path / "another"))
    vm.kill()
    vm.restore("begin")
    vm.console.type("one\n")
    vm.console.wait_for("1: one\n")
    assert Path(f"/proc/{vm.instance.pid}/cmdline").read_bytes().startswith(bytes(first_qemu) + b"\0")
    vm.kill()
    vm.power_on()
    assert Path(f"/proc/{vm.instance.pid}/cmdline").read_bytes().startswith(bytes(first_qemu) + b"\0")


@pytest.mark.boot
def test_a_snapshot_can_be_taken_again_and_there_can_be_several(guest: Guest) -> None:
    vm = guest("echo")
    vm.console.wait_for("READY")
    vm.snapshot("a")
    vm.console.type("one\n")
    vm.console.wait_for("1: one\n")
    vm.snapshot("b")
    vm.restore("a")
    vm.console.type("x\n")
    vm.console.wait_for("1: x\n")
    vm.snapshot("a")
    vm.restore("b")
    vm.console.type("y\n")
    vm.console.wait_for("2: y\n")
    vm.restore("a")
    vm.console.type("z\n")
    vm.console.wait_for("2: z\n")


@pytest.mark.boot
def test_a_snapshot_of_a_paused_machine_leaves_it_paused(guest: Guest) -> None:
    vm = guest("echo")
    vm.console.wait_for("READY")
    vm.pause()
    vm.snapshot("paused")
    assert vm.qmp("query-status")["running"] is False
    vm.restore("paused")
    assert vm.qmp("query-status")["running"] is True


@pytest.mark.boot
@pytest.mark.documents("Vm.snapshot", UsageError)
@pytest.mark.documents("Vm.snapshot", MachineError)
@pytest.mark.documents("Vm.restore", UsageError)
def test_unknown_and_impossible_names_are_refused(guest: Guest) -> None:
    vm = guest("deaf")
    with pytest.raises(UsageError) as caught:
        vm.restore("ready")
    assert str(caught.value) == "The machine 'floor' has no snapshot 'ready'.\nIt has: none."
    vm.snapshot("one")
    with pytest.raises(UsageError) as caught:
        vm.restore("two")
    assert str(caught.value) == "The machine 'floor' has no snapshot 'two'.\nIt has: 'one'."
    with pytest.raises(UsageError) as caught:
        vm.snapshot("a b")
    assert str(caught.value) == (
        "'a b' cannot name a snapshot.\nUse up to 63 letters, digits, '.', '_' and '-', the first a letter or a digit."
    )
    vm.kill()
    with pytest.raises(MachineError) as killed:
        vm.snapshot("late")
    assert killed.value.message == "The machine 'floor' does not run: it was killed."


@pytest.mark.boot
def test_the_database_on_a_volume_is_as_it_was_and_its_port_stays(vm: Vm) -> None:
    client, ports = vm.http(), vm.ports
    prepare(vm)
    insert(vm)
    vm.snapshot("one-row")
    insert(vm)
    assert count(vm) == 2
    vm.restore("one-row")
    assert vm.ports == ports
    assert count(vm) == 1
    insert(vm)  # the volume takes writes, and the database finds it sound
    assert sql(vm, "pragma integrity_check").json()["rows"] == [["ok"]]
    assert client.get("/").status_code == 200
    vm.restore("ready")
    assert sql(vm, "select count(*) from t").status_code == 400


@pytest.mark.boot
def test_faults_are_whole_after_a_restore(vm: Vm) -> None:
    vm.faults.network_down()
    vm.faults.disk_full()
    vm.restore("ready")
    prepare(vm)
    vm.faults.network_lossy(loss=1.0)
    vm.restore("ready")
    prepare(vm)


@pytest.mark.boot
def test_the_image_of_the_volume_is_never_written(vm: Vm) -> None:
    [image] = (vm.folder / "volumes").iterdir()
    before = image.read_bytes()
    prepare(vm)
    for _ in range(10):
        insert(vm)
    assert image.read_bytes() == before


@pytest.mark.boot
def test_a_reset_costs_less_than_a_tenth_of_a_second_of_cpu_time(vm: Vm) -> None:
    costs, times = [], []
    for _ in range(7):
        used, begun = vm.stats().cpu, time.monotonic()
        vm.restore("ready")
        times.append(time.monotonic() - begun)
        costs.append(vm.stats().cpu - used)
        assert vm.http().get("/api").status_code == 200
    print(f"restore: {statistics.median(times) * 1000:.0f} ms, CPU {statistics.median(costs) * 1000:.0f} ms (median)")
    assert min(costs) < 0.1


def test_an_empty_disk_has_the_size_that_was_asked_for() -> None:
    image = empty_qcow2(64 << 20, 16)
    magic, version = struct.unpack_from(">4sI", image)
    assert (magic, version) == (b"QFI\xfb", 3)
    assert struct.unpack_from(">Q", image, 24) == (64 << 20,)
    assert len(image) == 4 << 16


def test_a_disk_that_one_table_cannot_describe_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        empty_qcow2(1 << 50, 16)
    assert str(caught.value) == "A disk of 1125899906842624 bytes is too large to be put under a snapshot."
