"""What a program finds in a machine with a Linux kernel, and how each of its ends reaches the host."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from rumpel.errors import MachineError
from rumpel.machine.command import ByHand, Launch, qemu_command
from rumpel.machine.volumes import Place, ensure_volume, volume_path
from rumpel.resolve.plan import Plan
from rumpel.resolve.settings import Record, StartSettings, encode_settings, settings_of

from .conftest import TARGETS, Probe, Target, built

pytestmark = pytest.mark.boot

# What depends on the machine is tried on each; what is the same program in the same kernel, once.
ON_EACH_MACHINE = pytest.mark.parametrize("target", TARGETS, ids=str)
WITH_SYSRQ = pytest.mark.parametrize("target", [each for each in TARGETS if each.kernel == "debian"], ids=str)
ON_ONE_MACHINE = pytest.mark.parametrize("target", TARGETS[:1], ids=str)


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PATH=f"{os.environ['PATH']}:/usr/sbin:/sbin", LC_ALL="C")
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def is_clean(image: Path) -> bool:
    """Whether the volume was unmounted in order: nothing to replay, nothing to mend."""
    checked = tool("e2fsck", "-fn", str(image))
    header = tool("dumpe2fs", "-h", str(image)).stdout
    return checked.returncode == 0 and "needs_recovery" not in header


def is_clean_after_replay(image: Path) -> bool:
    """Whether the journal mends everything, as after a power cut."""
    return tool("e2fsck", "-p", str(image)).returncode <= 1 and is_clean(image)


def values(text: str, name: str) -> list[str]:
    """What `probe report` printed behind `name`."""
    return re.findall(rf"^{re.escape(name)}: (.*)$", text, re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How a machine that was started by its plain command line ended."""

    console: str
    control: str
    status: int
    seconds: float


def by_hand(target: Target, project: Path, folder: Path, records: bytes, *leave_out: str) -> Ended:
    """Run QEMU with settings of our own, without the options whose value begins with one of `leave_out`."""
    made = built("probe", target, project)
    (folder / "settings").write_bytes(records)
    volumes = {volume.name: str(ensure_volume(volume, Place("probe", folder))) for volume in made.plan.volumes}
    launch = Launch(
        kernel=made.image.kernel, rootfs=made.image.rootfs, settings=str(folder / "settings"), volumes=volumes
    )
    words = list(qemu_command(made.plan, launch, ByHand()))
    for start in leave_out:
        (place,) = (number for number, word in enumerate(words) if word.startswith(start))
        del words[place - 1 : place + 1]
    control = folder / "control"
    words = [word.replace("null,id=control", f"file,id=control,path={control}") for word in words]
    begin = time.monotonic()
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    said = control.read_text() if control.exists() else ""
    return Ended(done.stdout.replace("\r", ""), said, done.returncode, time.monotonic() - begin)


def records_of(target: Target, project: Path, *words: str) -> tuple[Record, ...]:
    return settings_of(built("probe", target, project).plan, StartSettings(arguments=words))


@ON_EACH_MACHINE
def test_a_program_finds_what_its_settings_say(target: Target, probe: Probe) -> None:
    settings = StartSettings(hostname="sea.example", clock=-86400, environment=(("SECRET", "a=b c"),))
    instance = probe(target, "report", "two words", "", settings=settings)
    assert instance.wait(60) == 0
    text = instance.console.text()
    assert [values(text, f"argument {number}") for number in range(5)] == [
        ["/bin/probe"], ["report"], ["two words"], [""], [],
    ]  # fmt: skip
    assert sorted(values(text, "environment")) == [
        "COLOUR=green", "HOME=/tmp", "PATH=/usr/local/bin:/usr/bin:/bin", "SECRET=a=b c",
    ]  # fmt: skip
    assert values(text, "host name") == ["sea.example"]
    assert values(text, "folder") == ["/"]
    assert values(text, "leads its session") == ["yes"]
    assert values(text, "parent") == ["1"]
    assert values(text, "input") == ["a terminal"]
    assert values(text, "open files") == ["65536"]
    assert values(text, "writable /new") == ["Read-only file system"]
    assert values(text, "writable /tmp/new") == ["yes"]
    assert values(text, "writable /data/deep/new") == ["yes"]
    assert "127.0.1.1 sea.example" in values(text, "/etc/hosts")
    assert values(text, "/etc/resolv.conf") == ["nameserver 10.0.2.3"]
    (volume,) = (line for line in values(text, "/proc/mounts") if " /data/deep " in line)
    assert re.fullmatch(r"/dev/vda /data/deep ext4 rw,nosuid,nodev,noatime.*errors=remount-ro.*", volume)
    assert abs(int(values(text, "time")[0]) - (time.time() - 86400)) < 60
    (random,) = values(text, "random")
    match = re.fullmatch(r"16 bytes in (\d+) us", random)
    assert match is not None and int(match[1]) < 500_000
    assert is_clean(volume_path("probe", "data"))


