"""The control channel is understood as documented, and a hostile guest cannot make it mean or hold more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpel.errors import Evidence, MachineError
from rumpel.machine.control import MAX_LINE, MAX_PORTS, ControlReader, Report


def report_of(data: bytes) -> Report:
    reader = ControlReader()
    reader.feed(data)
    return reader.report


@pytest.mark.parametrize(
    ("data", "report"),
    [
        (b"start\n", Report(started=True)),
        (b"start\r\nexit 255\r\n", Report(started=True, status=255)),
        (b"start listen\n", Report(started=True, tells_ports=True)),
        (
            b"start listen\nlisten 80\nlisten 65535\nlisten 80\n",
            Report(started=True, tells_ports=True, listening=frozenset({80, 65535})),
        ),
        (b"listen 0\nlisten 65536\nlisten -1\nlisten\nlisten 8o\n", Report()),
        (b"start now\n", Report()),
        (b"fail no such file\n", Report(failure="no such file")),
        (b"fail\n", Report(failure="the guest did not say why")),
        (b"panic page fault\n", Report(panic="page fault")),
        (b"start\nrenewed\n", Report(started=True, renewed=True)),
        (b"renewed twice\n", Report()),
        (b"exit 3", Report()),
        (b"exit 256\n", Report()),
        (b"exit -1\n", Report()),
        (b"exit \xc2\xb2\n", Report()),
        (b"exit\n", Report()),
        (b"starting\n", Report()),
        (b"nonsense\nexit 0\n", Report(status=0)),
    ],
)
def test_lines_mean_what_the_protocol_says(data: bytes, report: Report) -> None:
    assert report_of(data) == report


def test_line_that_is_too_long_is_dropped_as_a_whole() -> None:
    assert report_of(b"x" * (MAX_LINE + 1) + b"\nexit 1\n").status == 1
    assert report_of(b"fail " + b"y" * 1000 + b"exit 1\n") == Report()
    assert report_of(b"fail " + b"y" * (MAX_LINE - 5) + b"\n").failure == "y" * (MAX_LINE - 5)


def test_endless_list_of_ports_takes_no_memory() -> None:
    said = "".join(f"listen {port}\n" for port in range(1, 60_000)).encode()
    assert report_of(said).listening == frozenset(range(1, MAX_PORTS + 1))


def test_endless_line_takes_no_memory() -> None:
    reader = ControlReader()
    for _ in range(1000):
        reader.feed(b"z" * 4096)
    assert len(reader._line) <= MAX_LINE
    reader.feed(b"\nexit 7\n")
    assert reader.report.status == 7


@given(st.lists(st.binary(max_size=300)))
def test_cutting_the_bytes_otherwise_changes_nothing(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    reader = ControlReader()
    for piece in pieces:
        reader.feed(piece)
    single = ControlReader()
    for byte in whole:
        single.feed(bytes([byte]))
    assert reader.report == single.report == report_of(whole)


def test_what_a_guest_says_reaches_no_terminal_as_a_control_sequence() -> None:
    said = report_of(b"fail no\x1b]0;title\x07\x9b2J \xc2\x9b1m file\there\x7f\n").failure
    assert said == "no\ufffd]0;title\ufffd\ufffd2J \ufffd1m file\there\ufffd"
    evidence = Evidence(console="one\r\n\x1b[2Jtwo\r\tthree\n", stderr="\x1b[31mbad\n")
    error = MachineError("The guest's kernel panicked: \x1b[5mno\x85.", evidence=evidence)
    assert error.message == "The guest's kernel panicked: \ufffd[5mno\ufffd."
    assert str(error) == (
        "The guest's kernel panicked: \ufffd[5mno\ufffd.\nQEMU said:\n    \ufffd[31mbad\n"
        "The console ended with:\n    one\n    \ufffd[2Jtwo\ufffd\tthree"
    )
    assert error.evidence.console == evidence.console
