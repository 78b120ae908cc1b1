"""Modalias patterns: whether two of them can match the same device."""

from __future__ import annotations


def overlap(first: str, second: str) -> bool:
    """Whether some string matches both patterns; `*` stands for any characters, `?` for one."""
    # reachable[j]: the part of `first` read so far and second[:j] can match one common string.
    reachable = [False] * (len(second) + 1)
    reachable[0] = True
    _skip_stars(reachable, second)
    for letter in first:
        following = [False] * (len(second) + 1)
        following[0] = letter == "*" and reachable[0]
        for column, other in enumerate(second, start=1):
            if letter == "*" or other == "*":
                # A star takes nothing, or one more of what the other pattern asks for.
                following[column] = (letter == "*" and (reachable[column] or following[column - 1])) or (
                    other == "*" and (following[column - 1] or reachable[column])
                )
            else:
                following[column] = reachable[column - 1] and (letter == other or "?" in (letter, other))
        reachable = following
    return reachable[-1]


def _skip_stars(reachable: list[bool], pattern: str) -> None:
    for column, letter in enumerate(pattern, start=1):
        if letter != "*":
            break
        reachable[column] = True