@ON_EACH_MACHINE
@pytest.mark.parametrize("address", ["", "dhcp"])
def test_the_network_carries_a_connection_in_both_ways_of_setting_it_up(
    target: Target, probe: Probe, address: str
) -> None:
    instance = probe(target, "echo", settings=StartSettings(address=address or None))
    instance.wait_ready()
    with socket.create_connection(("127.0.0.1", instance.ports["echo"]), timeout=20) as connection:
        for size in (1, 200):
            connection.sendall(b"x" * size)
            heard = b""
            while len(heard) < size:
                heard += connection.recv(4096)
            assert heard == b"x" * size
    instance.stop()
    assert instance.wait() == 128 + 15


@ON_ONE_MACHINE
def test_a_lease_sets_the_route_and_the_name_server(target: Target, probe: Probe) -> None:
    instance = probe(target, "report", settings=StartSettings(address="dhcp"))
    assert instance.wait(60) == 0
    text = instance.console.text()
    assert values(text, "/etc/resolv.conf") == ["nameserver 10.0.2.3"]
    routes = [line.split()[1:3] for line in values(text, "/proc/net/route")[1:]]
    assert ["00000000", "0202000A"] in routes


@ON_EACH_MACHINE
@pytest.mark.parametrize(
    ("word", "status", "says"),
    [
        ("segfault", 128 + 11, "rumpel: The program was killed by signal 11 (Segmentation fault)."),
        ("memory", 128 + 9, "rumpel: The program was killed by signal 9 (Killed)."),
    ],
)
def test_a_program_that_a_signal_ends_has_status_128_and_its_number(
    target: Target, probe: Probe, word: str, status: int, says: str
) -> None:
    instance = probe(target, word)
    assert instance.wait(60) == status
    assert says in instance.console.text().splitlines()
    assert is_clean(volume_path("probe", "data"))


@ON_ONE_MACHINE
def test_out_of_memory_is_explained_on_the_console(target: Target, probe: Probe) -> None:
    instance = probe(target, "memory", memory=96)
    assert instance.wait(60) == 137
    assert re.search(r"Out of memory: Killed process \d+ \(probe\)", instance.console.text())


@ON_EACH_MACHINE
def test_a_process_left_behind_neither_holds_the_end_up_nor_dirties_the_volume(target: Target, probe: Probe) -> None:
    instance = probe(target, "orphan")
    assert instance.wait(60) == 3
    assert is_clean(volume_path("probe", "data"))
    assert tool("debugfs", "-R", "cat /held", str(volume_path("probe", "data"))).stdout == "held\n"


@ON_ONE_MACHINE
def test_processes_that_lost_their_parent_are_reaped(target: Target, probe: Probe) -> None:
    instance = probe(target, "zombies")
    assert instance.wait(60) == 0
    assert values(instance.console.text(), "zombies") == ["0"]


@ON_ONE_MACHINE
def test_a_program_that_is_told_to_stop_may_finish_and_its_status_counts(target: Target, probe: Probe) -> None:
    instance = probe(target, "obey")
    instance.wait_ready()
    assert instance.stop() == "asked"
    assert instance.wait() == 5
    assert "probe: told to end" in instance.console.text()


@ON_ONE_MACHINE
@pytest.mark.parametrize(("timeout", "grace"), [(None, 8), (15, 13)])
def test_a_program_that_ignores_the_stop_is_killed_in_time_for_the_volumes_to_be_unmounted(
    target: Target, probe: Probe, timeout: float | None, grace: int
) -> None:
    instance = probe(target, "deaf")
    instance.wait_ready()
    begin = time.monotonic()
    assert instance.stop(timeout) == "asked"
    assert grace - 0.5 < time.monotonic() - begin < grace + 2
    assert instance.wait() == 137
    said = f"rumpel: The program did not end within {grace} seconds after it was asked to; it is killed."
    assert said in instance.console.text().splitlines()
    assert is_clean(volume_path("probe", "data"))


