"""A time on the command line."""

from __future__ import annotations

import math
from typing import Any

import click

LONGEST = 365 * 86400.0


class Seconds(click.FloatRange):
    """Seconds, up to a year: what every clock of the system can wait for. `nan` and `inf` are none."""

    def __init__(self, *, more_than_none: bool = False) -> None:
        super().__init__(0, LONGEST, min_open=more_than_none)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"'{value}' is not a number of seconds.", param, ctx)
        return seconds
