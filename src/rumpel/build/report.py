"""How a build in another process tells how it ended: a file with what it built, or with its errors, whole."""

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


class Report(Frozen, frozen=True):
    """The end of a build: the images' folders relative to the project's root, or what went wrong."""

    directories: tuple[str, ...] = ()
    errors: tuple[ReportedError, ...] = ()

    def failures(self) -> tuple[RumpelError, ...]:
        """The errors as they were, of their own kinds."""
        return tuple(_error(entry) for entry in self.errors)


def write_report(path: str | None, directories: Sequence[str], failures: Sequence[RumpelError]) -> None:
    """Write the report to `path`; nothing where there is no path."""
    if path:
        report = Report(directories=tuple(directories), errors=tuple(_reported(error) for error in failures))
        Path(path).write_bytes(msgspec.json.encode(report))


def read_report(path: Path) -> Report:
    """The report at `path`; an empty one where the build ended before it could write it."""
    return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else Report()


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
