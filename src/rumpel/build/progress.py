"""What a person sees of a build: one line for each step, in place on a terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
from collections.abc import Sequence
from typing import TextIO


class BuildProgress:
    """Counts steps and shows the ones that run. May be used from several threads.

    `total` is the number of steps that the asked-for images have; those that are up to date or come from the cache
    count as done without a line of their own.
    """

    def __init__(self, stream: TextIO, *, verbose: bool = False, environment: dict[str, str] | None = None) -> None:
        environment = dict(os.environ) if environment is None else environment
        self.total = 0
        self.ran = 0
        self._stream = stream
        self._verbose = verbose
        self._in_place = stream.isatty() and environment.get("TERM", "dumb") != "dumb" and not verbose
        self._visited = 0
        self._lock = threading.Lock()
        self._open_line = False

    def visit(self) -> None:
        """A step is being looked at: it may turn out to be up to date."""
        with self._lock:
            self._visited += 1

    def begin(self, verb: str, subject: str) -> None:
        """A step runs."""
        with self._lock:
            self.ran += 1
            width = len(str(self.total))
            self._line(f"[{min(self._visited, self.total):{width}}/{self.total}] {verb} {subject}")

    def advance(self, what: str, done: int, total: int) -> None:
        """A long step is so far: shown in place on a terminal, and as a line for each tenth elsewhere."""
        if self._in_place or (done and done * 10 // total != (done - 1) * 10 // total):
            with self._lock:
                self._line(f"{what} {done} of about {total}")

    def command(self, command: Sequence[str]) -> None:
        """A step runs a command; shown where everything is to be shown."""
        if self._verbose:
            with self._lock:
                self._stream.write(shlex.join(command) + "\n")
                self._stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._close_line()
            self._stream.write(text + "\n")
            self._stream.flush()

    def error(self, text: str) -> None:
        """An error, whole, on standard error; lines of several steps do not mix."""
        with self._lock:
            self._close_line()
            self._stream.flush()
            sys.stderr.write(text.rstrip("\n") + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """End the line that is written in place."""
        with self._lock:
            self._close_line()

    def _line(self, text: str) -> None:
        if not self._in_place:
            self._stream.write(text + "\n")
        else:
            columns = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + text[: columns - 1])
            self._open_line = True
        self._stream.flush()

    def _close_line(self) -> None:
        if self._open_line:
            self._stream.write("\r\x1b[K")
            self._open_line = False
