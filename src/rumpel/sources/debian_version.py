"""The order of Debian versions: deb-version(7), "Sorting algorithm"."""

from __future__ import annotations

import functools
import itertools
import re

_Run = tuple[tuple[int, ...], int]  # the weights of some characters that are no digits, then a number
_END: _Run = ((0,), 0)  # what follows the last run, without end: "1.0" is "1.", "1" is "1-0"


@functools.total_ordering
class DebianVersion:
    """A version `[epoch:]upstream[-revision]`, ordered as dpkg orders it."""

    def __init__(self, text: str) -> None:
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "0", text
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        self.text = text
        self._parts: tuple[list[_Run], ...] = (
            [((0,), int(epoch) if epoch.isdigit() else 0)],
            _runs(upstream),
            _runs(revision),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DebianVersion) and _compare(self, other) == 0

    def __lt__(self, other: DebianVersion) -> bool:
        return _compare(self, other) < 0

    __hash__ = None  # type: ignore[assignment]  # equal versions may be written differently


def _compare(one: DebianVersion, other: DebianVersion) -> int:
    for runs, other_runs in zip(one._parts, other._parts, strict=True):
        for run, other_run in itertools.zip_longest(runs, other_runs, fillvalue=_END):
            if run != other_run:
                return -1 if run < other_run else 1
    return 0


def _runs(part: str) -> list[_Run]:
    """Each run's text ends with 0: "~" sorts before the end, letters before all other characters."""
    return [
        ((*(_weight(each) for each in text), 0), int(number or 0))
        for text, number in re.findall(r"([^0-9]*)([0-9]*)", part)
    ]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256
