"""The network of nano in a real machine: many connections, at once and one after the other, in little memory.

RUMPEL_CONNECTIONS is how many are opened one after the other: 5000, where it is not set.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import rumpel

ROOT = Path(__file__).parents[2]
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(params=["microvm", "q35"])
def web(request: pytest.FixtureRequest) -> Iterator[rumpel.Vm]:
    """The web server on nano."""
    with rumpel.boot("web", kernel="nano", machine=request.param, accel="tcg", project=ROOT) as vm:
        yield vm


def ask(connection: socket.socket) -> bytes:
    """One request on a connection that stays open; the answer's body."""
    connection.sendall(REQUEST)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(connection)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += receive(connection)
    return body


def receive(connection: socket.socket) -> bytes:
    """The next bytes; the peer must not have closed."""
    got = connection.recv(65536)
    assert got
    return got


def answered_twice(web: rumpel.Vm, count: int) -> None:
    """`count` connections that are all open are answered, and again."""
    page = (ROOT / "components/static-site/site/index.html").read_bytes()
    connections = []
    try:
        for _ in range(count):
            connections.append(web.tcp(timeout=60))
            assert ask(connections[-1]) == page
        for connection in connections:
            assert ask(connection) == page
    finally:
        for connection in connections:
            connection.close()


def free_pages(web: rumpel.Vm) -> int:
    """The kernel's count of free pages (`available` of page.c), read in the machine's memory: the kernel is linked in
    the top 2 GiB, and loaded at the same distance from 0."""
    debug = ROOT / "build/web" / f"nano-{web.plan.machine.name}" / "debug/kernel"
    said = subprocess.run(["nm", str(debug)], check=True, capture_output=True, text=True).stdout
    symbol = re.search(r"^([0-9a-f]+) b available$", said, re.MULTILINE)
    assert symbol is not None
    words = web.qmp("human-monitor-command", command_line=f"xp /1gx {int(symbol[1], 16) - 0xFFFFFFFF80000000:#x}")
    return int(words.split(":")[1].strip(), 16)


def test_a_thousand_connections_at_once_are_answered_twice_each(web: rumpel.Vm) -> None:
    answered_twice(web, 1000)


def test_connections_one_after_the_other_take_no_memory_for_good(web: rumpel.Vm) -> None:
    def use(count: int) -> None:
        for _ in range(count):
            with web.tcp(timeout=60) as connection:
                assert ask(connection)

    use(300)  # from here on the newest 128 stand in TIME_WAIT, and the server has its buffers
    before = free_pages(web)
    use(int(os.environ.get("RUMPEL_CONNECTIONS", "5000")))
    assert free_pages(web) >= before - 4  # what a heap of pages may differ by from one moment to the next


def test_a_client_that_comes_again_from_the_same_port_is_answered(web: rumpel.Vm) -> None:
    port = 0
    for _ in range(5):
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.settimeout(60)
            connection.bind(("127.0.0.1", port))
            port = connection.getsockname()[1]
            connection.connect(("127.0.0.1", web.host_port("http")))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := connection.recv(65536):
                answer += data
        assert answer.startswith(b"HTTP/1.1 200")


def test_it_serves_in_six_megabytes() -> None:
    with rumpel.boot("web", kernel="nano", machine="microvm", accel="tcg", memory="6M", project=ROOT) as vm:
        answered_twice(vm, 20)


@pytest.mark.parametrize("root", ["memory", "disk"])
def test_a_large_file_comes_byte_by_byte_as_it_is(tmp_path: Path, root: str) -> None:
    content = random.Random(2).randbytes(24_000_001)
    part = tmp_path / "components/large-file"
    (part / "site").mkdir(parents=True)
    (part / "site/large.bin").write_bytes(content)
    (part / "component.yaml").write_text(
        "schema: 1\nname: large-file\nsummary: A large file to serve\nlicense: BSD-2-Clause\nkind: files\nrole: files\n"
        "files:\n  - {source: site, target: /srv/www}\n"
    )
    (tmp_path / "compositions").mkdir()
    (tmp_path / "compositions/download.yaml").write_text(
        "schema: 1\nname: download\nsummary: A large file behind the web server\nkernel: nano\nmachine: microvm\n"
        f"memory: {64 if root == 'memory' else 16}M\nroot: {root}\ncomponents: [web, static-site, large-file]\n"
    )
    with rumpel.boot("download", accel="tcg", project=tmp_path) as vm, vm.tcp(timeout=60) as connection:
        connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = bytearray()
        while data := connection.recv(1 << 20):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert len(body) == len(content)
    assert hashlib.sha256(body).digest() == hashlib.sha256(content).digest()
