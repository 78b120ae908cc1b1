"""The web programs as tests run them: the very file of an image, and the same sources under sanitizers."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock

from rumpel.build.api import build
from rumpel.places import trees_dir
from rumpel.resolve.plan import Component, Plan
from rumpel.sources import Store, unpack

ROOT = Path(__file__).resolve().parents[3]
SANITIZE = ("-std=gnu11", "-O1", "-g", "-fPIE", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
SANITIZER_SETTINGS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


def image_program(composition: str) -> Path:
    """The stripped static program that the image of `composition` holds."""
    return ROOT / build(composition).directory / "parts/web"


def _plan(composition: str) -> Plan:
    return Plan.from_json((ROOT / build(composition).directory / "plan.json").read_bytes())


def _tree(plan: Plan, component: Component) -> Path:
    """Where the build unpacked a component's source package."""
    source = next(source for source in plan.sources if source.name in component.sources)
    return unpack(source, Store(), trees_dir())


def _inputs(composition: str) -> tuple[list[tuple[str, Path, list[str]]], list[Path]]:
    """Every C source of a composition with its component and its own flags, and all folders of headers."""
    plan = _plan(composition)
    sources: list[tuple[str, Path, list[str]]] = []
    include: list[Path] = []
    for component in plan.components:
        if component.c is None or component.c.sysroot:
            continue
        own = ROOT / component.directory
        include += [own / name for name in component.c.include]
        flags = [f"-D{name}={value}" if value else f"-D{name}" for name, value in component.c.defines]
        sources += [
            (component.name, own / name, [*flags, *component.c.flags, "-Wall", "-Wextra"])
            for name in component.c.sources
        ]
        if component.c.prepare is not None:
            prepared = ROOT / "build/parts" / component.name / "prepared"
            include.append(prepared)
            # SQLite alone is 240,000 lines: with the checks for undefined behaviour it compiles for minutes.
            plain = [*flags, "-w", "-fno-sanitize=undefined"]
            sources += [(component.name, prepared / name, plain) for name in component.c.source_files]
        elif component.c.source_files:
            tree = _tree(plan, component)
            include += [tree / name for name in component.c.source_include]
            sources += [(component.name, tree / name, [*flags, "-w"]) for name in component.c.source_files]
    return sources, include


def include_flags(composition: str) -> list[str]:
    """All folders of headers of a composition, as words for a compiler."""
    return [f"-I{path}" for path in _inputs(composition)[1]]


def sanitized_objects(
    composition: str, compiler: str, extra: tuple[str, ...], folder: Path, only: tuple[str, ...] = ("",)
) -> list[Path]:
    """Compile what has changed since the last time into `folder`; of objects whose name holds one of `only`."""
    sources, include = _inputs(composition)
    folder.mkdir(parents=True, exist_ok=True)
    headers = [path.stat().st_mtime for part in include for path in part.glob("**/*.h") if ROOT in path.parents]
    own = [
        path.stat().st_mtime
        for path in (ROOT / "components").glob("**/*")
        if path.suffix in {".h", ".html", ".css", ".js"}
    ]
    newest_header = max([*headers, *own])
    objects = []
    for label, source, flags in sources:
        made = folder / (re.sub(r"[^A-Za-z0-9]+", "-", f"{label}-{source.name}") + ".o")
        if not any(part in f"-{made.stem}" for part in only):
            continue
        objects.append(made)
        if made.exists() and made.stat().st_mtime > max(source.stat().st_mtime, newest_header):
            continue
        command = [compiler, "-c", *SANITIZE, *extra, *flags, *(f"-I{path}" for path in include)]
        subprocess.run([*command, "-o", str(made), str(source)], check=True, timeout=600)
    return objects


def sanitized_program(composition: str) -> Path:
    """The same program for the host's C library, under AddressSanitizer and UndefinedBehaviorSanitizer."""
    folder = ROOT / "build/host" / composition
    folder.mkdir(parents=True, exist_ok=True)
    program, linked = folder / "web", folder / "web.linked"
    with FileLock(folder / "lock"):  # several workers want it, and may run it already
        objects = sanitized_objects(composition, "gcc", (), folder)
        if not program.exists() or program.stat().st_mtime < max(path.stat().st_mtime for path in objects):
            words = ["gcc", "-fsanitize=address,undefined", "-pie", "-o", str(linked), *map(str, objects), "-lm"]
            subprocess.run(words, check=True, timeout=300)
            linked.replace(program)
    return program


@dataclass
class Server:
    """A running server on a loopback port of its own choice."""

    process: subprocess.Popen[str]
    port: int
    errors: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=30)

    def connect(self, timeout: float = 20) -> socket.socket:
        """A plain connection, for what no well-behaved client sends."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def exchange(self, data: bytes, timeout: float = 20) -> bytes:
        """Send bytes, and read until the server closes."""
        with self.connect(timeout) as connection:
            connection.sendall(data)
            return read_all(connection)

    def resident(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+)", status)
        assert match
        return int(match.group(1))

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(20)


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return bytes(data)


@contextlib.contextmanager
def running(program: Path, folder: Path, **settings: str) -> Iterator[Server]:
    """Start `program` with settings; ends it and checks that neither it nor a sanitizer complained."""
    errors = folder / "stderr.txt"
    environment = {"PORT": "0", "LISTEN": "127.0.0.1", "PATH": os.environ["PATH"], **SANITIZER_SETTINGS, **settings}
    with errors.open("a") as sink:
        process = subprocess.Popen([str(program)], env=environment, stdout=subprocess.PIPE, stderr=sink, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.fullmatch(r"web: listening on port (\d+)\n", line)
        assert match, f"the first line was {line!r}; standard error: {errors.read_text()}"
        yield Server(process, int(match.group(1)), errors)
        if process.poll() is None:
            process.terminate()
            assert process.wait(20) == 0, errors.read_text()
        assert "Sanitizer" not in errors.read_text() and "runtime error" not in errors.read_text(), errors.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
