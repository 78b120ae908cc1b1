"""QEMU's command line is a pure function of the plan."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import replace

import msgspec
import pytest

from rumpel.machine.command import ByHand, Counted, Inherited, Launch, Ram, Scratch, pasteable, qemu_command
from rumpel.resolve.plan import Device, Kernel, Machine, Plan, Port, Ready, Settings, Volume
from rumpel.resolve.settings import StartSettings, at_start

PLAN = Plan(
    schema=1, composition="web", summary="",
    machine=Machine(name="microvm", qemu_machine="microvm", qemu_options=(("acpi", "on"),), firmware="qboot.rom"),
    kernel=Kernel(name="debian", recipe="debian", directory="", summary="", command_line=("quiet", "panic=-1")),
    drivers=(),
    devices=(
        Device(driver="virtio-rng", model="virtio-rng-device", backend="rng"),
        Device(driver="virtio-net", model="virtio-net-device", backend="net-user"),
        Device(driver="virtio-blk", model="virtio-blk-device", backend="volume", volume="data"),
    ),
    components=(), settings=Settings(),
    ports=(Port(name="http", port=80), Port(name="dns", port=53, protocol="udp", host=5353)),
    ready=Ready(kind="exit"), volumes=(Volume(name="data", mount="/data", size=64, serial="data"),),
    sources=(), reasons=(), capabilities=(),
)  # fmt: skip
LAUNCH = Launch(kernel="/i/kernel", rootfs="/i/rootfs.cpio", settings="/s/settings", volumes={"data": "/v/a,b.ext4"})


def values(command: tuple[str, ...], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(command) if name == option]


def test_everything_of_the_plan_is_on_the_command_line() -> None:
    command = qemu_command(PLAN, LAUNCH, Inherited(console="/c/console", control=6, monitor=7))
    assert values(command, "-M") == ["microvm,acpi=on"]
    assert values(command, "-bios") == ["qboot.rom"]
    assert values(command, "-m") == ["128M"]
    assert values(command, "-append") == ["quiet panic=-1"]
    assert values(command, "-initrd") == ["/i/rootfs.cpio"]
    assert values(command, "-global") == ["virtio-mmio.force-legacy=false"]
    assert values(command, "-fw_cfg") == ["name=opt/rumpel/settings,file=/s/settings"]
    assert values(command, "-netdev") == [
        "user,id=net1,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,"
        "hostfwd=tcp:127.0.0.1:0-10.0.2.15:80,hostfwd=udp:127.0.0.1:5353-10.0.2.15:53"
    ]
    assert values(command, "-chardev") == [
        "pipe,id=console,path=/c/console", "socket,id=control,fd=6", "socket,id=monitor,fd=7",
    ]  # fmt: skip
    assert values(command, "-device") == [
        "isa-serial,chardev=console,index=0",
        "isa-serial,chardev=control,index=1",
        "isa-debug-exit,iobase=0x501,iosize=1",
        "virtio-rng-device,rng=rng0",
        "virtio-net-device,netdev=net1",
        "virtio-blk-device,drive=volume-data,serial=data",
    ]


def test_flush_of_the_guest_reaches_the_disk_and_the_image_is_locked() -> None:
    [block] = values(qemu_command(PLAN, LAUNCH, ByHand()), "-blockdev")
    assert "cache.no-flush=off" in block
    assert "file.locking=on" in block
    assert block.endswith("file.filename=/v/a,,b.ext4")


ROOT_DISK = msgspec.structs.replace(
    PLAN, devices=(Device(driver="virtio-blk", model="virtio-blk-device", backend="root"),)
)


@pytest.mark.parametrize(("disk", "driver"), [("/i/rootfs.qcow2", "qcow2"), ("/i/rootfs.erofs", "raw")])
def test_the_root_s_disk_is_only_read_and_of_the_format_that_its_file_has(disk: str, driver: str) -> None:
    command = qemu_command(ROOT_DISK, replace(LAUNCH, disk=disk), ByHand())
    opened = f"node-name=root-disk,driver={driver},read-only=on,file.driver=file,file.filename={disk}"
    assert values(command, "-blockdev") == [opened]
    recorded = qemu_command(ROOT_DISK, replace(LAUNCH, disk=disk, counted=Counted("record", None, "/r/log")), ByHand())
    [block] = values(recorded, "-blockdev")
    assert block.startswith(f"node-name=root-disk,driver=blkreplay,read-only=on,image.driver={driver},")


@pytest.mark.parametrize(("capabilities", "size"), [((), 64), ((("jit", "kernel/debian"),), 128)])
def test_a_jit_has_a_larger_buffer_for_translated_code(capabilities: tuple[tuple[str, str], ...], size: int) -> None:
    command = qemu_command(msgspec.structs.replace(PLAN, capabilities=capabilities), LAUNCH, ByHand())
    assert values(command, "-accel") == [f"tcg,tb-size={size}"]


def test_line_by_hand_needs_no_descriptor_and_survives_a_shell() -> None:
    command = qemu_command(PLAN, LAUNCH, ByHand())
    assert values(command, "-chardev") == ["stdio,id=console", "null,id=control"]
    assert values(command, "-mon") == []
    assert not any("fd=" in word for word in command)
    assert shlex.split(pasteable(command)) == list(command)


def test_channels_are_all_that_differs_by_hand() -> None:
    ours = qemu_command(PLAN, LAUNCH, Inherited(console="/c/console", control=6, monitor=7))
    by_hand = qemu_command(PLAN, LAUNCH, ByHand())
    differing = set(ours) ^ set(by_hand)
    assert all(
        word.startswith(("pipe,", "socket,", "stdio,", "null,", "-mon", "chardev=monitor")) for word in differing
    )


def test_what_is_asked_for_at_start_replaces_the_plan() -> None:
    launch = Launch(
        kernel="k", memory=24, cpus=2, accelerator="kvm", ports={"http": 8080}, volumes={"data": "d"}
    )  # fmt: skip
    asked = StartSettings(address="192.168.7.9/28", gateway="192.168.7.1", nameserver="9.9.9.9")
    command = qemu_command(at_start(PLAN, asked), launch, ByHand())
    assert values(command, "-m") == ["24M"]
    assert values(command, "-smp") == ["2"]
    assert values(command, "-accel") == ["kvm"]
    assert values(command, "-cpu") == ["host"]
    [network] = values(command, "-netdev")
    assert network.startswith(
        "user,id=net1,net=192.168.7.0/28,host=192.168.7.1,hostfwd=tcp:127.0.0.1:8080-192.168.7.9:80"
    )
    assert "9.9.9.9" not in network


@pytest.mark.parametrize(
    ("address", "gateway", "nameserver", "words"),
    [
        ("10.1.0.9/24", "", "", "net=10.1.0.0/24,"),
        ("10.1.0.9/24", "10.1.0.3", "", "net=10.1.0.0/24,host=10.1.0.3,dns=10.1.0.2,"),
        ("10.1.0.9/24", "10.1.0.3", "9.9.9.9", "net=10.1.0.0/24,host=10.1.0.3,dns=10.1.0.2,"),
        ("10.1.0.9/24", "10.1.0.1", "10.1.0.3", "net=10.1.0.0/24,host=10.1.0.1,dns=10.1.0.3,"),
        ("10.1.0.2/24", "", "", "net=10.1.0.0/24,host=10.1.0.3,dns=10.1.0.4,"),
        ("10.1.0.3/24", "10.1.0.1", "", "net=10.1.0.0/24,host=10.1.0.1,dns=10.1.0.2,"),
        ("10.1.0.3/24", "", "", "net=10.1.0.0/24,dns=10.1.0.4,"),
    ],
)
def test_qemu_takes_no_address_that_the_guest_or_its_gateway_has(
    address: str, gateway: str, nameserver: str, words: str
) -> None:
    asked = StartSettings(address=address, gateway=gateway, nameserver=nameserver)
    launch = Launch(kernel="k", volumes={"data": "d"})
    [network] = values(qemu_command(at_start(PLAN, asked), launch, ByHand()), "-netdev")
    assert network.startswith(f"user,id=net1,{words}hostfwd=")


def test_a_fixed_address_of_ipv6_has_qemu_answer_at_its_gateway_and_name_server() -> None:
    asked = StartSettings(address6="fd00:7::9/64", gateway6="fd00:7::1", nameserver6="fd00:7::53")
    launch = Launch(kernel="k", volumes={"data": "d"})
    [network] = values(qemu_command(at_start(PLAN, asked), launch, ByHand()), "-netdev")
    assert ",ipv6-net=fd00:7::/64,ipv6-host=fd00:7::1,ipv6-dns=fd00:7::53,hostfwd=" in network
    asked = StartSettings(address6="fd00:7::9/64", nameserver6="2001:db8::53")
    [network] = values(qemu_command(at_start(PLAN, asked), launch, ByHand()), "-netdev")
    assert ",ipv6-net=fd00:7::/64,ipv6-host=fd00:7::2,ipv6-dns=fd00:7::3,hostfwd=" in network


@pytest.mark.parametrize(
    ("address", "gateway", "nameserver", "takes"),
    [
        ("fd00:7::9/64", "", "", ("fd00:7::2", "fd00:7::3")),
        ("fd00:7::9/64", "fd00:7::3", "", ("fd00:7::3", "fd00:7::2")),
        ("fd00:7::9/64", "fd00:7::3", "2001:db8::53", ("fd00:7::3", "fd00:7::2")),
        ("fd00:7::9/64", "fd00:7::2", "", ("fd00:7::2", "fd00:7::3")),
        ("fd00:7::9/64", "", "fd00:7::2", ("fd00:7::3", "fd00:7::2")),
        ("fd00:7::2/64", "", "", ("fd00:7::3", "fd00:7::4")),
        ("fd00:7::3/64", "", "", ("fd00:7::2", "fd00:7::4")),
        ("fd00:7::2/64", "fd00:7::3", "", ("fd00:7::3", "fd00:7::4")),
        ("fd00:7::2/64", "", "fd00:7::3", ("fd00:7::4", "fd00:7::3")),
        ("fd00:7::0.0.0.2/64", "fd00:7::0.0.0.3", "", ("fd00:7::3", "fd00:7::4")),
    ],
)
def test_qemu_takes_no_address_of_ipv6_that_the_guest_or_its_gateway_has(
    address: str, gateway: str, nameserver: str, takes: tuple[str, str]
) -> None:
    asked = StartSettings(address6=address, gateway6=gateway, nameserver6=nameserver)
    launch = Launch(kernel="k", volumes={"data": "d"})
    [network] = values(qemu_command(at_start(PLAN, asked), launch, ByHand()), "-netdev")
    host, dns = takes
    assert f",ipv6-net=fd00:7::/64,ipv6-host={host},ipv6-dns={dns},hostfwd=" in network


@pytest.mark.parametrize("suffix", ["device", "pci"])
def test_a_console_device_shares_the_console_with_the_serial_port(suffix: str) -> None:
    device = Device(driver="virtio-console", model=f"virtio-serial-{suffix}", backend="console")
    plan = msgspec.structs.replace(PLAN, devices=(device,), volumes=(), ports=())
    command = qemu_command(plan, LAUNCH, Inherited(console="/c/console", control=6, monitor=7))
    assert values(command, "-chardev")[0] == "pipe,id=console,path=/c/console,mux=on"
    assert values(command, "-echr") == ["256"]  # what no byte is
    assert values(command, "-device")[-2:] == [
        f"virtio-serial-{suffix},id=console0,max_ports=1",
        "virtconsole,bus=console0.0,chardev=console",
    ]


def test_dhcp_leaves_the_network_to_qemu() -> None:
    launch = Launch(kernel="k", volumes={"data": "d"})
    plan = at_start(PLAN, StartSettings(address="dhcp"))
    [network] = values(qemu_command(plan, launch, ByHand()), "-netdev")
    assert network.startswith("user,id=net1,hostfwd=tcp:127.0.0.1:0-:80")


def test_memory_in_a_file_has_the_name_that_a_snapshot_of_the_machine_gives_it() -> None:
    launch = Launch(kernel="k", memory=24, volumes={"data": "d"}, ram=Ram(9, copy=False))
    command = qemu_command(PLAN, launch, ByHand())
    assert values(command, "-M") == ["microvm,acpi=on,memory-backend=microvm.ram"]
    assert values(command, "-object")[-1] == (
        "memory-backend-file,id=microvm.ram,size=24M,mem-path=/proc/self/fd/9,share=on"
    )
    assert "-incoming" not in command and "-S" not in command
    copy = qemu_command(PLAN, replace(launch, ram=Ram(9, copy=True)), ByHand())
    assert values(copy, "-object")[-1].endswith(",share=off")
    assert values(copy, "-incoming") == ["defer"]
    assert "-S" in copy


def test_layers_of_a_volume_lie_between_its_image_and_what_is_written() -> None:
    scratch = Scratch("/m", {"data": "/o/data"}, layers={"data": ("/t/low", "/t/high")})
    command = qemu_command(PLAN, replace(LAUNCH, scratch=scratch), ByHand())
    [block] = [each for each in values(command, "-blockdev") if each.startswith("node-name=volume-data,")]
    assert block == (
        "node-name=volume-data,driver=qcow2,cache.no-flush=on,file.driver=file,file.aio=threads,file.filename=/o/data,"
        "discard=unmap,"
        "backing.driver=qcow2,backing.read-only=on,backing.file.driver=file,backing.file.filename=/t/high,"
        "backing.backing.driver=qcow2,backing.backing.read-only=on,backing.backing.file.driver=file,"
        "backing.backing.file.filename=/t/low,"
        "backing.backing.backing.driver=raw,backing.backing.backing.read-only=on,"
        "backing.backing.backing.file.driver=file,backing.backing.backing.file.filename=/v/a,,b.ext4"
    )


def test_volume_without_a_file_is_our_mistake() -> None:
    with pytest.raises(KeyError):
        qemu_command(PLAN, Launch(kernel="k"), ByHand())
