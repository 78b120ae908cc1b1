"""The same components run on every Linux kernel: the same files in the image, the same answers from outside."""

from __future__ import annotations

import functools
import json
import re
import socket
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from rumpel.build.api import BuildOptions, build
from rumpel.build.manifest import Manifest
from rumpel.machine.instance import Image, Instance, Options, image_of, launch, start
from rumpel.resolve.plan import Plan
from rumpel.resolve.settings import StartSettings

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(1500)]

# Each with what `debian` on microvm answers. They need four kernels: with nothing, with network, with network and
# disks, and that for PCI; a composition more is cheap as long as it needs no other.
TARGETS = [
    ("hello", "linux", "microvm"),
    ("hello", "linux", "q35"),
    ("web", "linux", "microvm"),
    ("sqlite-web", "linux", "microvm"),
    ("sqlite-web", "linux", "q35"),
    ("nginx", "linux", "microvm"),
    ("redis", "linux", "microvm"),
    ("node-service", "linux", "microvm"),
    ("python-http", "linux", "microvm"),
]
KERNELS = 4
on_each = pytest.mark.parametrize(("composition", "kernel", "machine"), TARGETS)


@dataclass(frozen=True)
class Built:
    """An image with its manifest and plan."""

    manifest: Manifest
    plan: Plan
    image: Image


@functools.cache
def built(composition: str, kernel: str, machine: str) -> Built:
    manifest = build(composition, BuildOptions(kernel=kernel, machine=machine))
    directory = ROOT / manifest.directory
    plan = Plan.from_json((directory / manifest.plan.path).read_bytes())
    return Built(manifest, plan, image_of(manifest, directory, ROOT))


@dataclass(frozen=True)
class Answer:
    """What a server answered, without what is different each time."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def ask(client: httpx.Client, method: str, path: str, body: object = None) -> Answer:
    answer = client.request(method, path, json=body) if body is not None else client.request(method, path)
    headers = tuple((name, value) for name, value in sorted(answer.headers.items()) if name != "date")
    return Answer(answer.status_code, headers, answer.content)


def client_of(instance: Instance) -> httpx.Client:
    return httpx.Client(base_url=instance.url("http"), trust_env=False, timeout=60)


def of_hello(made: Built, folder: Path) -> list[object]:
    """What the program printed between the kernel's last message and its end, and its status, for two settings."""
    told: list[object] = []
    for settings in (
        StartSettings(),
        StartSettings(arguments=("--status", "7", "größe", ""), environment=(("EMPTY", ""), ("NAME", "a b=c"))),
    ):
        options = Options(accelerator="tcg", settings=settings)
        with launch(made.plan, made.image, options) as instance:
            status = instance.wait(120)
            text = instance.console.text()
        lines = re.findall(r"^(Hello .*|argument .*|environment .*)\n", text, re.MULTILINE)
        told.append((status, lines))
    return told


def of_site(made: Built, folder: Path) -> list[object]:
    """Pages, a part of one, what is not there, and what is refused."""
    with start(made.plan, made.image, Options(accelerator="tcg")) as instance, client_of(instance) as client:
        told: list[object] = [
            ask(client, "GET", path) for path in ("/", "/style.css", "/machine.svg", "/none", "/../etc/hosts")
        ]
        told.append(ask(client, "HEAD", "/"))
        told.append(ask(client, "DELETE", "/"))
        part = client.get("/style.css", headers={"Range": "bytes=0-9"})
        told.append((part.status_code, part.content))
    return told


def of_sqlite_web(made: Built, folder: Path) -> list[object]:
    """A table made, filled, read, a mistake; and what is there after the next start on the same volume."""
    options = Options(accelerator="tcg", volumes=str(folder))
    statements: list[tuple[str, list[object]]] = [
        ("CREATE TABLE planets(id INTEGER PRIMARY KEY, name TEXT UNIQUE, mass REAL)", []),
        ("INSERT INTO planets(name, mass) VALUES (?, ?), (?, ?)", ["Mars", 6.4e23, "Venus", None]),
        ("INSERT INTO planets(name) VALUES ('Mars')", []),
        ("SELECT * FROM planets ORDER BY name DESC", []),
        ("SELECT nothing FROM planets", []),
        ("PRAGMA integrity_check", []),
    ]
    told: list[object] = []
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        told.append(ask(client, "GET", "/"))
        for sql, parameters in statements:
            told.append(ask(client, "POST", "/api/query", {"sql": sql, "parameters": parameters}))
        told.append(instance.stop())
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        told.append(ask(client, "GET", "/api/tables/planets/rows"))
        told.append(instance.stop())
    return told


def of_redis(made: Built, folder: Path) -> list[object]:
    """Values of several kinds, a mistake; a rewrite by a forked process; what the next start reads back."""
    options = Options(accelerator="tcg", volumes=str(folder))
    told: list[object] = []
    with start(made.plan, made.image, options) as instance:
        for words in (
            ["PING"],
            ["SET", "greeting", "hello"],
            ["RPUSH", "planets", "Mars", "Venus"],
            ["INCR", "greeting"],
            ["LRANGE", "planets", "0", "-1"],
            ["BGREWRITEAOF"],
        ):
            told.append(redis(instance.ports["redis"], *words))
        instance.wait_for_console("Background AOF rewrite finished successfully", 60)
        told.append(redis(instance.ports["redis"], "SET", "after", "the copy"))
        told.append(instance.stop())
    with start(made.plan, made.image, options) as instance:
        told.append(redis(instance.ports["redis"], "MGET", "greeting", "after"))
    return told


