"""What commands print on standard output: JSON for programs, tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import click


def echo_json(value: object) -> None:
    """Any msgspec-encodable value as JSON: keys in order, two spaces of indentation, one newline."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(msgspec.to_builtins(value), order="sorted"), indent=2))


def echo_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them; the last one ragged."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
