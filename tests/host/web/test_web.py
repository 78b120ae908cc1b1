"""What the web server promises, on the host's loopback."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from native import Server, read_all

Start = Callable[..., Server]


def test_a_file_is_served_with_its_type_and_a_policy(web: Server) -> None:
    with web.client() as client:
        page = client.get("/")
        assert (page.status_code, page.text) == (200, "<h1>Home</h1>\n")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert client.get("/style.css").headers["content-type"] == "text/css; charset=utf-8"
        assert client.get("/style.css").headers["x-content-type-options"] == "nosniff"


def test_a_folder_answers_with_its_index_and_redirects_to_its_slash(web: Server) -> None:
    with web.client() as client:
        assert client.get("/sub/").text == "<h1>Sub</h1>\n"
        moved = client.get("/sub")
        assert (moved.status_code, moved.headers["location"]) == (301, "/sub/")


def test_a_redirect_keeps_a_long_path_and_the_query(web: Server, site: Path) -> None:
    folder = "/".join(["ü" * 100] * 3)
    (site / folder).mkdir(parents=True)
    path = "/" + folder.replace("ü", "%c3%bc")
    assert len(path) > 1024
    asked = f"GET {path}?a=1&b=%20+x&c&d=&e==?/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = web.exchange(asked.encode())
    assert answer.startswith(b"HTTP/1.1 301 ")
    assert f"\r\nLocation: {path}/?a=1&b=%20+x&c&d=&e==?/\r\n".encode() in answer


def test_a_large_file_arrives_whole(web: Server, site: Path) -> None:
    with web.client() as client:
        assert client.get("/large.bin").content == (site / "large.bin").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/%2e%2e%2f%2e%2e%2fsecret.txt",
        "/link.txt",
        "/linked/secret.txt",
        "/.hidden",
        "//secret.txt",
        "/index.html%00.css",
        "/%zz",
        "/..\\secret.txt",
        "/sub/./index.html",
        "/" + "a" * 3000,
    ],
)
def test_nothing_outside_of_the_root_can_be_reached(web: Server, path: str) -> None:
    answer = web.exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 "), answer[:200]
    assert b"secret\n" not in answer and not answer.endswith(b"secret")


def test_an_unknown_path_is_404_and_a_wrong_method_405(web: Server) -> None:
    with web.client() as client:
        missing = client.get("/nothing")
        assert (missing.status_code, missing.text) == (404, "404 There is no such page.\n")
        wrong = client.post("/", content=b"x")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD")
        assert client.request("BREW", "/").status_code == 405


def test_head_has_the_headers_and_no_body(web: Server) -> None:
    answer = web.exchange(b"HEAD /style.css HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: 18" in head and body == b""


def test_a_known_file_is_304(web: Server) -> None:
    with web.client() as client:
        for path in ("/style.css", "/large.bin"):
            first = client.get(path)
            again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            since = client.get(path, headers={"If-Modified-Since": first.headers["last-modified"]})
            assert since.status_code == 304
            assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_changed_file_is_served_anew(web: Server, site: Path) -> None:
    with web.client() as client:
        before = client.get("/style.css").headers["etag"]
        (site / "style.css").write_text("h1 { color: blue }\n")
        time.sleep(1.1)
        after = client.get("/style.css")
        assert after.text == "h1 { color: blue }\n"
        assert after.headers["etag"] != before


@pytest.mark.parametrize("path", ["/style.css", "/large.bin"])
def test_one_range_is_served_and_a_senseless_one_is_416(web: Server, site: Path, path: str) -> None:
    whole = (site / path[1:]).read_bytes()
    with web.client() as client:
        for text, part in (("0-0", whole[:1]), ("5-9", whole[5:10]), ("7-", whole[7:]), ("-4", whole[-4:])):
            answer = client.get(path, headers={"Range": f"bytes={text}"})
            assert (answer.status_code, answer.content) == (206, part), text
        assert answer.headers["content-range"] == f"bytes {len(whole) - 4}-{len(whole) - 1}/{len(whole)}"
        beyond = client.get(path, headers={"Range": f"bytes={len(whole)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
        for ignored in ("bytes=1-2,4-5", "bytes=9-5", "lines=1-2", "bytes=-"):
            assert client.get(path, headers={"Range": ignored}).content == whole
        stale = client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"old"'})
        assert (stale.status_code, stale.content) == (200, whole)


def test_pipelined_requests_are_answered_in_order(web: Server) -> None:
    requests = b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /style.css HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = web.exchange(requests * 20 + b"GET /sub/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 41
    assert answer.index(b"Home") < answer.index(b"color: red")
    assert answer.endswith(b"<h1>Sub</h1>\n")


def test_200_connections_at_once_are_all_served(web: Server) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(web.connect()) for _ in range(200)]
        for _ in range(3):
            for connection in connections:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            for connection in connections:
                data = b""
                while not data.endswith(b"</h1>\n"):
                    piece = connection.recv(4096)
                    assert piece
                    data += piece
                assert data.startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_drips_its_request_is_cut_off(start: Start, web_program: Path, site: Path) -> None:
    server = start(web_program, WEB_ROOT=str(site), REQUEST_TIMEOUT="2")
    begin = time.monotonic()
    with server.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        slow.settimeout(0.3)
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - begin < 10:
                slow.sendall(b"X: y\r\n")
                try:
                    piece = slow.recv(4096)
                except TimeoutError:
                    continue
                if not piece:
                    break
                answer += piece
        assert time.monotonic() - begin < 6
    assert answer.startswith(b"HTTP/1.1 408 ")
    with server.client() as client:
        assert client.get("/").status_code == 200


def test_too_large_a_head_is_431(web: Server) -> None:
    answer = web.exchange(b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 40000 + b"\r\n\r\n")
    assert answer.split(b" ")[1] in (b"431", b"413", b"414"), answer[:100]


def test_what_is_not_http_is_400(web: Server) -> None:
    assert web.exchange(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b""))
    with web.client() as client:
        assert client.get("/").status_code == 200


def test_sigterm_lets_a_reply_under_way_finish(start: Start, web_program: Path, site: Path) -> None:
    web = start(web_program, WEB_ROOT=str(site), STOP_TIMEOUT="30")
    whole = (site / "large.bin").read_bytes() * 40
    (site / "huge.bin").write_bytes(whole)
    with web.connect() as reader:
        reader.sendall(b"GET /huge.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = reader.recv(1000)
        with web.connect() as idle:
            web.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            with pytest.raises(ConnectionRefusedError):
                web.connect(1)
            data += read_all(reader)
            assert read_all(idle) == b""
    assert data.endswith(whole)
    assert web.process.wait(10) == 0


def test_signals_that_interrupt_a_reply_do_not_stall_it(start: Start, web_program: Path, site: Path) -> None:
    whole = (site / "large.bin").read_bytes() * 40
    (site / "huge.bin").write_bytes(whole)
    for _ in range(8):
        web = start(web_program, WEB_ROOT=str(site), STOP_TIMEOUT="60", REQUEST_TIMEOUT="60")
        arrived = threading.Event()

        def storm(web: Server = web, arrived: threading.Event = arrived) -> None:
            while not arrived.wait(0.0001) and web.process.poll() is None:
                web.process.send_signal(signal.SIGTERM)

        with web.connect() as reader:
            reader.sendall(b"GET /huge.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = reader.recv(1000)
            signals = threading.Thread(target=storm)
            signals.start()
            try:
                data += read_all(reader)
            finally:
                arrived.set()
                signals.join()
        assert data.endswith(whole)
        assert web.process.wait(20) == 0


def test_a_client_that_goes_away_harms_nobody(web: Server) -> None:
    for _ in range(20):
        with web.connect() as connection:
            connection.sendall(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with web.client() as client:
        assert client.get("/").status_code == 200


def test_a_port_in_use_is_said_and_ends_with_1(web: Server, web_program: Path) -> None:
    environment = {"PORT": str(web.port), "LISTEN": "127.0.0.1"}
    second = subprocess.run([str(web_program)], env=environment, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert f"web: cannot listen on port {web.port} of address 127.0.0.1: Address" in second.stderr
    assert "in use." in second.stderr


def test_a_wrong_setting_is_said_and_ends_with_1(web_program: Path) -> None:
    wrong = subprocess.run([str(web_program)], env={"PORT": "many"}, capture_output=True, text=True, timeout=20)
    assert wrong.returncode == 1
    assert wrong.stderr == "web: the setting 'PORT' is 'many', which is not a whole number from 0 to 65535.\n"


def test_memory_does_not_grow_with_connections(web: Server, variant: str) -> None:
    if variant == "sanitized":
        pytest.skip("a sanitizer keeps freed memory back on purpose")

    def visit(times: int) -> None:
        for _ in range(times):
            with web.connect() as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                read_all(connection)

    visit(200)
    before = web.resident()
    threads = [threading.Thread(target=visit, args=(500,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert web.resident() < before + 512
