"""The SCons tool: builders that run steps. `Environment(tools=["rumpel_tool"], toolpath=[...])`

`Step` makes its targets by the step in `STEP`; `CObject` does too, and finds the headers that a C source includes
below `CPPPATH`. Both need `RUMPEL_SESSION` (see `session.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rumpel.build.scanner import make_scanner
from rumpel.build.step import Step
from rumpel.errors import RumpelError


def generate(env: Any) -> None:
    """Add the builders to an environment."""
    from SCons.Action import Action  # type: ignore[import-untyped]
    from SCons.Builder import Builder  # type: ignore[import-untyped]

    action = Action(run_step, strfunction=None)
    env["BUILDERS"]["Step"] = Builder(action=action, source_factory=env.File, target_factory=env.File)
    env["BUILDERS"]["CObject"] = Builder(
        action=action, source_factory=env.File, target_factory=env.File, source_scanner=make_scanner()
    )


def exists(env: Any) -> bool:
    """The builders need nothing that could be missing; a step says what it lacks when it runs."""
    return True


def run_step(target: list[Any], source: list[Any], env: Any) -> None:
    """Run the step of a node. Targets are made beside their places and moved there together at the end, so that a
    build that is killed leaves no half of a file behind that would count as built. What was made while a source was
    written is thrown away: nobody knows what it was made of, and it would be kept as what it was not."""
    step: Step = env["STEP"]
    session = env["RUMPEL_SESSION"]
    wanted = [Path(node.get_abspath()) for node in target]
    partial = [path.with_name(f".{path.name}.part") for path in wanted]
    session.begin(step)
    try:
        for path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
        step.run(session.workspace, [Path(node.get_abspath()) for node in source], partial)
        session.check_unchanged(step, [each.get_abspath() for each in target[0].children() if _is_source(each)])
        for made, path in zip(partial, wanted, strict=True):
            made.replace(path)
    except RumpelError as error:
        session.failed(error)
        raise _stopped(target, error) from None
    except OSError as error:
        failure = session.failed_by_system(step, error)
        raise _stopped(target, failure) from None
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _is_source(node: Any) -> bool:
    from SCons.Node.FS import Base  # type: ignore[import-untyped]

    return isinstance(node, Base) and not node.has_builder()


def _stopped(target: list[Any], error: RumpelError) -> Exception:
    """SCons' error for a step whose own error was shown already. SCons sets the exit status of every error of an
    action to 2; this one keeps that of `error`."""
    from SCons.Errors import BuildError  # type: ignore[import-untyped]

    class StoppedError(BuildError):  # type: ignore[misc]
        @property
        def exitstatus(self) -> int:
            return error.exit_status

        @exitstatus.setter
        def exitstatus(self, status: int) -> None:
            pass

    return StoppedError(node=target, errstr="")
