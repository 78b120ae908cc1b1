"""Loads a running web server and looks at its machine: what `bench/nano.py` measures after the start.

Clients run on the same host and share its processors, so beside each rate stands QEMU's CPU time: the rate of a busy
host says little, the cost of a request much.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from rumpel.build.cpio import Entry, archive
from rumpel.errors import MachineError
from rumpel.machine.instance import Instance

REQUEST = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_HEADER = 110
_BLOCK = 1 << 20
_PAGE = 4096
_TIME_WAIT = 65  # seconds: twice lwIP's TCP_MSL, and some for the timer that looks at it


class Rate(msgspec.Struct, frozen=True):
    """`rate` a second of the wall clock, `cost` in seconds of QEMU's CPU time for each of what was counted."""

    rate: float
    cost: float


class Pages(msgspec.Struct, frozen=True):
    """Memory of a machine with nano, in bytes: free in its page allocator, and mapped by its program."""

    free: int
    program: int


class Counters(msgspec.Struct, frozen=True):
    """Where nano keeps the counts of Pages: physical addresses."""

    free: int
    program: int


class Growth(msgspec.Struct, frozen=True):
    """Connections one after the other: `count` in `seconds`; the guest's memory and QEMU's resident bytes before and
    after."""

    count: int
    seconds: float
    before: Pages
    after: Pages
    resident_before: int
    resident_after: int

    @property
    def program(self) -> int:
        """Bytes that the program has mapped more."""
        return self.after.program - self.before.program

    @property
    def kernel(self) -> int:
        """Bytes that are neither free nor the program's, and were before."""
        return self.before.free - self.after.free - self.program


def requests(instance: Instance, path: str, seconds: int, connections: int = 16) -> Rate:
    """What wrk gets with `connections` that are kept open. Raises SystemExit where answers were wrong or missing."""
    before = instance.stats().cpu
    url = instance.url("http") + path
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", url]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    used = instance.stats().cpu - before
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    total = re.search(r"(\d+) requests in", said)
    if rate is None or total is None or "Non-2xx" in said or int(total[1]) == 0:
        raise SystemExit(f"wrk did not get good answers:\n{said}")
    return Rate(float(rate[1]), used / int(total[1]))


def download(instance: Instance, path: str, size: int, digest: str) -> Rate:
    """Bytes a second of one file, which must have `size` and the SHA-256 `digest`."""
    before = instance.stats().cpu
    content = bytearray(size + 65536)
    view = memoryview(content)
    with _connected(instance) as connection:
        begun = time.monotonic()
        connection.sendall(CLOSING % path.encode())
        got = 0
        while (n := connection.recv_into(view[got : got + _BLOCK])) > 0:
            got += n
        seconds = time.monotonic() - begun
    used = instance.stats().cpu - before
    head = content.index(b"\r\n\r\n") + 4
    if got - head != size or hashlib.sha256(view[head:got]).hexdigest() != digest:
        raise SystemExit(f"The download of '{path}' is not what was put there: {got - head} of {size} bytes came.")
    return Rate(size / seconds, used / size)


def connections_at_once(instance: Instance, path: str, count: int) -> int:
    """Opens `count` connections, asks once on each when all are open, and again in the reverse order; how many were
    answered both times."""
    opened: list[socket.socket] = []
    answered = 0
    try:
        for _ in range(count):
            opened.append(_connected(instance))
        for connection in opened:
            ask(connection, path)
        for connection in reversed(opened):
            ask(connection, path)
            answered += 1
    finally:
        for connection in opened:
            connection.close()
    return answered


def opened_and_closed(instance: Instance, path: str, count: int, counters: Counters) -> Growth:
    """Opens `count` connections one after the other, with a request on each, after some hundred that make the program
    and the kernel have all that serving takes. What is compared is the machine at rest, before and after: nothing was
    asked of it until no connection was left in TIME_WAIT. Of those the kernel otherwise keeps 128 to 144, in pages that
    are more or less filled."""
    for _ in range(300):
        _one(instance, path)
    before, resident = _at_rest(instance, counters), instance.stats().resident
    begun = time.monotonic()
    for _ in range(count):
        _one(instance, path)
    seconds = time.monotonic() - begun
    after = _at_rest(instance, counters)
    return Growth(count, seconds, before, after, resident, instance.stats().resident)


def ask(connection: socket.socket, path: str) -> bytes:
    """One request on a connection that stays open; the answer's body. Raises OSError where it is cut off."""
    connection.sendall(REQUEST % path.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _received(connection)
    head, body = answer.split(b"\r\n\r\n", 1)
    length = re.search(rb"(?i)content-length:\s*(\d+)", head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise OSError(errno.EPROTO, f"an answer began with {head[:40]!r}")
    while len(body) < int(length[1]):
        body += _received(connection)
    return body


def counters(debug: Path) -> Counters:
    """Finds nano's counts of pages in a kernel with symbols: `available` of `src/page.c`, `resident` of
    `src/vm_pages.c`. The kernel is linked in the top 2 GiB of the address space, and loaded at the same distance from
    0. Raises SystemExit where one is not there."""
    said = subprocess.run(["nm", str(debug)], check=True, capture_output=True, text=True).stdout

    def place(name: str) -> int:
        found = re.findall(rf"^([0-9a-f]+) [bBdD] {name}(?:\.lto_priv\.\d+)?$", said, re.MULTILINE)
        if len(found) != 1:
            raise SystemExit(f"The kernel '{debug}' has {len(found)} variables '{name}', not one.")
        return int(found[0], 16) - 0xFFFFFFFF80000000

    return Counters(place("available"), place("resident"))


def _at_rest(instance: Instance, counters: Counters) -> Pages:
    """The machine's memory when nothing was asked of it for as long as TIME_WAIT lasts."""
    time.sleep(_TIME_WAIT)
    return Pages(_count(instance, counters.free) * _PAGE, _count(instance, counters.program) * _PAGE)


def _count(instance: Instance, at: int) -> int:
    """A number of 64 bits in the machine's memory."""
    said = instance.qmp("human-monitor-command", command_line=f"xp /1gx {at:#x}")
    return int(str(said).split(":")[1].strip(), 16)


def with_file(rootfs: bytes, path: str, data: bytes) -> bytes:
    """A newc archive with one more file, `path` without a leading slash; its folder must be there."""
    entries, at = [], 0
    while True:
        fields = [int(rootfs[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = rootfs[at + _HEADER : at + _HEADER + name_size].rstrip(b"\0").decode()
        begin = (at + _HEADER + name_size + 3) & ~3
        if name == "TRAILER!!!":
            break
        entries.append(Entry(name, mode, rootfs[begin : begin + size], (fields[9], fields[10])))
        at = (begin + size + 3) & ~3
    return archive([*entries, Entry(path, stat.S_IFREG | 0o644, data)])


def smallest_memory(serves: Callable[[int], bool], highest: int) -> int:
    """The least MiB, up to `highest`, with which `serves(mebibytes)` is true; what it raises as MachineError is no."""
    low, high = 0, highest
    while high - low > 1:
        middle = (low + high) // 2
        try:
            good = serves(middle)
        except MachineError:
            good = False
        low, high = (low, middle) if good else (middle, high)
    return high


def _one(instance: Instance, path: str) -> None:
    with _connected(instance) as connection:
        connection.sendall(CLOSING % path.encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(errno.EPROTO, f"an answer began with {answer[:40]!r}")


def _connected(instance: Instance) -> socket.socket:
    return socket.create_connection(("127.0.0.1", instance.ports["http"]), 60)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return data
