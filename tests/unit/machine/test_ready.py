"""A port is ready when somebody answers on it, and what was seen is said where nobody does. Against real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rumpel.machine.ready import ProbeTimeoutError, wait_for_http, wait_for_port

Answer = Callable[[socket.socket, int], None]


@pytest.fixture
def server() -> Iterator[Callable[[Answer], int]]:
    """Answers connection number n by `answer(connection, n)`; returns the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    kept: list[socket.socket] = []

    def server(answer: Answer) -> int:
        def serve() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                kept.append(connection)
                number += 1
                threading.Thread(target=answer, args=(connection, number), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield server
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in kept:
        connection.close()


def soon(seconds: float = 30) -> float:
    return time.monotonic() + seconds


def watch(seconds: float) -> None:
    time.sleep(seconds)


def respond(status: str) -> Answer:
    def answer(connection: socket.socket, number: int) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        connection.close()

    return answer


@pytest.mark.parametrize("status", [200, 204, 302])
def test_http_is_ready_with_the_first_good_answer(server: Callable[[Answer], int], status: int) -> None:
    assert wait_for_http(server(respond(f"{status} Fine")), "/", soon(), watch) == status


def test_http_request_asks_for_the_path(server: Callable[[Answer], int]) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket, number: int) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    port = server(answer)
    wait_for_http(port, "/health?full=1", soon(), watch)
    assert asked[0].startswith(f"GET /health?full=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())


def test_http_goes_on_after_refusals_and_errors(server: Callable[[Answer], int]) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        if number > 8:
            respond("200 OK")(connection, number)
        elif number % 2:
            connection.close()
        else:
            respond("503 Not yet")(connection, number)

    assert wait_for_http(server(answer), "/", soon(), watch) == 200


def test_http_answer_in_single_bytes_is_understood(server: Callable[[Answer], int]) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        for byte in b"HTTP/1.0 200 OK\r\n":
            connection.sendall(bytes([byte]))
            time.sleep(0.001)

    assert wait_for_http(server(answer), "/", soon(), watch) == 200


def test_lost_first_connection_does_not_hold_up_the_next(server: Callable[[Answer], int]) -> None:
    """As where the guest's network was not up for the first packet: that connection stays silent for ever."""

    def answer(connection: socket.socket, number: int) -> None:
        if number > 1:
            respond("200 OK")(connection, number)

    assert wait_for_http(server(answer), "/", soon(), watch) == 200


def test_slow_server_is_waited_for_and_not_pressed(server: Callable[[Answer], int]) -> None:
    numbers: list[int] = []

    def answer(connection: socket.socket, number: int) -> None:
        numbers.append(number)
        connection.recv(4096)
        if number == 1:
            time.sleep(1.5)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    assert wait_for_http(server(answer), "/", soon(), watch) == 200
    assert max(numbers) <= 4


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (respond("404 Not Found"), "the last answer was 'HTTP 404'"),
        (lambda connection, number: connection.close(), "connections were closed without an answer"),
        (lambda connection, number: None, "a connection was open, but no answer came"),
        (
            lambda connection, number: (connection.recv(99), connection.sendall(b"SSH-2.0\r\n"), connection.close()),
            "the last answer was not HTTP",
        ),
    ],
)
def test_what_was_seen_last_is_said(server: Callable[[Answer], int], answer: Answer, seen: str) -> None:
    with pytest.raises(ProbeTimeoutError) as caught:
        wait_for_http(server(answer), "/", soon(0.6), watch)
    assert caught.value.seen == seen


def test_port_is_ready_only_when_the_guest_took_the_connection(server: Callable[[Answer], int]) -> None:
    asked = 0

    def taken() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    wait_for_port(server(lambda connection, number: None), soon(), watch, taken)
    assert asked == 6


def test_port_is_ready_with_the_first_byte(server: Callable[[Answer], int]) -> None:
    wait_for_port(server(lambda connection, number: connection.sendall(b"220 hello")), soon(), watch, lambda: False)


def test_port_that_is_closed_at_once_is_not_ready(server: Callable[[Answer], int]) -> None:
    with pytest.raises(ProbeTimeoutError) as caught:
        wait_for_port(server(lambda connection, number: connection.close()), soon(0.5), watch, lambda: False)
    assert caught.value.seen == "connections were closed at once"


def test_watch_ends_the_wait(server: Callable[[Answer], int]) -> None:
    def over(seconds: float) -> None:
        raise RuntimeError("QEMU ended")

    with pytest.raises(RuntimeError, match="QEMU ended"):
        wait_for_http(server(lambda connection, number: None), "/", soon(), over)
