"""Whether a guest answers on a port, seen from the host.

QEMU's user network accepts a connection on the host's side before the guest has said anything, so that a successful
connect means nothing. The guest refused: the connection is reset at once. It accepted: bytes come, or QEMU's own
table of connections (`info usernet`) says so. Its network is not up yet: the first packet is lost, and QEMU sends
the next one only seconds later. So tries overlap: a new one begins while the older ones stay open, at growing
distances, and the first good answer of any of them counts. A server that is slow to answer is so not pressed
more and more. A guest that tells on its control channel when the program listens is not asked before.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from rumpel.resolve.plan import Port

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_PATIENCE = 0.25  # how long a silent try stays alone; doubles with each silent one
_MOST_TRIES = 8


@dataclass
class _Try:
    sock: socket.socket
    begun: float
    received: bytes = b""
    sent: bool = False


class ProbeTimeoutError(Exception):
    """The port did not answer in time; `seen` is what the last try saw."""

    def __init__(self, seen: str) -> None:
        super().__init__(seen)
        self.seen = seen


def wait_for_http(host_port: int, path: str, deadline: float, watch: Callable[[float], None]) -> int:
    """Ask for `path` until an answer with 2xx or 3xx comes; its status.

    `deadline` is on the monotonic clock. `watch(seconds)` pauses for at most so long, and raises where waiting
    is over. Raises ProbeTimeoutError.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{host_port}\r\nUser-Agent: rumpel\r\nConnection: close\r\n\r\n"
    return _Prober(host_port, request.encode("utf-8", "surrogateescape"), _http_verdict).run(deadline, watch)


def wait_for_port(
    host_port: int, deadline: float, watch: Callable[[float], None], accepted: Callable[[], bool]
) -> None:
    """Connect until a connection brings bytes, or QEMU says by `accepted` that the guest took one.

    Raises ProbeTimeoutError.
    """

    def verdict(attempt: _Try, ended: bool) -> int | str:
        if attempt.received or (not ended and accepted()):
            return 1
        return "connections were closed at once" if ended else "the guest did not take a connection"

    _Prober(host_port, b"", verdict).run(deadline, watch)


# A verdict: a number is success; a text says what was seen so far and that the try goes on or is over.
_Verdict = Callable[[_Try, bool], int | str]


def _http_verdict(attempt: _Try, ended: bool) -> int | str:
    line, found, _ = attempt.received.partition(b"\r\n")
    words = line.split()
    if found and len(words) >= 2 and words[0].startswith(b"HTTP/1.") and words[1].isdigit():
        status = int(words[1])
        return status if 200 <= status < 400 else f"the last answer was 'HTTP {status}'"
    if found or (ended and attempt.received):
        return "the last answer was not HTTP"
    return "connections were closed without an answer" if ended else "a connection was open, but no answer came"


def not_listening(port: Port, listening: Collection[int]) -> str:
    """What was seen of a guest that tells on which TCP ports its program listens, and never told this one."""
    others = f", only on {', '.join(map(str, sorted(listening)))}" if listening else ""
    return f"the program does not listen on port {port.port} ('{port.name}'){others}"


class _Prober:
    def __init__(self, host_port: int, request: bytes, verdict: _Verdict) -> None:
        self._address = ("127.0.0.1", host_port)
        self._request = request
        self._verdict = verdict
        self._tries: list[_Try] = []
        self._seen = "no connection could be made"
        self._pause = _FIRST_PAUSE
        self._patience = _PATIENCE

    def run(self, deadline: float, watch: Callable[[float], None]) -> int:
        next_try = 0.0
        with selectors.DefaultSelector() as selector:
            try:
                while True:
                    now = time.monotonic()
                    if now >= deadline:
                        raise ProbeTimeoutError(self._seen)
                    if now >= next_try:
                        self._begin(selector, now)
                        next_try = now + self._patience
                        self._patience = min(self._patience * 2, 4.0)
                    watch(0)
                    for key, _ in selector.select(max(0.0, min(next_try - now, 0.02))):
                        result = self._advance(selector, key.data)
                        if isinstance(result, int):
                            return result
                    for attempt in tuple(self._tries):
                        verdict = self._verdict(attempt, False)
                        if isinstance(verdict, int):
                            return verdict
                        if attempt.received or time.monotonic() - attempt.begun >= _PATIENCE:
                            self._seen = verdict  # a fresh try says less than the last one that ended
                    if not self._tries and next_try > time.monotonic() + self._pause:
                        next_try = time.monotonic() + self._pause
                        self._pause = min(self._pause * 1.3, _LONGEST_PAUSE)
                        self._patience = _PATIENCE
                    if not self._tries:
                        watch(max(0.0, next_try - time.monotonic()))
            finally:
                for attempt in self._tries:
                    attempt.sock.close()

    def _begin(self, selector: selectors.BaseSelector, now: float) -> None:
        if len(self._tries) >= _MOST_TRIES:
            self._drop(selector, self._tries[0])
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex(self._address)
        attempt = _Try(sock, now)
        self._tries.append(attempt)
        selector.register(sock, selectors.EVENT_WRITE if self._request else selectors.EVENT_READ, attempt)

    def _advance(self, selector: selectors.BaseSelector, attempt: _Try) -> int | str | None:
        try:
            if self._request and not attempt.sent:
                attempt.sock.sendall(self._request)
                attempt.sent = True
                selector.modify(attempt.sock, selectors.EVENT_READ, attempt)
                return None
            data = attempt.sock.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        attempt.received += data
        verdict = self._verdict(attempt, not data)
        if isinstance(verdict, int):
            return verdict
        if not data or (self._request and b"\r\n" in attempt.received):
            self._seen = verdict
            self._drop(selector, attempt)
        return verdict

    def _drop(self, selector: selectors.BaseSelector, attempt: _Try) -> None:
        selector.unregister(attempt.sock)
        attempt.sock.close()
        self._tries.remove(attempt)
