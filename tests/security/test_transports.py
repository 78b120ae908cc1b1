"""nano finds its devices on each bus, named on the command line or at fixed slots, by both of virtio's interfaces."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.abi import nano
from tests.security import devices

PROGRAM = Path(__file__).with_name("programs") / "answer.c"
MODERN_MMIO = ("-global", "virtio-mmio.force-legacy=false")
SIZE = 123_457

pytestmark = pytest.mark.boot


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano kernel with network and disks, for both machines."""
    return nano.build_kernel(tmp_path_factory.mktemp("kernel") / "kernel", devices.DRIVERS, devices.GROUPS)


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem on a disk: the program and a file of SIZE bytes."""
    folder = tmp_path_factory.mktemp("disk")
    (folder / "tree/bin").mkdir(parents=True)
    (folder / "tree/srv").mkdir()
    nano.compile_static(PROGRAM, folder / "tree/bin/program", "musl-gcc")
    (folder / "tree/srv/large").write_bytes(bytes(SIZE))
    subprocess.run(["mkfs.erofs", folder / "image", folder / "tree"], check=True, capture_output=True)
    return folder / "image"


@pytest.mark.parametrize(
    ("machine", "suffix", "more"),
    [
        ("microvm,acpi=off,isa-serial=off", "device", MODERN_MMIO),
        ("microvm,acpi=off,isa-serial=off", "device", ()),
        ("microvm,acpi=off,isa-serial=off,auto-kernel-cmdline=off", "device", MODERN_MMIO),
        ("microvm,acpi=on,isa-serial=off", "device", MODERN_MMIO),
        ("microvm,acpi=on,isa-serial=off,ioapic2=on,auto-kernel-cmdline=off", "device", MODERN_MMIO),
        ("q35", "pci", ("-global", "virtio-pci.disable-legacy=on")),
        ("q35", "pci", ("-global", "virtio-pci.disable-modern=on", "-global", "virtio-pci.disable-legacy=off")),
    ],
    ids=["mmio-named", "mmio-legacy", "mmio-found", "mmio-acpi", "mmio-second-ioapic", "pci-modern", "pci-legacy"],
)
def test_disk_network_and_randomness_work_on(
    machine: str, suffix: str, more: tuple[str, ...], kernel: Path, disk: Path, tmp_path: Path
) -> None:
    words = nano.command(kernel, tmp_path, "64M", cpu="qemu64", rng=False)
    if machine == "q35":
        words = devices.on_q35(words)
    words = [machine if word == "microvm,acpi=off,isa-serial=off" else word for word in words]
    words += [*more, "-device", f"virtio-rng-{suffix}"]
    words += [
        "-netdev",
        "user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:0-:80",
        "-device",
        f"virtio-net-{suffix},netdev=n",
    ]
    words += ["-drive", f"if=none,id=d,format=raw,read-only=on,file={disk}"]
    words += ["-device", f"virtio-blk-{suffix},drive=d,serial=system"]
    initrd = nano.archive({"rumpel/settings": devices.settings("root=system,erofs", devices.ADDRESS)})
    with devices.running(words, initrd, tmp_path) as vm:
        vm.wait_for("the program listens")
        with vm.knock() as connection, connection.makefile() as answer:
            connection.settimeout(devices.WAIT)
            assert answer.readline() == f"{SIZE}\n"
        end = vm.end()
    assert (end.status, end.qemu) == (0, nano.Status.PROGRAM), end
