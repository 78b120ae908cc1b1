"""What of the console goes into an error."""

from __future__ import annotations

import threading

import pytest

from rumpel.machine.console import Console
from rumpel.machine.failure import console_end, last_lines


def console_of(*lines: str) -> Console:
    console = Console(threading.Condition(threading.RLock()))
    console.feed("".join(f"{line}\n" for line in lines).encode())
    return console


def numbered(first: int, end: int) -> list[str]:
    return [f"line {number}" for number in range(first, end)]


def test_the_end_of_the_console_is_thirty_lines() -> None:
    assert console_end(console_of(*numbered(0, 100))).splitlines() == numbered(70, 100)


@pytest.mark.parametrize("report", [29, 50, 110])
def test_a_long_report_of_a_panic_is_shown_whole(report: int) -> None:
    panic = "[    1.5] Kernel panic - not syncing: sysrq triggered crash"
    lines = console_end(console_of(*numbered(0, 50), panic, *numbered(50, 50 + report))).splitlines()
    assert lines[0] == panic
    assert len(lines) == report + 1


def test_before_a_short_report_of_a_panic_come_the_lines_that_led_to_it() -> None:
    panic = "Kernel panic - not syncing: VFS: Unable to mount root fs"
    lines = console_end(console_of(*numbered(0, 50), panic, "end")).splitlines()
    assert lines == [*numbered(22, 50), panic, "end"]


@pytest.mark.parametrize("first", ["The kernel crashed. A double fault.", "The program's registers:"])
def test_a_report_of_nano_is_shown_whole(first: str) -> None:
    lines = console_end(console_of(*numbered(0, 50), first, *numbered(50, 110))).splitlines()
    assert lines == [first, *numbered(50, 110)]


def test_of_a_longer_end_too_the_whole_report_is_shown() -> None:
    panic = "Kernel panic - not syncing: Attempted to kill init!"
    assert last_lines(numbered(0, 200), 60) == numbered(140, 200)
    assert last_lines([*numbered(0, 50), panic, *numbered(50, 140)], 60) == [panic, *numbered(50, 140)]
    assert last_lines(numbered(0, 5), 60) == numbered(0, 5)
