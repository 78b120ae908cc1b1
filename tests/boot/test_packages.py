"""Programs out of packages, on a root disk: what is in their images, and what they answer from outside."""

from __future__ import annotations

import functools
import hashlib
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.build.contents import extract

from rumpel.build.api import BuildOptions, build
from rumpel.build.manifest import Manifest
from rumpel.machine.instance import Instance, Options, image_of, start
from rumpel.resolve.plan import Plan

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "nginx": "/usr/sbin/nginx",
    "redis": "/usr/bin/redis-server",
    "node-service": "/usr/bin/node",
    "python-http": "/usr/bin/python3.11",
}

pytestmark = [pytest.mark.boot, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Built:
    """An image, where it is, and its plan."""

    manifest: Manifest
    directory: Path
    plan: Plan


@functools.cache
def built(composition: str) -> Built:
    manifest = build(composition, BuildOptions(kernel="debian", machine="microvm"))
    directory = ROOT / manifest.directory
    return Built(manifest, directory, Plan.from_json((directory / manifest.plan.path).read_bytes()))


Boot = Callable[[str], Instance]


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """`boot("redis")` starts a machine that answers; its volumes are in the test's folder."""
    machines: list[Instance] = []

    def boot(composition: str) -> Instance:
        image = built(composition)
        options = Options(
            name=f"{composition}-{len(machines)}-{tmp_path.name}"[:60].strip("-"), accelerator="tcg",
            volumes=str(tmp_path / "volumes"), ready_timeout=180,
        )  # fmt: skip
        machine = start(image.plan, image_of(image.manifest, image.directory, ROOT), options)
        machines.append(machine)
        return machine

    yield boot
    for machine in machines:
        machine.close()


@pytest.mark.parametrize("composition", sorted(PROGRAMS))
def test_the_disk_holds_what_the_manifest_lists_and_one_program(composition: str, tmp_path: Path) -> None:
    image = built(composition)
    assert image.manifest.rootfs.format == "qcow2"
    tree = tmp_path / "tree"
    extract(image.directory / image.manifest.rootfs.path, tree)
    found = {f"/{path.relative_to(tree)}": path for path in tree.rglob("*")}
    assert found.keys() == {content.path for content in image.manifest.contents}
    parts = {f"component/{component.name}" for component in image.plan.components} | {f"composition/{composition}"}
    executable = set()
    for content in image.manifest.contents:
        assert content.owner in parts, content
        path = found[content.path]
        if content.kind == "file":
            assert hashlib.sha256(path.read_bytes()).hexdigest() == content.sha256
            assert stat.S_IMODE(path.lstat().st_mode) == content.mode
            if content.mode & 0o111:
                executable.add(content.path)
    assert executable == {PROGRAMS[composition], "/lib64/ld-linux-x86-64.so.2"}
    initial = {content.path for content in image.manifest.initramfs_contents if content.kind == "file"}
    modules = {path for path in initial if path.startswith("/rumpel/modules/")}
    assert initial - modules == {"/init", "/rumpel/settings"}


@pytest.mark.parametrize("composition", sorted(PROGRAMS))
def test_every_file_of_a_package_is_the_package_s_own(composition: str) -> None:
    image = built(composition)
    sources = {source.name for source in image.plan.sources}
    for component in image.plan.components:
        assert set(component.sources) <= sources
    packages = sum(file.size for source in image.plan.sources for file in source.files if source.kind != "deb-src")
    assert image.plan.root.packages < packages  # the kernel's and musl's are no part of the root
    assert image.plan.root.kind == "disk"


def test_nginx_serves_the_site(boot: Boot) -> None:
    with httpx.Client(base_url=boot("nginx").url("http"), timeout=30) as client:
        page = client.get("/")
        assert (page.status_code, page.headers["server"]) == (200, "nginx")
        assert page.text == (ROOT / "components/static-site/site/index.html").read_text()
        assert client.get("/style.css").headers["content-type"] == "text/css"
        assert client.get("/nothing").status_code == 404
        assert client.get("/../../etc/passwd").status_code == 404


def redis(port: int, *words: str) -> bytes:
    """One command in the Redis serialization protocol; the answer's first line and what follows it at once."""
    request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(65536)
        while not answer.endswith(b"\r\n"):
            answer += connection.recv(65536)
        return answer


def test_redis_keeps_what_it_has_answered_through_a_power_cut(boot: Boot) -> None:
    first = boot("redis")
    port = first.ports["redis"]
    assert redis(port, "PING") == b"+PONG\r\n"
    assert redis(port, "SET", "greeting", "hello") == b"+OK\r\n"
    assert redis(port, "INCRBY", "number", "41") == b":41\r\n"
    assert redis(port, "GET", "greeting") == b"$5\r\nhello\r\n"
    first.kill()
    port = boot("redis").ports["redis"]
    assert redis(port, "GET", "greeting") == b"$5\r\nhello\r\n"
    assert redis(port, "INCR", "number") == b":42\r\n"


def refused(client: httpx.Client, method: str, path: str, **words: Any) -> tuple[int, str, str]:
    answer = client.request(method, path, **words)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


def test_the_node_service_keeps_tasks(boot: Boot) -> None:
    first = boot("node-service")
    with httpx.Client(base_url=first.url("http"), timeout=60) as client:
        assert client.get("/health").json() == {"status": "ok"}
        made = client.post("/tasks", json={"title": " write a test "})
        task = made.json()
        assert (made.status_code, made.headers["location"]) == (201, "/tasks/1")
        assert (task["id"], task["title"], task["done"]) == (1, "write a test", False)
        assert client.patch("/tasks/1", json={"done": True}).json() == {**task, "done": True}
        assert client.post("/tasks", json={"title": "go"}).json()["id"] == 2
        assert [each["id"] for each in client.get("/tasks?done=false").json()["tasks"]] == [2]
        assert client.get("/tasks?limit=1").json()["next"] == 1
        assert client.delete("/tasks/2").status_code == 204
        assert refused(client, "GET", "/tasks/2") == (404, "not-found", "There is no task '2'.")
        assert refused(client, "PUT", "/tasks/1") == (
            405, "method-not-allowed", "'/tasks/1' takes GET, PATCH, DELETE, not PUT.",
        )  # fmt: skip
        assert refused(client, "POST", "/tasks", json={"title": ""}) == (
            400, "invalid", "'title': Invalid length: Expected >=1 but received 0.",
        )  # fmt: skip
        assert refused(client, "POST", "/tasks", content="{", headers={"content-type": "application/json"})[:2] == (
            400, "not-json",
        )  # fmt: skip
        assert refused(client, "POST", "/tasks", content="x")[0] == 415
        assert refused(client, "POST", "/tasks", json={"title": "x" * 70000})[0] == 413
    first.kill()
    with httpx.Client(base_url=boot("node-service").url("http"), timeout=60) as client:
        assert client.get("/tasks").json() == {"tasks": [{**task, "done": True}], "next": None}


def test_the_node_service_ends_when_it_is_asked_to(boot: Boot) -> None:
    machine = boot("node-service")
    assert machine.stop(timeout=60) == "asked"
    assert machine.wait() == 0


def test_the_python_service_keeps_a_guest_book(boot: Boot) -> None:
    machine = boot("python-http")
    with httpx.Client(base_url=machine.url("http"), timeout=60) as client:
        assert client.get("/health").json() == {"status": "ok"}
        made = client.post("/entries", json={"name": "Ada", "text": "hello"})
        assert made.status_code == 201
        assert client.get("/entries/1").json() == made.json()
        assert client.get("/entries").json() == {"entries": [made.json()]}
        assert client.get("/entries/9").json() == {"error": "There is no entry 9."}
        wrong = client.post("/entries", json={"name": "", "text": "hello"})
        assert (wrong.status_code, wrong.json()) == (400, {"error": "'name' must be text of 1 to 500 characters."})
    assert machine.stop(timeout=60) == "asked"
    assert machine.wait() == 0
