"""Devices that are missing, vanish, lie or never answer: a sentence, a status of its own, and the end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.abi import nano
from tests.abi.nano import Status
from tests.security import devices

PROGRAMS = Path(__file__).with_name("programs")
NETWORK = ("-netdev", "user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:0-:80", "-device", "virtio-net-device,netdev=n")
GONE = "The network device is gone."
DISK_GONE = "The disk 'system' is gone."
BLOCK = 2  # virtio's number of a disk

pytestmark = pytest.mark.boot


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano kernel with network and disks, for both machines."""
    return nano.build_kernel(tmp_path_factory.mktemp("kernel") / "kernel", devices.DRIVERS, devices.GROUPS)


@pytest.fixture(scope="session")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that runs until it is asked to end."""
    output = tmp_path_factory.mktemp("waiting") / "program"
    return nano.compile_static(PROGRAMS / "wait_for_end.c", output, "musl-gcc")


def ends_lost(end: nano.End, why: str) -> None:
    """The program was asked to end, did so, and the machine ended with `fail WHY`."""
    lines = end.console.splitlines()
    assert f"nano: {why} The program is asked to end." in lines, end
    assert lines[-2:] == ["the program was asked to end", f"nano: {why}"]
    assert (end.control[-1], end.qemu) == (f"fail {why}", Status.DEVICE)


def test_a_plan_with_network_on_a_machine_without_ends_with_a_sentence(
    kernel: Path, waiting: Path, tmp_path: Path
) -> None:
    end = nano.run(kernel, devices.root(waiting, "net=dhcp"), tmp_path)
    why = "The setting 'net' asks for a network, but there is no network device."
    assert (end.control, end.last_line, end.qemu) == ((f"fail {why}",), f"nano: {why}", Status.NETWORK)


def test_a_network_where_nobody_answers_ends_the_wait_for_an_address(
    kernel: Path, waiting: Path, tmp_path: Path
) -> None:
    extra = ("-netdev", "hubport,id=n,hubid=0", "-device", "virtio-net-device,netdev=n")
    end = nano.run(kernel, devices.root(waiting, "net=dhcp"), tmp_path, extra=extra, timeout=180)
    why = "No DHCP server answered within 30 s."
    assert (end.control, end.last_line, end.qemu) == ((f"fail {why}",), f"nano: {why}", Status.NETWORK)


@pytest.mark.parametrize(
    "value",
    [
        "dhcp", "static,fd00:2::15/48,,", "static,1::2::3/64,,", "static,fd00:2::15/64,fd00:3::2,",
        "static,::/64,,", "static,fd00:2::15/64,,fd00:2::3,", "static,1:2:3:4:5:6:7:8:9/64,,",
    ],
)  # fmt: skip
def test_an_address_of_ipv6_that_cannot_be_is_refused(kernel: Path, waiting: Path, tmp_path: Path, value: str) -> None:
    end = nano.run(kernel, devices.root(waiting, devices.ADDRESS, f"net6={value}"), tmp_path, extra=NETWORK)
    why = f"The setting 'net6' is '{value}'; it must be 'auto' or 'static,ADDRESS/64,GATEWAY,NAMESERVER'."
    assert (end.control, end.last_line, end.qemu) == ((f"fail {why}",), f"nano: {why}", Status.SETTINGS)


def test_a_device_that_lies_in_its_used_ring_is_not_believed_again(kernel: Path, waiting: Path, tmp_path: Path) -> None:
    words = nano.command(kernel, tmp_path, "32M")
    words += NETWORK
    with devices.running(words, devices.root(waiting, devices.ADDRESS), tmp_path) as machine:
        machine.wait_for("the program runs")
        used = machine.queue("virtio-net", 0)["vring-used"]
        # Every element names descriptor 0xffff.
        machine.qmp("stop")
        machine.touch(f"write 0x{used + 4:x} 0x800 0x{'ffff0000ff000000' * 256}")
        machine.qmp("cont")
        # The driver looks only after a packet, and then the device has written an index of its own: so again and again.
        while machine.process.poll() is None and "used ring" not in (tmp_path / "console.txt").read_text():
            with contextlib.suppress(OSError), machine.knock():
                for _ in range(10):
                    machine.touch(f"write 0x{used + 2:x} 0x2 0x8000")
        end = machine.end()
    assert "named a descriptor that it does not have (65535) in the used ring of queue 0" in end.console
    ends_lost(end, GONE)


def test_a_network_device_that_is_unplugged_is_let_go_of_and_missed(
    kernel: Path, waiting: Path, tmp_path: Path
) -> None:
    words = devices.on_q35(nano.command(kernel, tmp_path, "64M"))
    words += ["-device", "pcie-root-port,id=rp,chassis=1", "-netdev", "user,id=n,restrict=on"]
    words += ["-device", "virtio-net-pci,netdev=n,bus=rp,id=nic"]
    with devices.running(words, devices.root(waiting, devices.ADDRESS), tmp_path) as machine:
        machine.wait_for("the program runs")
        machine.pull_out("nic")
        end = machine.end()
    ends_lost(end, GONE)


def test_devices_are_let_go_of_where_the_plan_has_neither_a_network_nor_a_disk(waiting: Path, tmp_path: Path) -> None:
    small = nano.build_kernel(tmp_path / "kernel", (*nano.DRIVERS, "pci", "virtio-pci"))
    words = devices.on_q35(nano.command(small, tmp_path, "64M"))
    for name in ("one", "other"):
        words += ["-device", f"pcie-root-port,id=slot-{name},chassis={len(name)}"]
        words += ["-device", f"virtio-rng-pci,bus=slot-{name},id={name}"]
    with devices.running(words, devices.root(waiting), tmp_path) as machine:
        machine.wait_for("the program runs")
        for name in ("one", "other"):
            machine.pull_out(name)
            left = machine.qmp("qom-list", path="/machine/peripheral")
            assert isinstance(left, list)
            assert name not in [each["name"] for each in left]
        assert machine.process.poll() is None
    assert (tmp_path / "console.txt").read_text().splitlines()[-1] == "the program runs"


def test_a_machine_that_has_no_registers_for_unplugging_is_left_alone(
    kernel: Path, waiting: Path, tmp_path: Path
) -> None:
    words = devices.on_q35(nano.command(kernel, tmp_path, "64M"))
    words += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    words += ["-device", "pcie-root-port,id=rp,chassis=1", "-netdev", "user,id=n,restrict=on"]
    words += ["-device", "virtio-net-pci,netdev=n,bus=rp,id=nic"]
    with devices.running(words, devices.root(waiting, devices.ADDRESS), tmp_path) as machine:
        machine.wait_for("the program runs")
        assert machine.touch("inl 0xcc4") == "0xffffffff"
        time.sleep(3)  # three looks
        assert machine.process.poll() is None
        machine.process.kill()
        machine.process.wait()
    assert (tmp_path / "console.txt").read_text().splitlines()[-1] == "the program runs"


def test_a_device_that_asks_to_be_reset_is_gone_and_a_program_that_does_not_hear_is_not_waited_for(
    kernel: Path, waiting: Path, tmp_path: Path
) -> None:
    words = nano.command(kernel, tmp_path, "32M")
    words += ["-global", "virtio-mmio.force-legacy=false", *NETWORK]
    with devices.running(words, devices.root(waiting, devices.ADDRESS, "arg=deaf"), tmp_path) as machine:
        machine.wait_for("the program runs")
        # A device that finds a chain of descriptors without an end stops, and asks to be reset.
        table = machine.queue("virtio-net", 0)["vring-desc"]
        machine.touch(f"write 0x{table:x} 0x1000 0x{'00000000000000000000000003000000' * 256}")
        with machine.knock():
            end = machine.end()
    assert end.last_line == f"nano: {GONE}"
    assert "the program was asked to end" not in end.console
    assert (end.control[-1], end.qemu) == (f"fail {GONE}", Status.DEVICE)


def disk_root(program: Path, folder: Path) -> Path:
    """An erofs image with the program and a large file."""
    tree = folder / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "srv").mkdir()
    (tree / "bin/program").write_bytes(program.read_bytes())
    (tree / "bin/program").chmod(0o755)
    (tree / "srv/large").write_bytes(os.urandom(8 << 20))
    subprocess.run(["mkfs.erofs", folder / "disk", tree], check=True, capture_output=True)
    return folder / "disk"


def disk_lost(end: nano.End) -> None:
    """The machine ended as its disk was gone; the program may have ended by a page that could not be read any more."""
    assert f"nano: {DISK_GONE} The program is asked to end." in end.console.splitlines(), end
    assert (end.control[-1], end.last_line, end.qemu) == (f"fail {DISK_GONE}", f"nano: {DISK_GONE}", Status.DEVICE)


def drive(image: Path, *, slow: bool = False) -> list[str]:
    """QEMU's back end of a disk. A slow one lets through what is read in one second after another; then the next must
    wait for hours."""
    limit = ",throttling.bps-read=1000,throttling.bps-read-max=400000,throttling.bps-read-max-length=1" if slow else ""
    return ["-drive", f"if=none,id=d,format=raw,read-only=on,file={image}{limit}"]


@pytest.mark.parametrize("reading", [False, True], ids=["idle", "reading"])
def test_a_disk_that_is_unplugged_is_let_go_of_and_missed(
    kernel: Path, waiting: Path, tmp_path: Path, reading: bool
) -> None:
    program = nano.compile_static(PROGRAMS / "read_all.c", tmp_path / "p", "musl-gcc") if reading else waiting
    words = devices.on_q35(nano.command(kernel, tmp_path, "64M"))
    words += ["-device", "pcie-root-port,id=rp,chassis=1", *drive(disk_root(program, tmp_path), slow=reading)]
    words += ["-device", "virtio-blk-pci,drive=d,serial=system,bus=rp,id=disk"]
    initrd = nano.archive({"rumpel/settings": devices.settings("root=system,erofs")})
    with devices.running(words, initrd, tmp_path) as machine:
        machine.wait_for("the program reads" if reading else "the program runs")
        machine.pull_out("disk")
        pulled = time.monotonic()
        end = machine.end()
    # Far below the 30 s that a request is waited for; the host may be busy.
    assert time.monotonic() - pulled < 15
    disk_lost(end)


def test_an_exception_whose_signal_waits_for_the_disk_keeps_its_stack(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAMS / "step_threads.c", tmp_path / "step_threads", "musl-gcc")
    extra = (*drive(disk_root(program, tmp_path)), "-device", "virtio-blk-device,drive=d,serial=system")
    initrd = nano.archive({"rumpel/settings": devices.settings("root=system,erofs")})
    end = nano.run(kernel, initrd, tmp_path, memory="64M", extra=extra)
    assert (end.last_line, end.status) == ("both have stepped to their end", 0), end.console


def test_a_disk_that_asks_to_be_reset_is_gone(kernel: Path, waiting: Path, tmp_path: Path) -> None:
    words = nano.command(kernel, tmp_path, "64M")
    words += ["-global", "virtio-mmio.force-legacy=false", *drive(disk_root(waiting, tmp_path))]
    words += ["-device", "virtio-blk-device,drive=d,serial=system"]
    initrd = nano.archive({"rumpel/settings": devices.settings("root=system,erofs")})
    with devices.running(words, initrd, tmp_path) as machine:
        machine.wait_for("the program runs")
        # A device whose available ring has more than fits stops at the next notification, and asks to be reset.
        available = machine.queue("virtio-blk", 0)["vring-avail"]
        machine.touch(f"write 0x{available + 2:x} 0x2 0xff7f")
        machine.notify(BLOCK)
        end = machine.end()
    disk_lost(end)


def test_a_disk_that_stops_to_answer_ends_the_machine(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAMS / "read_all.c", tmp_path / "read_all", "musl-gcc")
    disk = disk_root(program, tmp_path)
    words = nano.command(kernel, tmp_path, "64M")
    words += [*drive(disk, slow=True), "-device", "virtio-blk-device,drive=d,serial=system"]
    initrd = nano.archive({"rumpel/settings": devices.settings("root=system,erofs")})
    with devices.running(words, initrd, tmp_path) as machine:
        machine.wait_for("the program reads")
        end = machine.end(180)
    why = "The disk 'system' has not answered for 30 seconds."
    assert f"nano: {why} The program is asked to end." in end.console
    assert (end.control[-1], end.last_line, end.qemu) == (f"fail {why}", f"nano: {why}", Status.DEVICE)


def test_a_source_of_randomness_that_gives_none_counts_as_none(kernel: Path, waiting: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    silent = os.open(tmp_path / "never", os.O_RDWR)
    extra = ("-object", f"rng-random,id=r,filename={tmp_path / 'never'}", "-device", "virtio-rng-device,rng=r")
    end = nano.run(kernel, devices.root(waiting), tmp_path, cpu="qemu64", rng=False, extra=extra)
    os.close(silent)
    why = "The machine has no source of randomness: no virtio-rng device, and a CPU without RDSEED and RDRAND."
    assert (end.control, end.last_line, end.qemu) == ((f"fail {why}",), f"nano: {why}", Status.RANDOMNESS)
