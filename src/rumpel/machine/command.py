"""QEMU's command line, from a plan. Pure: no file is read, nothing is started.

    arguments = qemu_command(plan, launch, Inherited(console="/.../console", control=6, monitor=7))
    print(pasteable(qemu_command(plan, launch, ByHand())))

Sources: QEMU's `qemu-system-x86_64(1)`; `docs/specs/fw_cfg.rst`; `docs/system/i386/microvm.rst`.
"""

from __future__ import annotations

import ipaddress
import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rumpel.resolve.plan import Device, Plan, Port, Settings, Volume

AcceleratorName = Literal["tcg", "kvm"]
# Of a block node: keys and values as they are given to `-blockdev`.
Options = list[tuple[str, str]]

# 64 MiB holds what a generic Linux kernel, its init and a server translate to, 128 MiB what they and the start of a
# runtime with a JIT do: where it is full, all is thrown away. QEMU's default is a quarter of the host's memory up to
# 1 GiB, which a guest that goes on translating (a JIT) would slowly make resident.
TRANSLATION_BUFFER_MIB = 64
TRANSLATION_BUFFER_JIT_MIB = 128

# TCG's `max` has what a hardened guest wants (SMEP, SMAP, UMIP, RDSEED); five-level page tables only cost walks.
CPU_MODELS: Mapping[AcceleratorName, str] = {"tcg": "max,la57=off", "kvm": "host"}

EXIT_PORT = 0x501
# QEMU's own names of a machine's memory, so that what was saved from it fits one whose memory is a file.
_MEMORY_IDS = {"q35": "pc.ram"}
# A guest's instruction takes 2**5 ns: about as fast as TCG is on a busy host. With less, the loops in which Linux waits
# for a time take many more instructions, each of which is an entry of a log; with more, the guest's time runs away.
COUNT_SHIFT = 5
SEEDED_CLOCK = "2024-01-01T00:00:00"  # UTC
# The block node that holds the memory of snapshots; no device of the guest stands before it.
MEMORY_NODE = "memory"
# What no byte is: a multiplexed console has no key by which QEMU itself is spoken to.
_NO_BYTE = 256
SETTINGS_NAME = "opt/rumpel/settings"


@dataclass(frozen=True)
class Inherited:
    """The channels of a machine with an owner. `control` and `monitor` are descriptors of sockets that QEMU inherits;
    `console` is the path of two FIFOs without their `.in` and `.out` (a FIFO takes single bytes a hundred times
    better than a socket, and a UART sends single bytes)."""

    console: str
    control: int
    monitor: int


@dataclass(frozen=True)
class ByHand:
    """The channels of a line that a person pastes: the console is the terminal, no monitor, control goes nowhere."""


@dataclass(frozen=True)
class Scratch:
    """Files that are thrown away with the machine: `overlays` take what it writes to volumes (a qcow2 file by the
    volume's name), `memory` holds the memory of snapshots. `aio` is how QEMU reads and writes them. `layers` are qcow2
    files between a volume's image and its overlay, the lowest first."""

    memory: str
    overlays: Mapping[str, str]
    aio: Literal["threads", "io_uring"] = "threads"
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ram:
    """The guest's memory in a file, which QEMU inherits as the descriptor `memory`. `copy`: the machine begins with
    what the file holds, and what it writes to its memory is its own; otherwise it boots, and its memory is the
    file."""

    memory: int
    copy: bool


@dataclass(frozen=True)
class Counted:
    """The guest's time is the count of its instructions (QEMU `docs/devel/tcg-icount.rst`), its random numbers come
    from QEMU's generator. `seeded`: that begins with `seed`, and the wall clock at SEEDED_CLOCK; an idle guest's time
    leaps to its next timer. `record` writes all
    that comes from outside to the file `log`, `replay` takes it from there (`docs/system/replay.rst`)."""

    mode: Literal["seeded", "record", "replay"]
    seed: int | None = None
    log: str = ""

    @property
    def logged(self) -> bool:
        return self.mode != "seeded"


@dataclass(frozen=True)
class Launch:
    """What a command line depends on beside the plan.

    `firmware` is the image's own; empty: QEMU's. `memory` in MiB and `cpus` of 0 leave the plan's. `settings` is the
    fw_cfg file, `volumes` the image file of each of the plan's volumes, `ports` the host ports asked for by port name
    (0: QEMU chooses). With `scratch` the volumes' images are only read, and the machine can be saved. `halted`: its
    CPUs wait for QMP `cont`; so do those of a copy (`ram`), behind `migrate-incoming`. `debugger` is the path of a Unix
    socket: a GDB that connects to it drives the machine, whose CPUs wait for it.
    """

    kernel: str
    rootfs: str = ""
    disk: str = ""
    firmware: str = ""
    settings: str = ""
    qemu: str = "qemu-system-x86_64"
    accelerator: AcceleratorName = "tcg"
    memory: int = 0
    cpus: int = 0
    ports: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    scratch: Scratch | None = None
    halted: bool = False
    ram: Ram | None = None
    debugger: str = ""
    counted: Counted | None = None

    @property
    def logged(self) -> bool:
        """Whether what comes from outside is recorded or replayed."""
        return self.counted is not None and self.counted.logged


