"""The lease of an address: renewed with its server, then with any, given up when it is over, and asked for anew."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from rumpel.machine.command import ByHand, Launch, qemu_command
from rumpel.machine.volumes import Place, ensure_volume
from rumpel.resolve.settings import StartSettings, encode_settings, settings_of

from .conftest import TARGETS, built
from .dhcp_server import ACK, BROADCAST, DISCOVER, NAK, OFFER, REQUEST, SERVER, DhcpServer, Message

pytestmark = [pytest.mark.boot, pytest.mark.timeout(400)]

REQUESTED, BY = 50, 54  # options of a request


def seconds(number: int, value: int) -> tuple[int, bytes]:
    return number, value.to_bytes(4, "big")


@dataclass(frozen=True)
class Guest:
    """A machine whose network ends at a server of the test's."""

    server: DhcpServer
    console: Path


@pytest.fixture
def guest(probe_project: Path, tmp_path: Path) -> Iterator[Guest]:
    made = built("probe", TARGETS[0], probe_project)
    settings = tmp_path / "settings"
    settings.write_bytes(encode_settings(settings_of(made.plan, StartSettings(arguments=("wait",), address="dhcp"))))
    volumes = {volume.name: str(ensure_volume(volume, Place("probe", tmp_path))) for volume in made.plan.volumes}
    launch = Launch(kernel=made.image.kernel, rootfs=made.image.rootfs, settings=str(settings), volumes=volumes)
    words = list(qemu_command(made.plan, launch, ByHand()))
    (place,) = (number for number, word in enumerate(words) if word.startswith("user,"))
    name = words[place].split("id=")[1].split(",")[0]
    console = tmp_path / "console"
    with closing(socket.create_server(("127.0.0.1", 0))) as listening, console.open("wb") as output:
        words[place] = f"socket,id={name},connect=127.0.0.1:{listening.getsockname()[1]}"
        listening.settimeout(90)
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            with closing(DhcpServer(listening.accept()[0])) as server:
                yield Guest(server, console)
        finally:
            process.kill()
            process.wait()


@dataclass
class Clerk:
    """Offers and grants `address` for `times` to a guest that asks for any, as often as it does: on a busy host an
    answer may come after the guest has asked anew."""

    server: DhcpServer
    address: str
    times: tuple[tuple[int, bytes], ...]

    def serve(self, asked: Message) -> bool:
        """Answer what is no renewal; whether the address was granted by that."""
        assert (asked.to, str(asked.mine)) == (BROADCAST, "0.0.0.0")
        if asked.kind == DISCOVER:
            self.server.answer(asked, OFFER, self.address)
            return False
        assert asked.kind == REQUEST
        assert asked.options[BY] == SERVER.packed
        assert asked.options[REQUESTED] == socket.inet_aton(self.address)
        self.server.answer(asked, ACK, self.address, *self.times)
        return True

    def grant(self) -> None:
        """Wait until the guest has asked for the address that it was offered."""
        while not self.serve(self.server.message()):
            continue

    def renewal(self) -> Message:
        """The next request to prolong the lease."""
        while not int((asked := self.server.message()).mine):
            self.serve(asked)
        assert (asked.kind, str(asked.mine)) == (REQUEST, self.address)
        assert REQUESTED not in asked.options and BY not in asked.options
        return asked


def test_a_lease_is_renewed_and_after_a_refusal_another_address_is_taken(guest: Guest) -> None:
    server = guest.server
    clerk = Clerk(server, "10.9.0.20", (seconds(51, 600), seconds(58, 1), seconds(59, 300)))
    clerk.grant()
    for rebinding in (300, 3):
        request = clerk.renewal()
        assert request.to == SERVER
        server.answer(request, ACK, "10.9.0.20", seconds(51, 600), seconds(58, 1), seconds(59, rebinding))
    assert server.who_has("10.9.0.21", "10.9.0.20") == "10.9.0.20"
    while (request := clerk.renewal()).to != BROADCAST:
        continue  # its own server is silent: then any other may prolong the lease
    server.answer(request, NAK, "0.0.0.0")
    Clerk(server, "10.9.0.21", (seconds(51, 600),)).grant()
    assert server.who_has("10.9.0.20", "10.9.0.21") == "10.9.0.21"
    said = guest.console.read_text().replace("\r", "").splitlines()
    assert [line for line in said if line.startswith("rumpel: ")] == [
        "rumpel: The lease of the address of 'eth0' is over: it has none until a DHCP server grants one.",
        "rumpel: A DHCP server granted 'eth0' the address 10.9.0.21.",
    ]


def test_an_address_whose_lease_nobody_prolongs_is_given_up(guest: Guest) -> None:
    server = guest.server
    clerk = Clerk(server, "10.9.0.20", (seconds(51, 4),))
    clerk.grant()
    over = "rumpel: The lease of the address of 'eth0' is over: it has none until a DHCP server grants one."
    while over not in guest.console.read_text():
        asked = server.message()
        if not int(asked.mine):
            clerk.serve(asked)
    Clerk(server, "10.9.0.20", (seconds(51, 600),)).grant()
    assert server.who_has("10.9.0.20") == "10.9.0.20"
