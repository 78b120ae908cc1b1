"""How Rumpel speaks: its own words go to standard error, coloured only for a person at a terminal."""

from __future__ import annotations

import os
import sys


def coloured() -> bool:
    """Whether standard error is a terminal that wants colours (https://no-color.org: a non-empty NO_COLOR forbids)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def same_place() -> bool:
    """Whether standard output and standard error are one terminal, pipe or file."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError):
        return False


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if coloured() else text


def green(text: str) -> str:
    return f"\x1b[32m{text}\x1b[0m" if coloured() else text


def red(text: str) -> str:
    return f"\x1b[31m{text}\x1b[0m" if coloured() else text


def error_prefix() -> str:
    """What stands before an error's sentences."""
    return f"{red('rumpel:')} "


def say(line: str) -> None:
    """One line to the person, on standard error."""
    _status.clear()
    print(line, file=sys.stderr, flush=True)


class StatusLine:
    """A line at the bottom of the terminal that is rewritten in place; elsewhere nothing is written."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, text: str) -> None:
        if not sys.stderr.isatty():
            return
        import shutil

        width = shutil.get_terminal_size().columns - 1
        cut = text if len(text) <= width else text[: width - 1] + "…"
        print(f"\r\x1b[K{cut}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False


_status = StatusLine()


def status(text: str) -> None:
    """Show what is being done now, on a terminal only; the next `say` or `end_status` takes it away."""
    _status.show(text)


def end_status() -> None:
    _status.clear()
