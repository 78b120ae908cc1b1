"""QEMU's words about ports are understood."""

from __future__ import annotations

import socket

from rumpel.machine.ports import guest_took_connection, parse_forwards, refused_port
from rumpel.resolve.plan import Port

USERNET = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   12       127.0.0.1 33219       10.0.2.15    80     0     0
  TCP[SYN_SENT]      14       127.0.0.1 33220       10.0.2.15    81     0     0
  TCP[HOST_FORWARD]   8       127.0.0.1 33219       10.0.2.15    80     0     0
  UDP[HOST_FORWARD]   3       127.0.0.1 47663       10.0.2.15    80     0     0
"""


def test_forwards_are_read_by_protocol_and_guest_port() -> None:
    ports = (Port(name="http", port=80), Port(name="dns", port=80, protocol="udp"), Port(name="none", port=9))
    assert parse_forwards(USERNET.replace("\n", "\r\n"), ports) == {"http": 33219, "dns": 47663}


def test_only_an_established_connection_was_taken_by_the_guest() -> None:
    assert guest_took_connection(USERNET, 33219)
    assert not guest_took_connection(USERNET, 33220)
    assert not guest_took_connection(USERNET.replace("ESTABLISHED", "SYN_SENT"), 33219)


def test_other_words_of_qemu_are_no_refused_port() -> None:
    assert refused_port("qemu-system-x86_64: could not open kernel file") is None


def test_refused_udp_port_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        error = refused_port(f"Could not set up host forwarding rule 'udp:127.0.0.1:{number}-10.0.2.15:53'")
    assert error is not None
    assert error.message.startswith(f"The port {number} was asked for, but it is in use by '")
