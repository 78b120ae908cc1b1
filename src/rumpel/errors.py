"""The errors that Rumpel reports to its users: one tree, one kind for each room.

Everything a user can cause derives from `RumpelError` and is printed as whole sentences without a traceback;
anything else is a bug in Rumpel and shows one. Each kind keeps what it knows as attributes, so that a program
that uses the Python API never parses a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Location:
    """A place in a file. `line` and `column` count from 1; 0 means the file as a whole."""

    path: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if self.line == 0:
            return str(self.path)
        return f"{self.path}:{self.line}:{self.column}"


_CONTROLS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """`text` from an untrusted machine, for a terminal: control characters but newline and tab are replaced, so that
    none moves the cursor, sets a title or types an answer."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)


class RumpelError(Exception):
    """The base of all errors that are not bugs.

    `message` says what happened and why, `hint` what to do about it (whole sentences; may be empty),
    `exit_status` is what the command line ends with.
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(RumpelError):
    """The command's words are wrong: an unknown name, option or value."""

    exit_status = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a description file: where, what, and the way out."""

    location: Location
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}"
        return f"{text} {self.hint}" if self.hint else text


class ModelError(RumpelError):
    """A description file (composition, component, driver, kernel, machine, lock) is wrong. Holds every problem."""

    exit_status = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ResolveError(RumpelError):
    """The parts do not fit together: a need that is unsatisfied, ambiguous or circular."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str = "", parts: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.parts = tuple(parts)


class SourceError(RumpelError):
    """Something that a plan pins could not be fetched, or is not what was pinned."""

    exit_status = 3

    def __init__(self, message: str, *, hint: str = "", source: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source


class BuildError(RumpelError):
    """A plan could not be built into an image. `output` holds the failed tool's own words."""

    exit_status = 3

    def __init__(self, message: str, *, hint: str = "", output: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


class HostError(RumpelError):
    """This machine lacks something: a program, a package, disk space, a permission."""

    exit_status = 4


class VolumeError(RumpelError):
    """A volume could not be created, checked or taken into use. What it holds was not touched."""

    exit_status = 4

    def __init__(self, message: str, *, hint: str = "", volume: Path | None = None) -> None:
        super().__init__(message, hint=hint)
        self.volume = volume


class InstanceError(RumpelError):
    """An instance could not be started, found or stopped."""

    exit_status = 4

    def __init__(self, message: str, *, hint: str = "", instance: str = "") -> None:
        super().__init__(message, hint=hint)
        self.instance = instance


@dataclass(frozen=True)
class Evidence:
    """What is known about a machine that failed.

    `console` is the end of the guest's console, `stderr` QEMU's own words, `command` a line that can be pasted,
    `qemu_status` QEMU's exit status (negative: the signal that ended it; None: it still ran), `guest_status` the
    program's own exit status where the guest reported one.
    """

    console: str = ""
    stderr: str = ""
    command: str = ""
    qemu_status: int | None = None
    guest_status: int | None = None
    files: tuple[Path, ...] = field(default_factory=tuple)


class MachineError(RumpelError):
    """A running machine failed: QEMU ended, the guest panicked, or it never became ready. Holds the evidence as
    it came; printed it is free of control characters."""

    exit_status = 5

    def __init__(self, message: str, *, hint: str = "", evidence: Evidence | None = None) -> None:
        super().__init__(printable(message), hint=hint)
        self.evidence = evidence or Evidence()

    def __str__(self) -> str:
        parts = [self.message]
        if self.evidence.stderr.strip():
            parts.append("QEMU said:\n" + _indent(printable(self.evidence.stderr)))
        if self.evidence.console.strip():
            parts.append("The console ended with:\n" + _indent(printable(self.evidence.console)))
        if self.evidence.command:
            parts.append("To start it by hand:\n" + _indent(self.evidence.command))
        if self.hint:
            parts.append(self.hint)
        return "\n".join(parts)


def _indent(text: str) -> str:
    return "\n".join("    " + line for line in text.strip("\n").splitlines())
