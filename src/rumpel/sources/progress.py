"""What fetching tells a person while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One thing being done: `text` is a short phrase ("fetching musl-dev 1.2.3-1").

    `done` and `total` are bytes; `total` is 0 where it is not known. The same `text` may come many times, with `done`
    growing; a new `text` means that the step before it has ended.
    """

    text: str
    done: int = 0
    total: int = 0


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """The progress of nobody watching."""
