"""What the SQL API promises (docs/sql-api.md), on the host's loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from native import Server, read_all

Start = Callable[..., Server]
COUNT_FOREVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


def post(server: Server, path: str, body: Any) -> httpx.Response:
    with server.client() as client:
        return client.post("/api" + path, json=body)


def query(server: Server, sql: str, parameters: Any = None) -> Any:
    answer = post(server, "/query", {"sql": sql, "parameters": parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1,
        9007199254740991,
        {"integer": "9007199254740992"},
        {"integer": "-9223372036854775808"},
        {"integer": "9223372036854775807"},
        0.1,
        1e300,
        5e-324,
        {"real": "Infinity"},
        {"real": "-Infinity"},
        "",
        "Grüße, 世界 \U0001f600",
        "NUL\0inside",
        '"\\\n\t\x7f',
        {"base64": ""},
        {"base64": base64.b64encode(bytes(range(256))).decode()},
        {"text_base64": "/w=="},
    ],
)
def test_a_value_comes_back_as_it_was_sent(sql: Server, value: Any) -> None:
    query(sql, "CREATE TABLE t(v)")
    query(sql, "INSERT INTO t VALUES (?)", [value])
    assert query(sql, "SELECT v FROM t")["rows"] == [[value]]
    assert query(sql, "SELECT :v", {"v": value})["rows"] == [[value]]


def test_a_real_stays_a_real_and_true_is_one(sql: Server) -> None:
    answer = post(sql, "/query", {"sql": "SELECT 1.0, ?, typeof(?)", "parameters": [True, 2.0]})
    assert '[1.0,1,"real"]' in answer.text


def test_wrong_sql_is_400_with_sqlites_words_and_the_place(sql: Server) -> None:
    wrong = error(post(sql, "/query", {"sql": "SELECT 'ü'\nFORM t"}), 400)
    assert wrong == {
        "code": "sql",
        "message": 'near "t": syntax error',
        "sqlite_code": 1,
        "offset": 17,
        "line": 2,
        "column": 6,
    }


def test_malformed_json_is_400_with_the_place(sql: Server) -> None:
    with sql.client() as client:
        headers = {"Content-Type": "application/json"}
        wrong = error(client.post("/api/query", content=b'{"sql": nope}', headers=headers), 400)
        assert wrong["message"].startswith("The body is not JSON: line 1, column 12: ")
        assert wrong["offset"] == 12
        for body in (
            b"",
            b"[]",
            b'{"sql":1}',
            b'{"sql":"SELECT 1","x":1}',
            b'{"sql":"SELECT 1","sql":"SELECT 2"}',
            b'{"sql":"\xff"}',
            b"[" * 5000,
            b'{"sql":"SELECT ?","parameters":[1e999]}',
        ):
            assert error(client.post("/api/query", content=body, headers=headers), 400)["code"] == "bad_request", body


def test_parameters_must_fit_exactly(sql: Server) -> None:
    few = error(post(sql, "/query", {"sql": "SELECT ?, ?", "parameters": [1]}), 400)
    assert few["message"] == "The statement has 2 parameters, but 1 value was given."
    missing = error(post(sql, "/query", {"sql": "SELECT :a", "parameters": {"b": 1}}), 400)
    assert missing["message"] == "There is no value for the parameter ':a'."
    for bad in ({"real": "NaN"}, {"base64": "a"}, {"base64": "AB=="}, {"integer": "01"}, {"x": "y"}, {}, [1]):
        assert error(post(sql, "/query", {"sql": "SELECT ?", "parameters": [bad]}), 400)["code"] == "bad_request"


@pytest.mark.parametrize(
    "text",
    [
        "ATTACH '/tmp/x' AS x",
        "VACUUM INTO '/tmp/x'",
        "PRAGMA journal_mode = OFF",
        "PRAGMA synchronous = OFF",
        "PRAGMA writable_schema = ON",
        "SELECT * FROM pragma_journal_mode('off')",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT s",
        "CREATE TEMP TABLE t(x)",
        "INSERT INTO sqlite_schema VALUES (1, 1, 1, 1, 1)",
        "SELECT load_extension('x')",
    ],
)
def test_what_reaches_beyond_the_database_is_refused(sql: Server, text: str) -> None:
    assert post(sql, "/query", {"sql": text}).status_code in (400, 403)
    assert query(sql, "SELECT 1")["rows"] == [[1]]


def test_a_transaction_is_all_or_nothing(sql: Server) -> None:
    query(sql, "CREATE TABLE t(x INTEGER CHECK (x > 0))")
    good = {"sql": "INSERT INTO t VALUES (?)", "parameters": [1]}
    answer = post(sql, "/transaction", {"statements": [good, {"sql": "SELECT count(*) FROM t"}]})
    assert [result["rows_affected"] for result in answer.json()["results"]] == [1, 0]
    assert answer.json()["results"][1]["rows"] == [[1]]
    for bad, status in (({"sql": "INSERT INTO t VALUES (-1)"}, 409), ({"sql": "nonsense"}, 400), ({"sql": 5}, 400)):
        wrong = error(post(sql, "/transaction", {"statements": [good, good, bad]}), status)
        if wrong["code"] != "bad_request":
            assert wrong["statement"] == 2
        assert query(sql, "SELECT count(*) FROM t")["rows"] == [[1]]


def test_a_text_of_several_statements_belongs_into_a_transaction(sql: Server) -> None:
    text = "CREATE TABLE t(x); -- one\nINSERT INTO t VALUES (1); /* two */ ;"
    assert error(post(sql, "/query", {"sql": "SELECT 1; SELECT 2"}), 400)["code"] == "several_statements"
    assert len(post(sql, "/transaction", {"statements": [{"sql": text}]}).json()["results"]) == 2
    assert query(sql, "SELECT x FROM t; -- end")["rows"] == [[1]]


def test_a_statement_that_runs_too_long_is_stopped(start: Start, sql_program: Path, tmp_path: Path) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "a.db"), STATEMENT_TIMEOUT="300")
    begin = time.monotonic()
    wrong = error(post(server, "/query", {"sql": COUNT_FOREVER}), 503)
    assert wrong["message"] == "The statement ran longer than 300 milliseconds."
    assert time.monotonic() - begin < 5
    query(server, "CREATE TABLE t(x)")
    assert error(post(server, "/query", {"sql": f"INSERT INTO t {COUNT_FOREVER}"}), 503)["code"] == "timeout"
    assert query(server, "SELECT count(*) FROM t")["rows"] == [[0]]


def test_the_statements_of_a_transaction_share_the_time_of_one(start: Start, sql_program: Path, tmp_path: Path) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "a.db"), STATEMENT_TIMEOUT="400")
    query(server, "CREATE TABLE t(x)")
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?) SELECT max(x) FROM c"
    slow = {"sql": f"INSERT INTO t {count}", "parameters": [50000]}
    begin = time.monotonic()
    wrong = error(post(server, "/transaction", {"statements": [slow] * 1000}), 503)
    assert time.monotonic() - begin < 5
    assert wrong["message"] == "The statements of the transaction together ran longer than 400 milliseconds."
    assert wrong["statement"] > 0
    assert query(server, "SELECT count(*) FROM t")["rows"] == [[0]]


def test_more_rows_than_the_limit_are_cut_and_it_is_said(start: Start, sql_program: Path, tmp_path: Path) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "a.db"), LIMIT="5")
    many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?) SELECT x FROM c"
    assert query(server, many, [5]) == {"columns": ["x"], "rows": [[1], [2], [3], [4], [5]], "truncated": False}
    assert query(server, many, [6]) == {"columns": ["x"], "rows": [[1], [2], [3], [4], [5]], "truncated": True}
    query(server, "CREATE TABLE t(x)")
    inserted = query(server, f"INSERT INTO t {many} RETURNING x", [9])
    assert (len(inserted["rows"]), inserted["truncated"], inserted["rows_affected"]) == (5, True, 9)
    assert query(server, "SELECT count(*) FROM t")["rows"] == [[9]]


def test_a_large_result_is_streamed_in_little_memory(
    start: Start, sql_program: Path, tmp_path: Path, variant: str
) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "a.db"), LIMIT="1000000")
    text = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 40000) "
    text += "SELECT x, hex(zeroblob(500)) FROM c"
    before = server.resident()
    most, size = 0, 0
    with server.client() as client, client.stream("POST", "/api/query", json={"sql": text}) as answer:
        for number, piece in enumerate(answer.iter_raw()):
            size += len(piece)
            if number % 50 == 0:
                most = max(most, server.resident())
            last = piece
    assert size > 40_000_000 and b'"truncated":false}' in last
    assert most < before + (4096 if variant == "image" else 65536)


def test_a_reader_that_stalls_blocks_nobody_and_is_cut_off(start: Start, sql_program: Path, tmp_path: Path) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "a.db"), LIMIT="10000000", REQUEST_TIMEOUT="2")
    query(server, "CREATE TABLE t(x)")
    body = json.dumps(
        {
            "sql": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "SELECT x, (SELECT count(*) FROM t), hex(zeroblob(500)) FROM c"
        }
    ).encode()
    head = "POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with server.connect() as stalled:
        stalled.sendall(head.encode() + body)
        assert stalled.recv(100)
        for value in range(5):
            query(server, "INSERT INTO t VALUES (?)", [value])
        query(server, "DROP TABLE t")
        time.sleep(4)
        assert b'"truncated":' not in read_all(stalled)


def test_an_oversized_body_is_413_before_it_is_read(sql: Server) -> None:
    for framing in (b"Content-Length: 50000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n2faf080\r\n"):
        with sql.connect() as connection:
            connection.sendall(
                b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + framing
            )
            sender = threading.Thread(target=_send_quietly, args=(connection, b"x" * 2_000_000))
            sender.start()
            answer = b""
            while b"too_large" not in answer:
                piece = connection.recv(4096)
                assert piece, answer
                answer += piece
            sender.join()
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"The request's body is larger than 1048576 bytes." in answer
    expecting = (
        b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\nExpect: 100-continue\r\n\r\n"
    )
    assert sql.exchange(expecting).startswith(b"HTTP/1.1 413 ")


def _send_quietly(connection: Any, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:
        return


def test_expect_100_continue_is_honoured(sql: Server) -> None:
    body = b'{"sql":"SELECT 42"}'
    with sql.connect() as connection:
        connection.sendall(
            b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n" % len(body)
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert b"[42]" in read_all(connection)


def test_rows_are_read_inserted_changed_and_deleted_by_their_key(sql: Server) -> None:
    name = 'odd "name"/ü'
    path = "/api/tables/odd%20%22name%22%2F%C3%BC"
    query(sql, 'CREATE TABLE "odd ""name""/ü"(id INTEGER PRIMARY KEY, a TEXT NOT NULL, b DEFAULT 7)')
    with sql.client() as client:
        assert client.get("/api/tables").json()["tables"] == [{"name": name, "type": "table", "columns": 3}]
        assert client.post(path + "/rows", json={"values": {"a": "one"}}).json() == {"key": [1]}
        assert client.post(path + "/rows", json={"values": {"a": "two", "b": None}}).status_code == 201
        described = client.get(path).json()
        assert (described["row_count"], described["key"], len(described["columns"])) == (2, ["rowid"], 3)
        rows = client.get(path + "/rows?limit=1&order=id&descending=1").json()
        assert rows == {
            "key": ["rowid"],
            "columns": ["id", "a", "b"],
            "rows": [{"key": [2], "values": [2, "two", None]}],
            "truncated": True,
        }
        change = {"values": {"a": "zwei"}, "expected": {"a": "two"}}
        assert client.patch(path + "/rows?key=%5B2%5D", json=change).json() == {"key": [2]}
        assert error(client.patch(path + "/rows?key=%5B2%5D", json=change), 409)["code"] == "changed"
        assert error(client.post(path + "/rows", json={"values": {"a": None}}), 409)["code"] == "constraint"
        assert client.delete(path + "/rows?key=%5B1%5D").status_code == 200
        assert error(client.delete(path + "/rows?key=%5B1%5D"), 404)["code"] == "not_found"
        assert client.get(path + "/rows").json()["rows"] == [{"key": [2], "values": [2, "zwei", None]}]
        assert error(client.get("/api/tables/none"), 404)["message"] == "There is no table or view 'none'."


def test_a_table_without_rowid_has_its_primary_key_and_a_view_none(sql: Server) -> None:
    query(sql, "CREATE TABLE t(a, b, c, PRIMARY KEY (b, a)) WITHOUT ROWID")
    query(sql, "CREATE VIEW v AS SELECT c FROM t")
    with sql.client() as client:
        inserted = client.post("/api/tables/t/rows", json={"values": {"a": 1, "b": {"base64": "AA=="}, "c": "x"}})
        assert inserted.json() == {"key": [{"base64": "AA=="}, 1]}
        key = httpx.QueryParams({"key": json.dumps(inserted.json()["key"])})
        assert client.patch(f"/api/tables/t/rows?{key}", json={"values": {"c": "y"}}).status_code == 200
        assert client.get("/api/tables/v/rows").json()["rows"] == [{"key": [], "values": ["y"]}]
        assert error(client.delete("/api/tables/v/rows?key=%5B%5D"), 400)["code"] == "no_key"


def test_pages_of_other_sites_are_refused(sql: Server) -> None:
    body = {"sql": "CREATE TABLE t(x)"}
    with sql.client() as client:
        foreign = {"Origin": "http://evil.example"}
        assert error(client.post("/api/query", json=body, headers=foreign), 403)["code"] == "origin"
        assert client.delete("/api/tables/x/rows?key=[1]", headers=foreign).status_code in (403, 404)
        assert (
            client.post("/api/query", content=json.dumps(body), headers={"Content-Type": "text/plain"}).status_code
            == 415
        )
        own = {"Origin": sql.url}
        assert client.post("/api/query", json=body, headers=own).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3:8080", "[::1]", "[2001:db8::1]:80", "localhost", "LOCALHOST:8080", "db.example", "b:1"],
)
def test_an_address_localhost_and_names_of_the_setting_are_known_hosts(
    start: Start, sql_program: Path, tmp_path: Path, host: str
) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "test.db"), HOSTS="a.example, DB.example,b")
    with server.client() as client:
        assert client.get("/api", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[::1",
        "[::1]x",
        "127.0.0.1:80:80",
        "localhost:x",
        "1.2.3",
        "::1",
        "",
        "db.example.",
        "a" * 300,
    ],
)
def test_a_name_that_leads_to_this_server_without_its_knowledge_is_403(
    start: Start, sql_program: Path, tmp_path: Path, host: str
) -> None:
    """DNS rebinding: to the browser the foreign page and this server are then one origin."""
    server = start(sql_program, DATABASE=str(tmp_path / "test.db"), HOSTS="db.example")
    rebound = {"Host": host, "Origin": f"http://{host}"}
    with server.client() as client:
        for answer in (
            client.get("/api/tables", headers=rebound),
            client.post("/api/query", json={"sql": "SELECT 1"}, headers=rebound),
        ):
            assert error(answer, 403) == {
                "code": "host",
                "message": "This server is not known by the name in 'Host'; "
                "the setting 'HOSTS' says which names it has.",
            }


def test_every_answered_commit_survives_sigkill(start: Start, sql_program: Path, tmp_path: Path) -> None:
    database = str(tmp_path / "a.db")
    answered: list[int] = []
    server = start(sql_program, DATABASE=database)
    query(server, "CREATE TABLE t(x INTEGER PRIMARY KEY)")

    def insert() -> None:
        with server.client() as client:
            for value in range(100_000):
                try:
                    sent = client.post("/api/query", json={"sql": "INSERT INTO t VALUES (?)", "parameters": [value]})
                except httpx.HTTPError:
                    return
                assert sent.status_code == 200
                answered.append(value)

    thread = threading.Thread(target=insert)
    thread.start()
    while len(answered) < 50:
        time.sleep(0.01)
    server.process.kill()
    server.process.wait()
    thread.join()
    again = start(sql_program, DATABASE=database)
    found = [row[0] for row in query(again, "SELECT x FROM t ORDER BY x")["rows"]]
    assert found[: len(answered)] == answered and len(found) <= len(answered) + 1


def test_a_damaged_database_is_said_at_start_and_left_alone(sql: Server, sql_program: Path, tmp_path: Path) -> None:
    query(sql, "CREATE TABLE t(x)")
    for _ in range(3):
        query(sql, "INSERT INTO t VALUES (hex(zeroblob(20000)))")
    assert sql.stop() == 0
    path = tmp_path / "test.db"
    data = bytearray(path.read_bytes())
    data[4096:4296] = b"\xff" * 200
    path.write_bytes(data)
    environment = {"PORT": "0", "LISTEN": "127.0.0.1", "DATABASE": str(path)}
    ended = subprocess.run([str(sql_program)], env=environment, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert f"web: the handler 'sql_api' could not start: the database '{path}' is damaged: " in ended.stderr
    assert path.read_bytes() == data


def test_a_folder_that_is_not_there_is_said(sql_program: Path) -> None:
    environment = {"PORT": "0", "LISTEN": "127.0.0.1", "DATABASE": "/nonexistent/x.db"}
    ended = subprocess.run([str(sql_program)], env=environment, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert ended.stderr == (
        "web: the handler 'sql_api' could not start: the database '/nonexistent/x.db' cannot be "
        "opened: unable to open database file: No such file or directory.\n"
    )


def test_the_page_allows_exactly_its_own_script(sql: Server) -> None:
    with sql.client() as client:
        page = client.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert client.get("/", headers={"If-None-Match": page.headers["etag"]}).status_code == 304
        assert client.get("/other").status_code == 404
