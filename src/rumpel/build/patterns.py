"""Patterns of file names, as description files have them."""

from __future__ import annotations

import re
from functools import cache

_WORDS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for `fullmatch`: `*` is any characters but "/", `**` any, `?` one."""
    return re.compile("".join(_WORDS.get(each, re.escape(each)) for each in re.findall(r"\*\*|.", pattern)))


def is_matched(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of `patterns` matches a file's relative name. One without "/" is of the last part alone."""
    last = name.rpartition("/")[2]
    return any(compiled(pattern).fullmatch(name if "/" in pattern else last) for pattern in patterns)
