"""One run of the build, from the words of its command line to its last line. SConstruct is a thin face over this."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from rumpel import places
from rumpel.build import cache, environment, lock, toolchain
from rumpel.build.decide import Decider
from rumpel.build.declare import Declarer, image_folder, literal
from rumpel.build.digests import Digests
from rumpel.build.owner import end_with_owner
from rumpel.build.plans import PlannedImage, known_parts, plan_all, summaries, unpacker
from rumpel.build.progress import BuildProgress
from rumpel.build.report import write_report
from rumpel.build.request import Request, help_text, read_request
from rumpel.build.step import Step, Workspace, code_files
from rumpel.errors import BuildError, RumpelError

OWN_ROOT = places.own_root()
REPORT_SETTING = "RUMPEL_BUILD_REPORT"

_TICK = 10_000_000  # ns; a file's time of change lags by as much
_AGAIN = "Start the build again."


@dataclass
class Session:
    """The state of one run. `failures` are the errors that steps ended with, in the order of their end."""

    root: Path
    request: Request
    progress: BuildProgress
    limit: int
    lock: Any
    workspace: Workspace
    digests: Digests
    failures: list[RumpelError] = field(default_factory=list)
    _checked: set[type[Step]] = field(default_factory=set)
    _visited: set[int] = field(default_factory=set)
    _python_path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))

    def begin(self, step: Step) -> None:
        """A step runs. SCons takes back what SConstruct did to Python's path before any step runs, but steps import
        what they need when they need it; so the path is set again."""
        sys.path += [folder for folder in self._python_path if folder not in sys.path]
        self.progress.begin(step.verb, step.subject)

    def failed(self, error: RumpelError) -> None:
        """A step ended with an error: show it whole."""
        self.failures.append(error)
        self.progress.error(error_text(error))

    def failed_by_system(self, step: Step, error: OSError) -> RumpelError:
        """A step ended because of the machine: no space, no permission."""
        where = f" '{error.filename}'" if error.filename else ""
        failure = BuildError(
            f"{step.verb} {step.subject} failed at{where or ' a file'}: {error.strerror or error}.",
            hint="Check the disk's space and the permissions of the folder 'build' and of the cache.",
        )
        self.failed(failure)
        return failure

    def check_code(self, kind: type[Step]) -> None:
        """Raises BuildError where a step's code was written since this build began: it may run the old one."""
        if kind in self._checked:
            return
        self._checked.add(kind)
        for path in code_files(kind):
            self.digests.look(path)
            if Path(path).stat().st_ctime_ns > environment.STARTED - _TICK:
                raise BuildError(f"The file '{path}' was changed while the build began.", hint=_AGAIN)

    def check_unchanged(self, step: Step, sources: Sequence[str]) -> None:
        """Raises BuildError where a file that a step has used, or its code, was written since the build read it first:
        what it made belongs neither to the old content nor to the new one."""
        changed = self.digests.changed([*sources, *code_files(type(step))])
        if changed:
            name = os.path.relpath(changed[0], self.root) if changed[0].startswith(f"{self.root}/") else changed[0]
            raise BuildError(
                f"The file '{name}' was changed while the build used it: {step.verb} {step.subject}.", hint=_AGAIN
            )

    @cached_property
    def decider(self) -> Decider:
        """What tells SCons about change."""
        return Decider(self.digests)

    def declare(self, env: Any) -> list[Any]:
        """Plan every composition that was asked for, and declare its image; the nodes of the manifests."""
        env["RUMPEL_SESSION"] = self
        declarer = Declarer(env=env, session=self, workspace=self.workspace, tools=toolchain.detect())
        planned: Sequence[PlannedImage] = plan_all(self.root, self.workspace.others, self.request, self.progress.say)
        nodes = [declarer.plan(image.plan) for image in planned]
        self.progress.total = declarer.count
        atexit.register(self._finish, [image_folder(image.plan) for image in planned])
        return nodes

    @property
    def cache(self) -> str:
        """Where built pieces are kept for all builds of this machine."""
        return literal(places.build_cache_dir())

    @property
    def signatures(self) -> str:
        """Where SCons keeps what everything was built from. SCons takes a relative path from the folder of SConstruct,
        which is Rumpel's own: projects would read and replace each other's."""
        return literal(self.root / "build/.signatures")

    @staticmethod
    def toolpath(root: Path) -> str:
        """Where SCons finds `rumpel_tool`; `root` is Rumpel's own folder, without the code where it is installed."""
        checkout = root / "src/rumpel/build"
        return literal(checkout if checkout.is_dir() else Path(__file__).resolve().parent)

    def visit(self, node: Any) -> None:
        """SCons looks at a node, perhaps not for the first time; a step counts once, with its first target."""
        executor = node.get_executor(create=0) if node.has_builder() else None
        if executor is not None and id(executor) not in self._visited:
            self._visited.add(id(executor))
            self.progress.visit()

    def _finish(self, folders: list[str]) -> None:
        from SCons.Script import GetBuildFailures, GetOption  # type: ignore[import-untyped]

        self.progress.close()
        if not GetOption("no_exec"):
            with contextlib.suppress(OSError):  # the next build reads the files again
                self.digests.save()
        if self.progress.ran:
            with contextlib.suppress(OSError):  # the image is built; a cache that cannot be written stays as it is
                cache.prune(places.build_cache_dir(), self.limit)
        if GetBuildFailures() or self.failures:
            write_report(os.environ.get(REPORT_SETTING), (), self.failures)
        elif not (GetOption("clean") or GetOption("no_exec")):
            built = [folder for folder in folders if (self.root / folder / "manifest.json").is_file()]
            write_report(os.environ.get(REPORT_SETTING), built, ())
            for folder in built:
                self.progress.say(f"{folder} is {'built' if self.progress.ran else 'up to date'}.")


