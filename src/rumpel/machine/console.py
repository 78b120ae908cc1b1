"""The guest's console as it is captured: everything from the first byte, searched without reading anything twice.

    found = console.wait_for(r"listening on port (\\d+)", timeout=10)
    print(found.groups[0])

One thread feeds it, any number of threads wait. Carriage returns are dropped, so that `$` finds the end of a line;
the log file keeps the bytes as they came.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# What a match may reach back over data that was already searched: the longest text that one pattern can span.
OVERLAP = 4096
# The console in memory; older text is only in the log file.
KEEP = 32 * 1024 * 1024


@dataclass(frozen=True)
class Found:
    """A match on the console: its text, its groups, where it begins and the position behind it (bytes since the first
    byte)."""

    text: str
    groups: tuple[str | None, ...]
    begin: int
    end: int


class ConsoleTimeoutError(Exception):
    """`pattern` did not appear in time. For callers inside this room; they turn it into a MachineError."""

    def __init__(self, pattern: str, timeout: float) -> None:
        super().__init__(f"'{pattern}' did not appear on the console within {timeout:g} s")
        self.pattern = pattern
        self.timeout = timeout


class ConsoleFailError(Exception):
    """`text` appeared, which matches the pattern that means failure. For callers inside this room."""

    def __init__(self, pattern: str, text: str) -> None:
        super().__init__(f"'{pattern}' appeared on the console: {text}")
        self.pattern = pattern
        self.text = text


class Console:
    """The text so far, and those who wait for more. `changed` is notified whenever something was added."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._text = bytearray()
        self._dropped = 0  # bytes no longer held; a position minus this is an index into _text
        self._closed = False
        self._followers: list[threading.Thread] = []

    def feed(self, data: bytes) -> None:
        """Add bytes of the guest."""
        with self._changed:
            self._text += data.replace(b"\r", b"")
            if len(self._text) > KEEP * 5 // 4:
                surplus = len(self._text) - KEEP
                del self._text[:surplus]
                self._dropped += surplus
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def follow(self, follower: Callable[[bytes], None]) -> None:
        """Call `follower` with all that came and is to come, in a thread of its own, so that a slow one delays no
        one else. One that raises is not called again."""
        thread = threading.Thread(target=self._hand_over, args=(follower,), name="rumpel-console", daemon=True)
        self._followers.append(thread)
        thread.start()

    def drain(self, timeout: float = 2.0) -> None:
        """After `close`: wait until the followers have had everything."""
        for follower in self._followers:
            follower.join(timeout)

    def _hand_over(self, follower: Callable[[bytes], None]) -> None:
        position = 0
        while True:
            with self._changed:
                while position >= self.position and not self._closed:
                    self._changed.wait()
                data = bytes(self._text[max(0, position - self._dropped) :])
                position = self.position
            if not data:
                return
            follower(data)

    @property
    def position(self) -> int:
        """How many bytes have come (without carriage returns)."""
        return self._dropped + len(self._text)

    def text(self, since: int = 0) -> str:
        """What is held from position `since` on."""
        with self._changed:
            return _decoded(self._text[max(0, since - self._dropped) :])

    def data(self, since: int = 0) -> bytes:
        """What is held from position `since` on, as it came but for carriage returns."""
        with self._changed:
            return bytes(self._text[max(0, since - self._dropped) :])

    def tail(self, lines: int = 30) -> str:
        """The last lines."""
        with self._changed:
            recent = bytes(self._text[-lines * 200 :])
        return "\n".join(_decoded(recent).splitlines()[-lines:])

    def wait_for(
        self,
        pattern: str,
        timeout: float = 60.0,
        *,
        since: int = 0,
        fail: str = "",
        watch: Callable[[], None] | None = None,
    ) -> Found:
        """The first match of the regular expression behind position `since`; `^` and `$` are ends of lines.

        `watch` is called while waiting, without any lock held, and may raise to end it. Raises ConsoleFailError where
        the expression `fail` matches first, ConsoleTimeoutError after `timeout` seconds.
        """
        compiled = re.compile(pattern.encode(), re.MULTILINE)
        failing = re.compile(fail.encode(), re.MULTILINE) if fail else None
        deadline = time.monotonic() + timeout
        searched = since
        while True:
            over: Exception | None = None
            try:
                if watch is not None:
                    watch()
            except Exception as error:
                over = error
            with self._changed:  # what came before the end counts: search after looking
                start = searched
                found, searched = self._search(compiled, since, start)
                failed = None if failing is None else self._search(failing, since, start)[0]
                if failed is not None and (found is None or failed.begin < found.begin):
                    raise ConsoleFailError(fail, failed.text)
                if found is not None:
                    return found
                if over is not None:
                    raise over
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise ConsoleTimeoutError(pattern, timeout)
                self._changed.wait(min(remaining, 0.25))

    def _search(self, compiled: re.Pattern[bytes], since: int, searched: int) -> tuple[Found | None, int]:
        start = max(since, searched - OVERLAP, self._dropped) - self._dropped
        match = compiled.search(self._text, start)
        end = self.position
        if match is None:
            return None, end
        groups = tuple(None if group is None else _decoded(group) for group in match.groups())
        begin, stop = match.start() + self._dropped, match.end() + self._dropped
        return Found(_decoded(match.group()), groups, begin, stop), end


def _decoded(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")
