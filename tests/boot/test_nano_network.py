"""The network of nano in a real machine: many connections, at once and one after the other, in little memory."""

from __future__ import annotations

import socket
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


def test_three_hundred_connections_are_answered_twice_each(web: rumpel.Vm) -> None:
    page = (ROOT / "components/static-site/site/index.html").read_bytes()
    connections = []
    try:
        for _ in range(300):
            connections.append(web.tcp(timeout=30))
            assert ask(connections[-1]) == page
        for connection in connections:
            assert ask(connection) == page
    finally:
        for connection in connections:
            connection.close()


def test_two_thousand_connections_one_after_the_other(web: rumpel.Vm) -> None:
    for _ in range(2000):
        with web.tcp(timeout=30) as connection:
            assert ask(connection)