def open_session(root: Path, arguments: Sequence[tuple[str, str]], targets: Sequence[str]) -> Session | str:
    """Read the command line and prepare the build: its lock, its cache. The help text where nothing is asked for."""
    others = () if root == OWN_ROOT else (OWN_ROOT,)
    known = known_parts(root, others)
    request = read_request(arguments, targets, known)
    if request is None:
        return help_text(known, summaries(root, others, known))
    limit = cache.limit_from(os.environ.get(cache.LIMIT_SETTING))
    progress = BuildProgress(sys.stdout, verbose=request.verbose)
    if REPORT_SETTING in os.environ:
        end_with_owner()
    held = lock.hold(root / "build", progress.say)
    cache.prepare(places.build_cache_dir())
    workspace = Workspace(
        root=root,
        others=others,
        unpack=unpacker(),
        show_command=progress.command,
        show_progress=progress.advance,
    )
    return Session(root, request, progress, limit, held, workspace, Digests(root / "build/.digests"))


def help_of(root: Path) -> str:
    """The text of `scons -h`."""
    others = () if root == OWN_ROOT else (OWN_ROOT,)
    known = known_parts(root, others)
    return help_text(known, summaries(root, others, known))


def error_text(error: RumpelError) -> str:
    """An error as it is shown: the sentence, the tool's own words whole, the way out."""
    parts = [str(error)]
    if isinstance(error, BuildError) and error.output:
        parts = [part for part in (error.message, error.output, error.hint) if part]
    return "\n".join(parts)


class WithoutNoise:
    """Standard error without SCons' own words about a failure that was shown already."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if text.startswith("scons: *** [") and text.rstrip().endswith("]"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def end_with(error: RumpelError) -> None:
    """Show an error from before the first step, and end with its status."""
    sys.stderr.write(error_text(error) + "\n")
    write_report(os.environ.get(REPORT_SETTING), (), [error])
    raise SystemExit(error.exit_status)
