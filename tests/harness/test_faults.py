"""Each fault does to a live database what it says, and heals."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import httpx
import pytest
from tests.harness.sql import count, insert, prepare, sql

from rumpel.errors import InstanceError, MachineError, UsageError
from rumpel.harness.api import boot
from rumpel.harness.vm import Vm

pytestmark = pytest.mark.boot

ROOT = Path(__file__).resolve().parents[2]


def refusal(vm: Vm) -> str:
    """What the database says when it cannot write."""
    answer = sql(vm, "insert into t values (1)")
    assert answer.status_code == 500
    return str(answer.json()["error"]["message"])


def test_no_packet_passes_while_the_network_is_down(vm: Vm) -> None:
    vm.faults.network_down()
    with pytest.raises(httpx.TimeoutException):
        vm.http(timeout=1).get("/")
    vm.faults.network_up()
    assert vm.wait(lambda: vm.http(timeout=2).get("/").status_code) == 200


def test_packets_are_delayed(vm: Vm) -> None:
    vm.http().get("/api")
    vm.faults.network_lossy(delay=0.2)
    begun = time.monotonic()
    assert vm.http().get("/api").status_code == 200
    assert time.monotonic() - begun >= 0.4  # there and back
    vm.faults.heal()
    begun = time.monotonic()
    assert vm.http().get("/api").status_code == 200
    assert time.monotonic() - begun < 0.4


def test_packets_are_lost_and_a_connection_gets_through_all_the_same(vm: Vm) -> None:
    vm.faults.network_lossy(loss=0.08, seed=7)
    for _ in range(20):
        assert vm.wait(lambda: vm.http(timeout=5).get("/api").status_code == 200, 60)
    link = vm.faults.links[0]
    assert link.lost > 0
    assert link.passed > link.lost
    vm.faults.network_lossy(loss=1)
    with pytest.raises(httpx.TimeoutException):
        vm.http(timeout=1).get("/api")
    vm.faults.network_whole()
    assert vm.http().get("/api").status_code == 200


@pytest.mark.documents("Faults.network_lossy", UsageError)
def test_a_network_that_makes_no_sense_is_refused(vm: Vm) -> None:
    with pytest.raises(UsageError) as caught:
        vm.faults.network_lossy(loss=2)
    assert str(caught.value) == (
        "A network cannot have loss=2, delay=0, jitter=0.\n'loss' is from 0 to 1; 'delay' and 'jitter' are in seconds, "
        "0 or more."
    )


def test_writes_fail_on_a_disk_with_errors_and_reads_go_on(vm: Vm) -> None:
    prepare(vm)
    vm.faults.disk_errors("data", on="write")
    assert refusal(vm) == "disk I/O error"
    assert count(vm) == 0
    vm.faults.heal()
    insert(vm)
    assert count(vm) == 1


def test_a_full_disk_refuses_writes_and_does_not_stop_the_machine(vm: Vm) -> None:
    prepare(vm)
    vm.faults.disk_full()
    assert refusal(vm) == "disk I/O error"
    assert vm.qmp("query-status")["running"] is True
    vm.faults.heal()
    insert(vm)


def test_flushes_fail_on_a_disk_with_errors(vm: Vm) -> None:
    prepare(vm)
    vm.faults.disk_errors(on="flush")
    assert refusal(vm) == "disk I/O error"


def test_a_slow_disk_takes_its_time(vm: Vm) -> None:
    prepare(vm)
    vm.faults.disk_slow(operations=4)
    begun = time.monotonic()
    for _ in range(3):
        insert(vm)
    assert time.monotonic() - begun > 0.7
    vm.faults.disk_full()  # in place of slowness
    assert refusal(vm) == "disk I/O error"
    vm.faults.heal()
    assert vm.qmp("query-block")[0]["inserted"]["node-name"] == "volume-data"


@pytest.mark.documents("Faults.disk_errors", UsageError)
@pytest.mark.documents("Faults.disk_slow", UsageError)
def test_a_disk_that_makes_no_sense_is_refused(vm: Vm) -> None:
    with pytest.raises(UsageError) as caught:
        vm.faults.disk_slow()
    assert str(caught.value) == "A slow disk needs 'operations' or 'bytes', for each second, above 0."
    with pytest.raises(UsageError) as caught:
        vm.faults.disk_full("dat")
    assert str(caught.value) == "The machine 'sqlite-web' has no volume 'dat'.\nIt has: 'data'."
    with pytest.raises(UsageError) as caught:
        vm.faults.disk_errors(on="seek")  # type: ignore[arg-type]
    assert str(caught.value) == ("'seek' is not an operation of a disk.\nThere are: 'read', 'write', 'flush', 'any'.")


def guest_time(vm: Vm) -> float:
    return float(sql(vm, "select strftime('%s', 'now') + 0.0").json()["rows"][0][0])


def test_the_guests_clock_jumps(vm: Vm) -> None:
    before, begun = guest_time(vm), time.monotonic()
    vm.faults.clock_jump(90)
    jumped = guest_time(vm) - before - (time.monotonic() - begun)
    assert 80 < jumped < 105  # the guest knows the rate of its own clock by a short measurement
    insert(vm, create=True)


@pytest.mark.documents("Faults.clock_jump", UsageError)
def test_a_clock_that_cannot_jump_so_is_refused(vm: Vm) -> None:
    with pytest.raises(UsageError) as caught:
        vm.faults.clock_jump(-5)
    assert str(caught.value) == (
        "The guest's clock cannot jump by -5 s.\nIt can be advanced by more than 0 and at most 3600 s."
    )


def test_the_clock_stands_still_while_the_machine_is_frozen(vm: Vm) -> None:
    before, begun = guest_time(vm), time.monotonic()
    vm.faults.freeze(3)
    behind = time.monotonic() - begun - (guest_time(vm) - before)
    assert 1.5 < behind < 4.5


def test_the_kernel_gets_an_nmi(vm: Vm) -> None:
    vm.faults.nmi()
    vm.console.wait_for("NMI", timeout=20)
    assert vm.http().get("/api").status_code == 200


def test_a_reset_boots_the_guest_again_with_its_volume(vm: Vm) -> None:
    prepare(vm)
    insert(vm)
    pid = vm.instance.pid
    vm.faults.reset()
    vm.wait_ready()
    assert vm.instance.pid == pid
    assert count(vm) == 1


@pytest.mark.documents("Vm.power_on", InstanceError)
@pytest.mark.documents("Vm.http", MachineError)
def test_after_a_power_cut_what_was_committed_is_there(vm: Vm) -> None:
    client = vm.http()
    prepare(vm)
    for _ in range(5):
        insert(vm)
    vm.faults.power_cut()
    with pytest.raises(MachineError) as caught:
        client.get("/")
    assert caught.value.message == "The machine 'sqlite-web' does not run: it was killed."
    vm.power_on()
    assert client.get("/").status_code == 200
    assert count(vm) == 5
    with pytest.raises(InstanceError) as running:
        vm.power_on()
    assert str(running.value) == "The machine 'sqlite-web' still runs.\nStop it first."


@pytest.mark.documents("Faults.unplug", MachineError)
def test_a_device_on_a_bus_without_hotplug_stays(vm: Vm) -> None:
    devices = vm.qmp("qom-list", path="/machine/peripheral-anon")
    path = next(f"/machine/peripheral-anon/{each['name']}" for each in devices if "virtio-rng" in each["type"])
    with pytest.raises(MachineError, match="does not support hotplugging"):
        vm.faults.unplug(path)


@pytest.fixture(scope="module")
def equipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose composition has a balloon, and a device in a slot that it can be taken out of."""
    project = tmp_path_factory.mktemp("equipped")
    (project / "compositions").mkdir()
    (project / "compositions" / "equipped.yaml").write_text(
        "schema: 1\nname: equipped\nsummary: A site on a machine with a balloon and a slot\nkernel: debian\n"
        "machine: q35\nmemory: 128M\ncomponents: [web, static-site]\ndrivers: [virtio-balloon, slot, card]\n"
    )
    for name, text in {
        "slot": "summary: A slot\nneeds: ['bus:pci-host']\nprovides: ['bus:slot']\nmatches: []\n"
        "device:\n  backend: none\n  models: {'bus:pci-host': pcie-root-port}\n"
        "  properties: {id: port1, chassis: '1', addr: '0x10'}\nkernels:\n  debian: {builtin: true}\n",
        "card": "summary: An entropy device in the slot\nprovides: [card]\nneeds: ['bus:slot', 'bus:virtio']\n"
        "matches: []\n"
        "device:\n  backend: rng\n  models: {'bus:pci-host': virtio-rng-pci}\n  properties: {id: card, bus: port1}\n"
        "kernels:\n  debian: {builtin: true}\n",
    }.items():
        (project / "hal" / "drivers" / name).mkdir(parents=True)
        (project / "hal" / "drivers" / name / "driver.yaml").write_text(f"schema: 1\nname: {name}\n{text}")
    return project


