"""Debian's control format (deb822): paragraphs of `Field: value` with continuation lines. See deb822(5)."""

from __future__ import annotations

from collections.abc import Iterator


class Paragraph:
    """One paragraph. Field names are looked up without regard to case; values keep their continuation lines."""

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self.fields = fields
        self._by_name = {name.lower(): value for name, value in fields}

    def get(self, name: str) -> str:
        """The value of a field, stripped; empty where it is absent."""
        return self._by_name.get(name.lower(), "").strip()

    def words(self, name: str) -> tuple[str, ...]:
        """A field of words separated by white space."""
        return tuple(self.get(name).split())


def paragraphs(text: str) -> Iterator[Paragraph]:
    """All paragraphs of `text`. Comment lines (`#` in the first column) are left out; so are lines that are neither
    a field nor a continuation."""
    fields: list[tuple[str, str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield Paragraph(tuple(fields))
            fields = []
        elif line[0] in " \t":
            if fields:
                name, value = fields[-1]
                fields[-1] = (name, f"{value}\n{line}")
        else:
            name, colon, value = line.partition(":")
            if colon:
                fields.append((name.strip(), value.strip()))
