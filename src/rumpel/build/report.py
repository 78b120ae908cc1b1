"""How a build in another process tells what it failed with: a file with the errors, whole and with their kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from rumpel import errors
from rumpel.errors import BuildError, ModelError, RumpelError, SourceError
from rumpel.resolve.plan import Frozen


class ReportedProblem(Frozen, frozen=True):
    """A `Problem` in plain data."""

    path: str
    line: int
    column: int
    message: str
    hint: str


class ReportedError(Frozen, frozen=True):
    """An error in plain data. `kind` is the name of its class."""

    kind: str
    message: str
    hint: str = ""
    output: str = ""
    source: str = ""
    problems: tuple[ReportedProblem, ...] = ()


def write_report(path: str | None, failures: Sequence[RumpelError]) -> None:
    """Write `failures` to `path`; nothing where there is no path."""
    if path:
        Path(path).write_bytes(msgspec.json.encode([_reported(error) for error in failures]))


def read_report(path: Path) -> tuple[RumpelError, ...]:
    """The errors in the file at `path`; none where it holds nothing."""
    data = path.read_bytes() if path.exists() else b""
    return tuple(_error(entry) for entry in msgspec.json.decode(data, type=list[ReportedError])) if data else ()


def _reported(error: RumpelError) -> ReportedError:
    return ReportedError(
        kind=type(error).__name__,
        message=error.message,
        hint=error.hint,
        output=error.output if isinstance(error, BuildError) else "",
        source=error.source if isinstance(error, SourceError) else "",
        problems=tuple(
            ReportedProblem(
                path=str(problem.location.path),
                line=problem.location.line,
                column=problem.location.column,
                message=problem.message,
                hint=problem.hint,
            )
            for problem in (error.problems if isinstance(error, ModelError) else ())
        ),
    )


def _error(entry: ReportedError) -> RumpelError:
    if entry.kind == "ModelError":
        return ModelError(
            [
                errors.Problem(errors.Location(Path(each.path), each.line, each.column), each.message, each.hint)
                for each in entry.problems
            ]
        )
    if entry.kind == "SourceError":
        return SourceError(entry.message, hint=entry.hint, source=entry.source)
    if entry.kind == "BuildError":
        return BuildError(entry.message, hint=entry.hint, output=entry.output)
    kind = getattr(errors, entry.kind, RumpelError)
    made: RumpelError = kind(entry.message, hint=entry.hint)
    return made