def volume_node(volume: str) -> str:
    """The block node behind the device of a volume."""
    return f"volume-{volume}"


def qemu_command(plan: Plan, launch: Launch, channels: Inherited | ByHand) -> tuple[str, ...]:
    """QEMU's program and arguments. Raises KeyError where a volume of the plan has no file in `launch.volumes`."""
    machine = plan.machine
    words = [launch.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    words += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    memory = launch.memory or machine.memory
    words += ["-M", _joined(machine.qemu_machine, machine.qemu_options + _memory_option(launch, machine.qemu_machine))]
    if launch.firmware or machine.firmware:
        words += ["-bios", launch.firmware or machine.firmware]
    words += ["-accel", _translation(plan) if launch.accelerator == "tcg" else launch.accelerator]
    words += _counting(launch.counted)
    words += ["-cpu", CPU_MODELS[launch.accelerator]]
    words += ["-m", f"{memory}M", "-smp", str(launch.cpus or machine.cpus)]
    words += ["-kernel", launch.kernel]
    if launch.rootfs:
        words += ["-initrd", launch.rootfs]
    kernel_words = plan.kernel.command_line
    if launch.accelerator == "tcg":
        kernel_words += plan.kernel.command_line_tcg
    if kernel_words:
        words += ["-append", " ".join(kernel_words)]
    if any(device.model.endswith("-device") for device in plan.devices):
        words += ["-global", "virtio-mmio.force-legacy=false"]
    shared = any(device.backend == "console" for device in plan.devices)
    words += _channels(channels, launch, shared=shared, bare=("isa-serial", "off") in machine.qemu_options)
    words += ["-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"]
    if launch.settings:
        words += ["-fw_cfg", f"name={SETTINGS_NAME},file={_escaped(launch.settings)}"]
    volumes = {volume.name: volume for volume in plan.volumes}
    for number, device in enumerate(plan.devices):
        words += _device(plan, launch, device, number, volumes)
    if launch.scratch is not None:
        memory_file = _qcow2(launch.scratch.memory, launch.scratch.aio)
        words += ["-blockdev", _joined(f"node-name={MEMORY_NODE}", tuple(memory_file))]
    copy = launch.ram is not None and launch.ram.copy
    if launch.ram is not None:
        words += ["-object", _memory_file(launch.ram, machine.qemu_machine, memory)]
    if copy:
        words += ["-incoming", "defer"]
    if launch.debugger:
        words += ["-chardev", f"socket,id=debugger,path={_escaped(launch.debugger)},server=on,wait=off"]
        words += ["-gdb", "chardev:debugger"]
    if launch.halted or launch.debugger or copy:
        words += ["-S"]
    return tuple(words)


def pasteable(command: tuple[str, ...]) -> str:
    """`command` as one line for a POSIX shell."""
    return shlex.join(command)


def _translation(plan: Plan) -> str:
    uses_jit = any(capability == "jit" for capability, _ in plan.capabilities)
    return f"tcg,tb-size={TRANSLATION_BUFFER_JIT_MIB if uses_jit else TRANSLATION_BUFFER_MIB}"


def _memory_id(machine: str) -> str:
    return _MEMORY_IDS.get(machine, f"{machine}.ram")


def _memory_option(launch: Launch, machine: str) -> tuple[tuple[str, str], ...]:
    return () if launch.ram is None else (("memory-backend", _memory_id(machine)),)


def _memory_file(ram: Ram, machine: str, size: int) -> str:
    share = "off" if ram.copy else "on"
    path = f"/proc/self/fd/{ram.memory}"
    return f"memory-backend-file,id={_memory_id(machine)},size={size}M,mem-path={path},share={share}"


def _counting(counted: Counted | None) -> list[str]:
    if counted is None:
        return []
    seed = [] if counted.seed is None else ["-seed", str(counted.seed)]
    if counted.logged:
        log = f"rr={counted.mode},rrfile={_escaped(counted.log)}"
        # Without the device `kvmvapic` (for 32-bit Windows): its reset waits for the CPU's thread, which waits for the
        # replay's lock, which is held by whoever loads the snapshot from which a GDB goes back.
        return ["-icount", f"shift={COUNT_SHIFT},{log}", *seed, "-global", "apic.vapic=off"]
    # No sleep: while a guest is idle its time would else go by the host's clock.
    return ["-icount", f"shift={COUNT_SHIFT},sleep=off", *seed, "-rtc", f"base={SEEDED_CLOCK},clock=vm"]


def _channels(channels: Inherited | ByHand, launch: Launch, *, shared: bool, bare: bool) -> list[str]:
    """`bare`: the machine has no serial ports of its own. `shared`: another device writes to the console, too, and what
    is typed goes to that."""
    match channels:
        case Inherited(console, control, monitor):
            chardevs = [
                f"pipe,id=console,path={_escaped(console)}",
                f"socket,id=control,fd={control}",
                f"socket,id=monitor,fd={monitor}",
            ]
            monitors = ["-mon", "chardev=monitor,mode=control"]
        case ByHand():
            chardevs, monitors = ["stdio,id=console", "null,id=control"], []
    if shared:
        chardevs[0] += ",mux=on"
    words = [word for chardev in chardevs for word in ("-chardev", chardev)]
    if shared:
        words += ["-echr", str(_NO_BYTE)]
    for index, name in enumerate(("console", "control")):
        # What the host sends is recorded for the character devices of `-serial` alone. A machine with ports takes them.
        if launch.logged:
            words += ["-serial", f"chardev:{name}"]
        if bare or not launch.logged:
            words += ["-device", f"isa-serial,chardev={name},index={index}"]
    return words + monitors


def netdevs(plan: Plan) -> list[str]:
    """The ids of the machine's networks."""
    return [_netdev(number) for number, device in enumerate(plan.devices) if device.backend == "net-user"]


def _netdev(number: int) -> str:
    return f"net{number}"


def _device(plan: Plan, launch: Launch, device: Device, number: int, volumes: Mapping[str, Volume]) -> list[str]:
    properties = dict(device.properties)
    match device.backend:
        case "none":
            return ["-device", _joined(device.model, device.properties)]
        case "console":
            properties |= {"id": f"console{number}", "max_ports": "1"}
            controller = _joined(device.model, tuple(properties.items()))
            return ["-device", controller, "-device", f"virtconsole,bus=console{number}.0,chardev=console"]
        case "rng":
            name = f"rng{number}"
            properties.setdefault("rng", name)
            outside = launch.counted is None
            back = ["-object", f"rng-random,id={name},filename=/dev/urandom" if outside else f"rng-builtin,id={name}"]
        case "net-user":
            name = _netdev(number)
            properties.setdefault("netdev", name)
            if device.model.endswith("-pci"):  # no machine starts from the network
                properties.setdefault("romfile", "")
            back = ["-netdev", _user_network(name, plan, launch)]
            if launch.counted is not None and device.model.startswith("virtio-net"):
                properties["tx"] = "timer"  # the guest's; the other way sends when the host has time for it
            if launch.logged:
                back += ["-object", f"filter-replay,id={name}-log,netdev={name}"]
        case "root":
            properties.setdefault("drive", "root-disk")
            back = ["-blockdev", _node("root-disk", _root(launch.disk), launch)]
        case "volume":
            volume = volumes[device.volume]
            name = volume_node(volume.name)
            properties.setdefault("drive", name)
            if volume.serial:
                properties.setdefault("serial", volume.serial)
            scratch = launch.scratch
            if scratch is None or volume.name not in scratch.overlays:
                back = ["-blockdev", _node(name, _block(launch.volumes[volume.name], volume), launch)]
            else:
                # An error of the disk reaches the guest, whatever it is; a full disk would else stop the machine.
                properties |= {"werror": "report", "rerror": "report"}
                overlaid = _overlaid(volume.name, launch.volumes[volume.name], scratch)
                back = ["-blockdev", _node(name, overlaid, launch)]
    return [*back, "-device", _joined(device.model, tuple(properties.items()))]


def _node(name: str, options: Options, launch: Launch) -> str:
    """A block node of a device; where requests are recorded or replayed, behind the node that does it."""
    if launch.logged:
        read_only = [option for option in options if option == ("read-only", "on")]
        below = [(f"image.{key}", value) for key, value in options]
        options = [("driver", "blkreplay"), *read_only, *below]
    return _joined(f"node-name={name}", tuple(options))


def _root(path: str) -> Options:
    """A disk that is only read, by any number of machines. Recordings of earlier builds hold a raw image."""
    driver = "qcow2" if path.endswith(".qcow2") else "raw"
    return [("driver", driver), ("read-only", "on"), ("file.driver", "file"), ("file.filename", path)]


def _block(path: str, volume: Volume) -> Options:
    """A raw image in the host's page cache: the guest's FLUSH becomes fdatasync, and what QEMU has written before
    it is killed stays. `locking=on` makes a second QEMU refuse the same file."""
    return [
        ("driver", "raw"), ("read-only", "on" if volume.read_only else "off"), ("cache.direct", "off"),
        ("cache.no-flush", "off"), ("discard", "unmap"),
        ("file.driver", "file"), ("file.locking", "on"), ("file.filename", path),
    ]  # fmt: skip


def _overlaid(volume: str, path: str, scratch: Scratch) -> Options:
    """A volume whose image, and the layers above it, are only read."""
    options = [*_qcow2(scratch.overlays[volume], scratch.aio), ("discard", "unmap")]
    layers = [(layer, "qcow2") for layer in reversed(scratch.layers.get(volume, ()))]
    for depth, (file, driver) in enumerate([*layers, (path, "raw")], start=1):
        at = "backing." * depth
        options += [(f"{at}driver", driver), (f"{at}read-only", "on"), (f"{at}file.driver", "file")]
        options += [(f"{at}file.filename", file)]
    return options


def _qcow2(path: str, aio: str) -> Options:
    """What is flushed goes to the host's page cache: it outlives QEMU, which is all that such a file has to."""
    return [
        ("driver", "qcow2"), ("cache.no-flush", "on"),
        ("file.driver", "file"), ("file.aio", aio), ("file.filename", path),
    ]  # fmt: skip


def _user_network(name: str, plan: Plan, launch: Launch) -> str:
    settings = plan.settings
    address = settings.address
    words = [f"user,id={name}"]
    guest = ""
    if address != "dhcp":
        interface = ipaddress.IPv4Interface(address)
        guest = str(interface.ip)
        words += _network(interface, settings)
    words += _network6(settings)
    # Only the first network device carries the program's ports.
    first = next(device for device in plan.devices if device.backend == "net-user")
    replayed = launch.counted is not None and launch.counted.mode == "replay"  # what came by ports is in the log
    if plan.devices[int(name.removeprefix("net"))] is first and not replayed:
        words += [f"hostfwd={_forward(port, launch.ports.get(port.name, port.host), guest)}" for port in plan.ports]
    return ",".join(words)


def _network(interface: ipaddress.IPv4Interface, settings: Settings) -> list[str]:
    network = interface.network
    words = [f"net={network}"]
    taken = {interface.ip, *(ipaddress.IPv4Address(each) for each in (settings.gateway, settings.nameserver) if each)}
    # What is not given QEMU takes for itself, the second and the third address, whoever else has them.
    second, third = network.network_address + 2, network.network_address + 3
    free = (each for each in map(network.__getitem__, itertools.count(2)) if each not in taken)
    host = settings.gateway or str(next(free))
    if settings.gateway or host != str(second):
        words.append(f"host={host}")
    # QEMU answers names only at an address of its own network; another server is reached like any host.
    nameserver = settings.nameserver
    if not nameserver or ipaddress.IPv4Address(nameserver) not in network:
        nameserver = str(next(free)) if third in taken or str(third) == host else ""
    if nameserver:
        words.append(f"dns={nameserver}")
    return words


def _network6(settings: Settings) -> list[str]:
    if settings.address6 == "auto":
        return []
    interface = ipaddress.IPv6Interface(settings.address6)
    network = interface.network
    given = [ipaddress.IPv6Address(each) for each in (settings.gateway6, settings.nameserver6) if each]
    # Where none is given QEMU takes the second and the third for itself, whoever else has them: libslirp does not look.
    free = (each for each in map(network.__getitem__, itertools.count(2)) if each not in (interface.ip, *given))
    host = settings.gateway6 or next(free)
    nameserver = settings.nameserver6
    if not nameserver or ipaddress.IPv6Address(nameserver) not in network:
        nameserver = str(next(free))
    return [f"ipv6-net={network}", f"ipv6-host={host}", f"ipv6-dns={nameserver}"]


def _forward(port: Port, host: int, guest: str) -> str:
    return f"{port.protocol}:127.0.0.1:{host}-{guest}:{port.port}"


def _joined(name: str, options: tuple[tuple[str, str], ...]) -> str:
    return ",".join([name, *(f"{key}={_escaped(value)}" for key, value in options)])


def _escaped(value: str) -> str:
    """A value inside QEMU's comma-separated options: a comma is written twice."""
    return value.replace(",", ",,")