@pytest.mark.documents("Faults.memory_pressure", MachineError)
def test_the_guest_gives_up_memory_and_a_device(equipped: Path) -> None:
    with boot("equipped", accel="tcg", project=equipped) as vm:
        vm.faults.memory_pressure("100M")
        assert vm.qmp("query-balloon")["actual"] <= 100 << 20
        assert vm.http().get("/").status_code == 200
        with pytest.raises(
            MachineError, match=r"^'the balloon' did not succeed within 1 s; at last it raised ValueError: "
        ):
            vm.faults.memory_pressure("1M", timeout=1)
        vm.faults.memory_relief()
        assert vm.qmp("query-balloon")["actual"] == 128 << 20
        vm.faults.unplug("card")
        assert "card" not in str(vm.qmp("qom-list", path="/machine/peripheral"))
        assert vm.http().get("/").status_code == 200


@pytest.fixture(scope="module")
def slots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a site on nano whose network device, root filesystem's disk and one more device are in slots."""
    project = tmp_path_factory.mktemp("slots")
    (project / "compositions").mkdir()
    (project / "compositions" / "slots.yaml").write_text(
        "schema: 1\nname: slots\nsummary: A site on a machine with slots\nkernel: nano\nmachine: q35\nroot: disk\n"
        "components: [web, static-site]\ndrivers: [slot-card, slot-net, slot-disk, card]\n"
    )
    for number, name in enumerate(("card", "net", "disk")):
        write_driver(
            project,
            f"slot-{name}",
            f"summary: A slot\nneeds: ['bus:pci-host']\nprovides: ['bus:slot-{name}']\nmatches: []\n"
            "device:\n  backend: none\n  models: {'bus:pci-host': pcie-root-port}\n"
            f"  properties: {{id: port-{name}, chassis: '{number + 1}', addr: '{0x10 + number:#x}'}}\n"
            "kernels:\n  nano: {builtin: true}\n",
        )
    write_driver(
        project,
        "card",
        "summary: A device that nobody drives\nprovides: [card]\nneeds: ['bus:slot-card', 'bus:virtio']\nmatches: []\n"
        "device:\n  backend: none\n  models: {'bus:pci-host': virtio-balloon-pci}\n"
        "  properties: {id: card, bus: port-card}\nkernels:\n  nano: {builtin: true}\n",
    )
    for name, driver in {"net": "virtio-net", "disk": "virtio-blk"}.items():
        shutil.copytree(ROOT / "hal/drivers" / driver, project / "hal/drivers" / driver)
        file = project / "hal/drivers" / driver / "driver.yaml"
        text = file.read_text().replace('["bus:virtio"]', f'["bus:virtio", "bus:slot-{name}"]')
        file.write_text(text.replace("  kconfig:", f"  properties: {{id: {name}, bus: port-{name}}}\n  kconfig:", 1))
    return project


def write_driver(project: Path, name: str, text: str) -> None:
    (project / "hal/drivers" / name).mkdir(parents=True)
    (project / "hal/drivers" / name / "driver.yaml").write_text(f"schema: 1\nname: {name}\n{text}")


@pytest.mark.parametrize(
    ("device", "why"), [("net", "The network device is gone."), ("disk", "The disk 'rootfs' is gone.")]
)
def test_nano_gives_up_a_device_and_ends_where_it_cannot_do_without(slots: Path, device: str, why: str) -> None:
    with boot("slots", accel="tcg", project=slots) as vm:
        vm.faults.unplug("card")
        assert "card" not in [each["name"] for each in vm.qmp("qom-list", path="/machine/peripheral")]
        assert vm.http().get("/").status_code == 200
        vm.faults.unplug(device)
        with pytest.raises(MachineError) as caught:
            vm.wait_exit()
    assert why in str(caught.value)
    assert f"nano: {why} The program is asked to end." in vm.console.text
