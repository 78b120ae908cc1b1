"""Each kernel on each machine under Debian's QEMU: CI builds Rumpel's own, on which all others run then."""

from __future__ import annotations

from pathlib import Path

import pytest

import rumpel
from rumpel.harness.vm import Vm
from rumpel.machine.emulator import find_qemu

ROOT = Path(__file__).parents[2]

# A linked kernel takes minutes the first time; these are kernels that other tests need, too.
pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(1500)]

on_each_machine = pytest.mark.parametrize("machine", ["microvm", "q35"])


@pytest.fixture(autouse=True)
def qemu_of_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMPEL_QEMU", "system")


def check_qemu(vm: Vm) -> None:
    assert vm.instance.qemu == str(find_qemu("system"))
    assert "Debian" in vm.qmp("query-version")["package"]


@on_each_machine
@pytest.mark.parametrize("kernel", ["linux", "debian"])
def test_a_database_is_served_restored_and_stopped(kernel: str, machine: str) -> None:
    with rumpel.boot("sqlite-web", kernel=kernel, machine=machine, accel="tcg", project=ROOT) as vm:
        check_qemu(vm)
        client = vm.http()
        vm.snapshot("empty")
        for _ in range(2):
            answer = client.post("/api/query", json={"sql": "create table t (x)"})
            assert answer.status_code == 200, answer.text  # it was not there
            vm.restore("empty")
        assert client.get("/").status_code == 200
        assert vm.stop() == "asked"
        assert vm.exit_status == 0


@on_each_machine
def test_a_server_on_nano_is_asked_restored_and_stopped(machine: str) -> None:
    with rumpel.boot("web", kernel="nano", machine=machine, accel="tcg", project=ROOT) as vm:
        check_qemu(vm)
        vm.snapshot("ready")
        for _ in range(2):
            assert vm.http().get("/").status_code == 200
            vm.restore("ready")
        assert vm.stop() == "asked"
        assert vm.exit_status == 0


@on_each_machine
@pytest.mark.parametrize("kernel", ["nano", "linux", "debian"])
def test_the_end_of_a_program_is_told(kernel: str, machine: str) -> None:
    words = ["--status", "7"]
    with rumpel.launch("hello", kernel=kernel, machine=machine, arguments=words, accel="tcg", project=ROOT) as vm:
        assert vm.instance.qemu == str(find_qemu("system"))
        assert vm.wait_exit() == 7
        assert "Hello from Rumpel.\n" in vm.console.text