def redis(port: int, *words: str) -> bytes:
    """What answers one command in the Redis serialization protocol, up to the answer to a PING behind it."""
    commands = [words, ("PING", "the end")]
    request = "".join(
        f"*{len(each)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in each) for each in commands
    )
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode())
        while not answer.endswith(b"$7\r\nthe end\r\n"):
            data = connection.recv(65536)
            assert data, answer
            answer += data
    return answer


def of_node_service(made: Built, folder: Path) -> list[object]:
    """Tasks made, changed, listed, removed; mistakes; and what is there after the next start on the same volume."""
    options = Options(accelerator="tcg", volumes=str(folder), ready_timeout=180)
    told: list[object] = []
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        for method, path, body in (
            ("GET", "/health", None),
            ("POST", "/tasks", {"title": "write a test"}),
            ("POST", "/tasks", {"title": "größe"}),
            ("PATCH", "/tasks/1", {"done": True}),
            ("DELETE", "/tasks/2", None),
            ("GET", "/tasks/2", None),
            ("POST", "/tasks", {"title": ""}),
            ("PUT", "/tasks/1", None),
        ):
            told.append(without_time(ask(client, method, path, body)))
        told.append(instance.stop())
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        told.append(without_time(ask(client, "GET", "/tasks")))
    return told


def of_python_http(made: Built, folder: Path) -> list[object]:
    """Entries made and read, and mistakes."""
    options = Options(accelerator="tcg", ready_timeout=180)
    told: list[object] = []
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        for method, path, body in (
            ("GET", "/health", None),
            ("POST", "/entries", {"name": "Ada", "text": "hello"}),
            ("POST", "/entries", {"name": "", "text": "hello"}),
            ("GET", "/entries", None),
            ("GET", "/entries/9", None),
        ):
            told.append(without_time(ask(client, method, path, body)))
        told.append(instance.stop())
    return told


def without_time(answer: Answer) -> Answer:
    """Without the time at which something was made."""
    body = re.sub(rb'"(created|time)": ?("[^"]*"|\d+)', rb'"\1":0', answer.body)
    return replace(answer, body=body)


TOLD = {
    "hello": of_hello,
    "web": of_site,
    "nginx": of_site,
    "sqlite-web": of_sqlite_web,
    "redis": of_redis,
    "node-service": of_node_service,
    "python-http": of_python_http,
}


@functools.cache
def told_by_debian(composition: str, folder: Path) -> list[object]:
    return TOLD[composition](built(composition, "debian", "microvm"), folder)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `debian` keeps its volumes: each composition runs on it once, whatever it is compared with."""
    return tmp_path_factory.mktemp("debian")


@on_each
def test_each_kernel_runs_the_same_files(composition: str, kernel: str, machine: str) -> None:
    def files(made: Built) -> dict[str, tuple[int, str]]:
        return {
            entry.path: (entry.mode, entry.sha256)
            for entry in made.manifest.contents
            if entry.owner.startswith("component/")
        }

    other = built(composition, kernel, machine)
    reference = built(composition, "debian", "microvm")
    program = next(component for component in other.plan.components if component.role == "program")
    assert program.entry in files(other)
    assert files(other) == files(reference)
    assert [entry.path for entry in other.manifest.contents if entry.path.endswith(".ko")] == []


@on_each
def test_each_kernel_answers_the_same(
    composition: str, kernel: str, machine: str, tmp_path: Path, volumes: Path
) -> None:
    reference = told_by_debian(composition, volumes / composition)
    assert TOLD[composition](built(composition, kernel, machine), tmp_path) == reference
    assert reference


def test_the_compositions_share_few_kernels() -> None:
    """Each is minutes of work where nothing was built before."""
    manifests = [built(*target).manifest for target in TARGETS]
    assert len({manifest.kernel.sha256 for manifest in manifests}) == KERNELS


def test_a_slim_kernel_serves_in_32_mebibytes(tmp_path: Path) -> None:
    made = built("sqlite-web", "linux", "microvm")
    options = Options(accelerator="tcg", memory=32, volumes=str(tmp_path))
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        query = {"sql": "CREATE TABLE large(data TEXT)", "parameters": []}
        assert client.post("/api/query", json=query).status_code == 200
        text = "x" * 100_000
        for _ in range(20):
            query = {"sql": "INSERT INTO large VALUES (?)", "parameters": [text]}
            assert client.post("/api/query", json=query).status_code == 200
        query = {"sql": "SELECT count(*), sum(length(data)) FROM large", "parameters": []}
        assert json.loads(client.post("/api/query", json=query).content)["rows"] == [[20, 2_000_000]]


def test_a_slim_kernel_uses_every_processor_it_is_given(tmp_path: Path) -> None:
    made = built("sqlite-web", "linux", "microvm")
    options = Options(accelerator="tcg", cpus=2, volumes=str(tmp_path))
    with start(made.plan, made.image, options) as instance, client_of(instance) as client:
        assert client.get("/").status_code == 200
        assert len(instance.qmp("query-cpus-fast")) == 2
        # The second processor halts in the guest's idle loop once it was brought up; before, it waits for its start.
        registers = instance.qmp("human-monitor-command", **{"command-line": "info registers -a"})
        assert registers.count("HLT=1") + registers.count("HLT=0") >= 2
        second = registers.split("CPU#1")[1]
        assert re.search(r"CR0=8005\w{4}", second), second