def without(backend: str) -> Callable[[Plan], Plan]:
    """The plan without the devices of a kind; what asks for them stays."""

    def change(plan: Plan) -> Plan:
        devices = tuple(device for device in plan.devices if device.backend != backend)
        ports = () if backend == "net-user" else plan.ports
        return msgspec.structs.replace(plan, devices=devices, ports=ports)

    return change


@ON_EACH_MACHINE
def test_a_volume_without_its_disk_is_said(target: Target, probe: Probe) -> None:
    instance = probe(target, "report", change=without("volume"))
    with pytest.raises(MachineError) as caught:
        instance.wait_ready()
    assert caught.value.message == (
        "The guest could not run the program: "
        "The volume for '/data/deep' is missing: no block device has the serial 'data'."
    )
    assert caught.value.evidence.console.endswith(
        "rumpel: The volume for '/data/deep' is missing: no block device has the serial 'data'."
    )


def replaced(records: tuple[Record, ...], key: str, value: str) -> bytes:
    others = tuple(record for record in records if record.key != key)
    return encode_settings((*others, Record(key=key, value=value)))


@ON_ONE_MACHINE
@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("program", "/bin/none", "'/bin/none' cannot be started: No such file or directory."),
        ("program", "/rumpel/settings", "'/rumpel/settings' cannot be started: Permission denied."),
        (
            "net",
            "static,1.2.3",
            "The setting 'net' of the host is 'static,1.2.3': its address is not an IPv4 address.",
        ),
        (
            "volume",
            "data,/data",
            "The setting 'volume' of the host is 'data,/data': it must be 'SERIAL,MOUNTPOINT,ext4,rw' or '...,ro'.",
        ),
    ],
)
def test_settings_that_cannot_be_followed_end_the_machine_with_a_sentence(
    target: Target, probe_project: Path, tmp_path: Path, key: str, value: str, says: str
) -> None:
    records = replaced(records_of(target, probe_project, "report"), key, value)
    ended = by_hand(target, probe_project, tmp_path, records)
    assert ended.console.splitlines()[-1] == f"rumpel: {says}"
    assert ended.control == f"fail {says}\n"
    assert ended.status == 1


@ON_ONE_MACHINE
def test_a_network_that_was_asked_for_and_is_not_there_is_said(
    target: Target, probe_project: Path, tmp_path: Path
) -> None:
    records = encode_settings(records_of(target, probe_project, "report"))
    ended = by_hand(target, probe_project, tmp_path, records, "user,id=", "virtio-net-")
    assert ended.control == "fail The setting 'net' asks for a network, but there is no network device.\n"


@ON_ONE_MACHINE
def test_a_machine_without_a_control_channel_runs_its_program_all_the_same(
    target: Target, probe_project: Path, tmp_path: Path
) -> None:
    records = encode_settings(records_of(target, probe_project, "report"))
    ended = by_hand(target, probe_project, tmp_path, records, "null,id=control", "isa-serial,chardev=control")
    assert values(ended.console, "argument 1") == ["report"]
    assert (ended.status, ended.control) == (1, "")


@ON_EACH_MACHINE
def test_a_machine_without_an_exit_device_ends_all_the_same(
    target: Target, probe_project: Path, tmp_path: Path
) -> None:
    records = encode_settings(records_of(target, probe_project, "report"))
    ended = by_hand(target, probe_project, tmp_path, records, "isa-debug-exit")
    assert ended.control == "start\nexit 0\n"
    assert ended.status == 0
    assert is_clean(tmp_path / "data.ext4")


@WITH_SYSRQ  # 'linux' has no switch by which a program makes it panic
def test_a_kernel_that_panics_is_said_with_its_reason(target: Target, probe: Probe) -> None:
    instance = probe(target, "panic")
    with pytest.raises(MachineError) as caught:
        instance.wait(60)
    assert caught.value.message == "The guest's kernel panicked: sysrq triggered crash."
    assert " panic+0x" in caught.value.evidence.console
    assert str(caught.value).endswith(f"The whole console is in {instance.directory}/console.log.")
    assert is_clean_after_replay(volume_path("probe", "data"))
