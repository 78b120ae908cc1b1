"""A step: one piece of work that turns files into files. Steps know nothing of SCons; SCons knows only steps.

A step is pure data, so its signature is its own JSON form together with the digest of the code that runs it: a
changed plan or a changed builder rebuilds exactly the pieces that it touches. What a step needs from this machine
and must not be part of a signature (where the project lies, where sources are unpacked) is in the `Workspace`.
"""

from __future__ import annotations

import hashlib
import inspect
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import msgspec

from rumpel.errors import BuildError, HostError
from rumpel.resolve.plan import Frozen, Source

# Tools see this environment and PATH, nothing else of the user's: 2020-01-01 in UTC is an arbitrary fixed moment.
FIXED_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "SOURCE_DATE_EPOCH": "1577836800", "HOME": "/nonexistent"}
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DEBIAN_PACKAGES = {
    "gcc": "gcc",
    "x86_64-linux-gnu-gcc": "gcc",
    "x86_64-linux-gnu-ar": "binutils",
    "x86_64-linux-gnu-ld": "binutils",
    "x86_64-linux-gnu-nm": "binutils",
    "x86_64-linux-gnu-strip": "binutils",
    "make": "make",
    "tclsh": "tcl",
    "lz4": "lz4",
    "zstd": "zstd",
    "mkfs.erofs": "erofs-utils",
    "qemu-img": "qemu-utils",
    "xz": "xz-utils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
}


class TreePath(Frozen, frozen=True):
    """A path inside an unpacked source. The source's digests make it safe to keep in a signature."""

    source: Source
    path: str


class ProjectPath(Frozen, frozen=True):
    """A path relative to the project's root; built files are below `build/`."""

    project_path: str


AnyPath = TreePath | ProjectPath


@dataclass(frozen=True)
class Workspace:
    """Where a build happens on this machine.

    `root` is the folder that holds `build/`; parts that it lacks are looked for in `others` (Rumpel's own folder,
    where the project is another one). `unpack` answers with the folder of an unpacked source, and may be called from
    several threads. `show_progress` shows how far a long step is: what it does, how many of it
    are done, and about how many there are.
    """

    root: Path
    unpack: Callable[[Source], Path]
    others: tuple[Path, ...] = ()
    show_command: Callable[[Sequence[str]], None] = lambda command: None
    show_progress: Callable[[str, int, int], None] = lambda what, done, total: None

    def locate(self, path: str) -> Path:
        """The absolute path of what a plan names relative to the root that holds it; it need not exist."""
        for root in (self.root, *self.others):
            if (root / path).exists():
                return root / path
        return self.root / path

    def resolve(self, path: AnyPath) -> Path:
        """The real, absolute path."""
        if isinstance(path, TreePath):
            return self.unpack(path.source) / path.path
        return self.locate(path.project_path)

    def run(self, command: Sequence[str], *, cwd: Path | None = None, extra: Mapping[str, str] | None = None) -> str:
        """Run a tool in the fixed environment; its output, both streams in one. Raises ToolError or HostError."""
        self.show_command(command)
        return run_tool(command, cwd=cwd or self.root, extra=extra)


class ToolError(Exception):
    """A tool ended with a status other than 0. Steps turn it into a BuildError that names the component."""

    def __init__(self, command: Sequence[str], status: int, output: str) -> None:
        super().__init__(f"{command[0]} ended with status {status}")
        self.command = tuple(command)
        self.status = status
        self.output = output


def run_tool(command: Sequence[str], *, cwd: Path, extra: Mapping[str, str] | None = None) -> str:
    """Run `command` in the fixed environment without input; its output, standard error included."""
    environment = {"PATH": TOOL_PATH, **FIXED_ENVIRONMENT, **(extra or {})}
    try:
        done = subprocess.run(
            list(command),
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise missing_tool(command[0]) from error
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise ToolError(command, done.returncode, output)
    return output


def missing_tool(program: str) -> HostError:
    """The error for a program that this machine lacks, with the package that brings it where that is known."""
    package = _DEBIAN_PACKAGES.get(program)
    hint = f"Install it: apt-get install {package}" if package else "Install it, or correct the command's name."
    return HostError(f"The program '{program}' is missing.", hint=hint)


class Step(Frozen, frozen=True):
    """The base of all steps. `part` names who the work is for ("component/web"), for messages."""

    verb: ClassVar[str] = "RUN"
    part: str

    @property
    def subject(self) -> str:
        """What the progress line says after the verb."""
        return self.part

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        """Make `targets` out of `sources`; raises BuildError or HostError."""
        raise NotImplementedError

    def signature(self) -> str:
        """Changes exactly where the step's data or its code changes; the same on every machine."""
        kind = type(self)
        return f"{kind.__name__} {code_digest(kind)} {msgspec.json.encode(self, order='sorted').decode()}"


@cache
def code_files(kind: type) -> tuple[str, ...]:
    """The files that define a step and its bases, and those that its `code` names, relative to this folder: all that
    decides what it makes. Absolute paths, sorted."""
    files = {inspect.getfile(base) for base in kind.__mro__ if base.__module__.startswith("rumpel.build")}
    files |= {str((Path(__file__).parent / name).resolve()) for name in getattr(kind, "code", ())}
    return tuple(sorted(files))


@cache
def code_digest(kind: type) -> str:
    """Of a step's `code_files`."""
    digest = hashlib.sha256()
    for name in code_files(kind):
        digest.update(Path(name).read_bytes())
    return digest.hexdigest()[:16]


def part_name(part: str) -> str:
    """`component/web` as a person reads it: component 'web'."""
    kind, _, name = part.partition("/")
    return f"{kind} '{name}'"


def last_lines(text: str, count: int = 40) -> str:
    """The end of a tool's output."""
    lines = text.rstrip("\n").splitlines()
    return "\n".join(lines[-count:])


def tool_error(message: str, failure: ToolError, *, hint: str = "") -> BuildError:
    """A BuildError that shows the tool's own words whole."""
    return BuildError(message, hint=hint, output=failure.output.rstrip("\n"))
