"""Names in messages: the nearest allowed one, and lists that read as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The name of `allowed` that `word` was probably meant to be, or None where none is close."""
    from difflib import get_close_matches

    names = sorted(allowed)
    folded = {name.casefold(): name for name in reversed(names)}
    found = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def quoted(names: Sequence[str], conjunction: str = "and") -> str:
    """`names` in single quotes as a list in a sentence: 'a', 'b' and 'c'."""
    marked = [f"'{name}'" for name in names]
    if len(marked) < 2:
        return "".join(marked)
    return f"{', '.join(marked[:-1])} {conjunction} {marked[-1]}"


def suggestion(word: str, allowed: Iterable[str], what: str) -> str:
    """The way out of a wrong name: the nearest one, else all of them. `what` names them ("Components")."""
    names = sorted(allowed)
    close = nearest(word, names)
    if close is not None:
        return f"Did you mean '{close}'?"
    return f"{what}: {', '.join(names)}." if names else f"{what}: there are none."
