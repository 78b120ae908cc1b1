"""The write-ahead log stays short, whatever slow readers do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from native import Server, read_all
from test_sql_api import query

LIMIT = 1 << 20
ROWS = 20000


def _begin_to_read(server: Server) -> socket.socket:
    """A client that asks for a large result and takes only its beginning."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    body = json.dumps({"sql": "SELECT * FROM t"}).encode()
    head = "POST /api/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert connection.recv(16) == b"HTTP/1.1 200 OK\r"
    return connection


def test_slow_readers_cannot_make_the_log_grow_without_bound(
    start: Callable[..., Server], sql_program: Path, tmp_path: Path
) -> None:
    """Readers that overlap: at no time is there none, and each holds a snapshot of its own."""
    database = tmp_path / "test.db"
    server = start(sql_program, DATABASE=str(database), LOG_LIMIT=str(LIMIT), LIMIT=str(ROWS))
    query(server, "CREATE TABLE t(a)")
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?)"
    query(server, f"INSERT INTO t {numbers} SELECT hex(randomblob(400)) FROM c", [ROWS])
    query(server, "CREATE TABLE other(a)")
    log = database.with_name("test.db-wal")
    longest = 0
    with ExitStack() as stack:
        readers = [stack.enter_context(_begin_to_read(server))]
        for _ in range(40):
            query(server, f"INSERT INTO other {numbers} SELECT randomblob(1000) FROM c", [200])
            readers.append(stack.enter_context(_begin_to_read(server)))
            if len(readers) > 8:
                readers.pop(0).close()
            longest = max(longest, log.stat().st_size)
        assert longest < 2 * LIMIT
        answer = read_all(readers[0])
    end = json.loads(answer[answer.rindex(b"\n]") :].split(b"\r\n")[0].replace(b"\n]", b'{"rows":[]', 1))
    assert end["error"] == {
        "code": "overtaken",
        "message": "The rows were taken too slowly while much was written; read them anew.",
    }
    assert query(server, "SELECT count(*) FROM other")["rows"] == [[8000]]


def test_a_stream_goes_on_while_the_log_is_short(
    start: Callable[..., Server], sql_program: Path, tmp_path: Path
) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "test.db"), LIMIT=str(ROWS))
    query(server, "CREATE TABLE t(a)")
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?)"
    query(server, f"INSERT INTO t {numbers} SELECT hex(randomblob(400)) FROM c", [ROWS])
    with _begin_to_read(server) as reader:
        query(server, "DELETE FROM t WHERE rowid <= 1000")
        answer = read_all(reader)
    assert answer.count(b'\n["') == ROWS and b'"truncated":false}' in answer
