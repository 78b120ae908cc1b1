"""nano tells on which ports its program listens: the host asks nobody before, and says where it is another port."""

from __future__ import annotations

import shlex
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

import rumpel
from rumpel.errors import MachineError

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]

LATE, FIRST = 80, 81
TCP, SYN, ACK = 6, 0x02, 0x10


class Segment(NamedTuple):
    """Of TCP, from the host to the guest."""

    port: int
    flags: int
    data: bytes


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the program `listen`, which listens on the ports of its arguments."""
    folder = tmp_path_factory.mktemp("listen") / "project"
    shutil.copytree(Path(__file__).parent / "listen", folder)
    return folder


def segments(dump: Path) -> Iterator[Segment]:
    """What QEMU's `filter-dump` (a file of libpcap) has of the host's segments, in order."""
    content, at = dump.read_bytes(), 24
    while at + 16 <= len(content):
        (length,) = struct.unpack_from("<I", content, at + 8)
        frame = content[at + 16 : at + 16 + length]
        at += 16 + length
        if frame[12:14] != b"\x08\x00" or frame[23] != TCP:
            continue
        packet = frame[14 : 14 + struct.unpack_from(">H", frame, 16)[0]]
        segment = packet[(packet[0] & 15) * 4 :]
        port = struct.unpack_from(">H", segment, 2)[0]
        if port in (LATE, FIRST):
            yield Segment(port, segment[13], segment[(segment[12] >> 4) * 4 :])


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_the_host_asks_only_once_the_program_listens(project: Path, tmp_path: Path, machine: str) -> None:
    arguments = [str(FIRST), "knock", str(LATE)]
    dump = tmp_path / "packets"
    with (
        rumpel.launch("listen", project=project, accel="tcg", machine=machine, arguments=arguments) as vm,
        ThreadPoolExecutor(1) as others,
    ):
        number = [device.backend for device in vm.plan.devices].index("net-user")
        vm.qmp("object-add", **{"qom-type": "filter-dump", "id": "dump", "netdev": f"net{number}", "file": str(dump)})
        is_ready = others.submit(vm.wait_ready, 40)
        vm.console.wait_for(f"^listening on {FIRST}$", timeout=30)
        knock = vm.tcp("first")
        time.sleep(1)
        assert not is_ready.done()
        knock.sendall(b"x")
        is_ready.result()
        knock.close()
    sent = list(segments(dump))
    knocked = next(number for number, segment in enumerate(sent) if segment.port == FIRST and segment.data == b"x")
    asked = [number for number, segment in enumerate(sent) if segment.port == LATE and segment.flags & SYN]
    assert asked
    assert asked[0] > knocked


def test_the_control_channel_carries_each_port_on_which_the_program_listens(project: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", "--project", str(project), "run", "listen", "--accel", "tcg",
         "--print-command", "--", "80", "81", "end"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    told = tmp_path / "control"
    line = [word.replace("null,id=control", f"file,id=control,path={told}") for word in shlex.split(done.stdout)]
    subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    assert told.read_text().split("\n") == ["start listen", "listen 80", "listen 81", "exit 0", ""]


@pytest.mark.parametrize(
    ("arguments", "others"), [([], ""), (["81"], ", only on 81"), (["8080", "81"], ", only on 81, 8080")]
)
def test_a_program_that_never_listens_on_its_port_is_said_with_the_ports_on_which_it_does(
    project: Path, arguments: list[str], others: str
) -> None:
    with rumpel.launch("listen", project=project, accel="tcg", arguments=arguments) as vm:
        with pytest.raises(MachineError) as caught:
            vm.wait_ready(8)
        assert caught.value.message == (
            f"The machine 'listen' was not ready within 8 s: the program does not listen on port 80 ('late'){others}."
        )
