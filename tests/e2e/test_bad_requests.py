"""What a bad client does to the database in its machine: it is answered in words, and nobody else is harmed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from rumpel.resolve.settings import StartSettings

from .conftest import TARGETS, Database, Target, database

pytestmark = pytest.mark.boot

REQUEST_TIMEOUT = 3


@pytest.fixture(scope="module", params=TARGETS, ids=str)
def machine(request: pytest.FixtureRequest) -> Iterator[Database]:
    """One machine that all the bad requests meet, one after the other."""
    settings = StartSettings(environment=(("REQUEST_TIMEOUT", str(REQUEST_TIMEOUT)),))
    with database(request.param, name=f"bad-{request.param}", settings=settings) as machine:
        yield machine
        assert machine.query("SELECT 1") == [[1]]
        assert machine.instance.stop() == "asked"
        assert machine.instance.wait() == 0


def connect(machine: Database) -> socket.socket:
    return socket.create_connection(("127.0.0.1", machine.instance.ports["http"]), timeout=30)


def test_wrong_sql_is_answered_with_sqlites_words_and_the_place(machine: Database) -> None:
    with machine.client() as client:
        answer = client.post("/api/query", json={"sql": "SELECT 1\nFORM t"})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": "sql",
            "message": 'near "t": syntax error',
            "sqlite_code": 1,
            "offset": 14,
            "line": 2,
            "column": 6,
        }
    }


def test_an_oversized_body_is_refused_before_it_has_come(machine: Database) -> None:
    with connect(machine) as connection:
        connection.sendall(
            b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50000000\r\n\r\n" + b"x" * 100_000
        )
        answer = b""
        while b"too_large" not in answer:
            piece = connection.recv(4096)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"The request's body is larger than 1048576 bytes." in answer


def test_a_slow_client_is_cut_off_and_the_others_are_served(machine: Database) -> None:
    begin = time.monotonic()
    with connect(machine) as slow:
        slow.sendall(b"POST /api/query HTTP/1.1\r\nHost: localhost\r\n")
        slow.settimeout(0.3)
        answer = b""
        served = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - begin < 30:
                slow.sendall(b"X: y\r\n")
                assert machine.query("SELECT 42") == [[42]]
                served += 1
                try:
                    piece = slow.recv(4096)
                except TimeoutError:
                    continue
                if not piece:
                    break
                answer += piece
        took = time.monotonic() - begin
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert REQUEST_TIMEOUT - 1 < took < REQUEST_TIMEOUT + 10
    assert served > 3


def test_a_request_that_came_in_time_is_answered_although_the_server_was_busy(machine: Database) -> None:
    def head(body: bytes) -> bytes:
        return (
            b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )

    forever = b'{"sql":"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"}'
    body = b'{"sql":"SELECT 42"}'
    with connect(machine) as waiting, connect(machine) as busy:
        waiting.sendall(head(body))
        time.sleep(0.5)
        busy.sendall(head(forever) + forever)
        time.sleep(0.5)
        waiting.sendall(body)
        assert b"The statement ran longer than 5000 milliseconds." in busy.recv(4096)
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_200_connections_at_once_are_all_answered(machine: Database) -> None:
    body = b'{"sql":"SELECT ?","parameters":[%d]}'
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(machine)) for _ in range(200)]
        for number, connection in enumerate(connections):
            text = body % number
            connection.sendall(
                b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
            )
        for number, connection in enumerate(connections):
            answer = b""
            while b'"truncated"' not in answer:
                piece = connection.recv(4096)
                assert piece, (number, answer)
                answer += piece
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"[%d]" % number in answer
    # A connection whose first packet was dropped costs a second: few may be.
    assert time.monotonic() - begin < 20


def test_200_writers_at_once_lose_no_row(machine: Database) -> None:
    machine.query("CREATE TABLE crowd(n INTEGER PRIMARY KEY)")
    wrong: list[str] = []

    def write(number: int) -> None:
        try:
            machine.query("INSERT INTO crowd VALUES (?)", number)
        except (httpx.HTTPError, AssertionError) as error:
            wrong.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert machine.query("SELECT count(*), min(n), max(n) FROM crowd") == [[200, 0, 199]]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_full_volume_is_said_and_what_was_answered_is_kept(target: Target) -> None:
    size = 900_000
    with database(target, name="full") as machine:
        machine.query("CREATE TABLE t(n INTEGER PRIMARY KEY, content TEXT)")
        stored = 0
        with machine.client() as client:
            while stored < 100:
                insert = {"sql": "INSERT INTO t VALUES (?, ?)", "parameters": [stored, "x" * size]}
                answer = client.post("/api/query", json=insert)
                if answer.status_code != 200:
                    break
                stored += 1
        assert answer.status_code == 507
        assert answer.json()["error"]["code"] == "disk_full"
        assert stored > 20
        assert machine.query("SELECT count(*), sum(length(content)) FROM t") == [[stored, stored * size]]
        assert machine.instance.stop() == "asked"
    with database(target, name="full") as machine:
        assert machine.query("SELECT count(*), sum(length(content)) FROM t") == [[stored, stored * size]]
        assert machine.query("PRAGMA integrity_check") == [["ok"]]
