"""Overlap of modalias patterns, held to what the patterns match."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpel.resolve.modalias import overlap


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("virtio:d00000001v*", "virtio:d00000002v*", False),
        ("virtio:d00000001v*", "virtio:d*", True),
        ("pci:v*d1*", "pci:v1AF4*", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*", "", True),
        ("", "", True),
        ("?", "*", True),
        ("?", "", False),
        ("a*b", "*c", False),
        ("a*", "*a", True),
    ],
)
def test_patterns_overlap(first: str, second: str, expected: bool) -> None:
    assert overlap(first, second) is expected
    assert overlap(second, first) is expected


PATTERN = st.text(alphabet="ab*?", max_size=6)


@given(PATTERN, PATTERN, st.text(alphabet="ab", max_size=6))
def test_patterns_that_match_one_string_overlap(first: str, second: str, string: str) -> None:
    if fnmatchcase(string, first) and fnmatchcase(string, second):
        assert overlap(first, second)


def strings(length: int) -> list[str]:
    found = [""]
    for _ in range(length):
        found += [each + letter for each in found[-(2 ** len(found[-1])) :] for letter in "ab"]
    return found


@given(st.text(alphabet="ab*?", max_size=3), st.text(alphabet="ab*?", max_size=3))
def test_patterns_that_overlap_match_one_string(first: str, second: str) -> None:
    # Two patterns of three signs that overlap at all have a common string of at most six letters.
    both = any(fnmatchcase(each, first) and fnmatchcase(each, second) for each in strings(6))
    assert overlap(first, second) is both
