"""Sizes as people write them: a whole number with M (MiB) or G (GiB)."""

from __future__ import annotations

import re

from rumpel.errors import UsageError

_SIZE = re.compile(r"([1-9][0-9]{0,6})([MG])")


def mebibytes(text: str) -> int:
    """`128M` -> 128, `1G` -> 1024. Raises UsageError for anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"'{text}' is not a size.", hint="A size is a whole number with M (MiB) or G (GiB), such as 128M."
        )
    return int(match[1]) * (1024 if match[2] == "G" else 1)


def size_text(size: int) -> str:
    """A number of MiB as it is written in a composition."""
    return f"{size // 1024}G" if size % 1024 == 0 else f"{size}M"
