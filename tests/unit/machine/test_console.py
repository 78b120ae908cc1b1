"""The console finds what it is asked for, whenever and however it comes, and reads nothing twice."""

from __future__ import annotations

import re
import threading
import time

import pytest

from rumpel.machine.console import KEEP, OVERLAP, Console, ConsoleTimeoutError


@pytest.fixture
def console() -> Console:
    return Console(threading.Condition(threading.RLock()))


def test_match_is_found_that_came_before(console: Console) -> None:
    console.feed(b"one\ntwo 22\nthree\n")
    found = console.wait_for(r"^two (\d+)$", 0)
    assert (found.text, found.groups, found.end) == ("two 22", ("22",), len("one\ntwo 22"))


def test_match_is_found_that_comes_in_single_bytes(console: Console) -> None:
    def feed() -> None:
        for byte in b"noise\r\nlistening on 80\r\n":
            console.feed(bytes([byte]))

    thread = threading.Thread(target=feed)
    thread.start()
    assert console.wait_for(r"^listening on (\d+)$", 30).groups == ("80",)
    thread.join()


def test_search_goes_on_behind_a_position(console: Console) -> None:
    console.feed(b"tick\ntick\n")
    first = console.wait_for("tick", 0)
    second = console.wait_for("tick", 0, since=first.end)
    assert second.end > first.end
    with pytest.raises(ConsoleTimeoutError):
        console.wait_for("tick", 0, since=second.end)


def test_burst_is_searched_in_time_linear_in_its_length(console: Console) -> None:
    """The searched bytes are counted: each at most once, and the overlap once for each search."""
    searched = 0

    class Counting:
        def __init__(self, pattern: str) -> None:
            self.compiled = re.compile(pattern.encode(), re.MULTILINE)

        def search(self, text: bytearray, start: int) -> re.Match[bytes] | None:
            nonlocal searched
            searched += len(text) - start
            return self.compiled.search(text, start)

    position, pattern, rounds = 0, Counting("NEEDLE"), 0
    for _ in range(2500):
        console.feed(b"x" * 4095 + b"\n")
        found, position = console._search(pattern, 0, position)  # type: ignore[arg-type]
        rounds += 1
        assert found is None
    assert searched <= 2500 * 4096 + rounds * OVERLAP


def test_ten_megabytes_in_pieces_are_waited_through_to_the_last_line(console: Console) -> None:
    def feed() -> None:
        for _ in range(160):
            console.feed((b"y" * 63 + b"\n") * 1024)
        console.feed(b"done\n")

    thread = threading.Thread(target=feed)
    thread.start()
    assert console.wait_for("^done$", 60).end == 160 * 65536 + 4
    thread.join()


def test_memory_is_bounded_and_positions_stay_true(console: Console) -> None:
    piece = b"z" * (1 << 20)
    for _ in range((KEEP >> 20) * 3):
        console.feed(piece)
    console.feed(b"\nend\n")
    assert len(console._text) <= KEEP * 5 // 4
    assert console.position == (KEEP >> 20) * 3 * (1 << 20) + 5
    assert console.wait_for("^end$", 0).end == console.position - 1


def test_timeout_names_pattern_and_time(console: Console) -> None:
    with pytest.raises(ConsoleTimeoutError) as caught:
        console.wait_for("never", 0.01)
    assert str(caught.value) == "'never' did not appear on the console within 0.01 s"


def test_watch_ends_the_wait_but_what_came_before_counts(console: Console) -> None:
    def watch() -> None:
        raise RuntimeError("it ended")

    console.feed(b"ready\n")
    assert console.wait_for("ready", 5, watch=watch).text == "ready"
    with pytest.raises(RuntimeError, match="it ended"):
        console.wait_for("never", 5, watch=watch)


def test_watch_may_wait_for_the_thread_that_feeds(console: Console) -> None:
    """No lock is held while watching: else the feeding thread could not go on."""
    fed = threading.Event()

    def feed() -> None:
        console.feed(b"late\n")
        fed.set()

    def watch() -> None:
        threading.Thread(target=feed).start()
        assert fed.wait(10)

    assert console.wait_for("late", 30, watch=watch).text == "late"


def test_bytes_that_are_not_utf8_are_shown_and_do_no_harm(console: Console) -> None:
    console.feed(b"\xff\xfe binary\n")
    assert console.wait_for("binary", 0).text == "binary"
    assert console.text() == "\ufffd\ufffd binary\n"


def test_tail_is_the_last_lines(console: Console) -> None:
    console.feed("".join(f"line {number}\n" for number in range(100)).encode())
    assert console.tail(3) == "line 97\nline 98\nline 99"


def test_slow_follower_delays_nobody_and_misses_nothing(console: Console) -> None:
    heard = bytearray()

    def slow(data: bytes) -> None:
        time.sleep(0.01)
        heard.extend(data)

    console.follow(slow)
    for number in range(1000):
        console.feed(f"{number}\n".encode())
    console.close()
    console.drain(30)
    assert bytes(heard) == "".join(f"{number}\n" for number in range(1000)).encode()
