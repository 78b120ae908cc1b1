"""What pytest shows of an error of Rumpel's: the test's own lines, and once what is known about the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from rumpel.errors import Evidence, MachineError, RumpelError
from rumpel.machine.failure import hint_for

OWN_PACKAGE = Path(__file__).parents[1]


def leave_out_own_frames(failure: pytest.ExceptionInfo[BaseException]) -> None:
    """An error that says what is wrong with the machine ends at the test's line; a bug of ours keeps its frames."""
    if not isinstance(failure.value, RumpelError):
        return
    for entry in failure.traceback:
        if Path(entry.path).is_relative_to(OWN_PACKAGE):
            # What pytest asks of a module whose frames it may hide.
            entry.frame.f_globals["__tracebackhide__"] = _says_what_is_wrong


def _says_what_is_wrong(failure: pytest.ExceptionInfo[BaseException]) -> bool:
    return isinstance(failure.value, RumpelError)


@contextlib.contextmanager
def evidence_left_out(error: BaseException, commands: Collection[str]) -> Iterator[None]:
    """Meanwhile the error, and those that it came from, say their own sentence only where the evidence is of a machine
    with one of these command lines: a section of the report tells it, by files that outlive the machine."""
    taken: list[tuple[MachineError, Evidence, str]] = []
    for each in _chain(error):
        if isinstance(each, MachineError) and each.evidence.command in commands:
            taken.append((each, each.evidence, each.hint))
            if each.hint == hint_for(each.evidence):
                each.hint = ""
            each.evidence = Evidence()
    try:
        yield
    finally:
        for each, evidence, hint in taken:
            each.evidence, each.hint = evidence, hint


def add_section(report: pytest.TestReport, title: str, text: str) -> None:
    """Put a section into a failure's own text, which JUnit's file has too; pytest's other sections it leaves out."""
    add = getattr(report.longrepr, "addsection", None)  # only what pytest makes of an exception has it
    if add is not None:
        add(title, text)
    else:
        report.sections.append((title, text))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and every one that a traceback of it tells of."""
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [cause for cause in (each.__cause__, each.__context__) if cause is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
