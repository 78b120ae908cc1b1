"""An address of IPv6 that a composition fixes: the same on each kernel, over QEMU's own network."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import rumpel

SAID = ("resolv.conf:", "from:", "reached from:", "heard:")

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reach6") / "project"
    shutil.copytree(Path(__file__).parent / "reach6", folder)
    return folder


@pytest.fixture
def host() -> Iterator[int]:
    """The port of a server on the host's ::1, which is where QEMU takes what is sent to the gateway."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"this is the host")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("kernel", "machine"),
    [("nano", "microvm"), ("nano", "q35"), ("debian", "microvm"), ("linux", "microvm")],
)
def test_the_gateway_is_reached_from_the_address_that_the_composition_fixes(
    project: Path, host: int, kernel: str, machine: str
) -> None:
    arguments = ["fd00:2::2", str(host)]
    with rumpel.boot("reach6", project=project, accel="tcg", kernel=kernel, machine=machine, arguments=arguments) as vm:
        text = vm.console.text
    told = [line for line in text.splitlines() if line.startswith(SAID)]
    assert told == [
        "resolv.conf: nameserver 10.0.2.3",
        "resolv.conf: nameserver fd00:2::3",
        "from: fd00:2::15",
        "reached from: fd00:2::15",
        "heard: this is the host",
    ]
