"""Instances without a terminal: a supervisor process owns QEMU and outlives the command that started it.

    started = start_detached(plan, image, options)      # returns when the machine is ready
    print(started.record.urls["http"])

The supervisor is `python -m rumpel.machine.detached`, in a session of its own: it reads what to start from its
standard input, answers with one line of JSON once the machine is ready or has failed, and stays until it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

import rumpel
from rumpel import errors
from rumpel.errors import Evidence, InstanceError, MachineError, RumpelError, VolumeError
from rumpel.machine.emulator import asked_qemu
from rumpel.machine.instance import Image, Instance, Options, launch
from rumpel.machine.registry import Seen, find_instance
from rumpel.places import cache_dir, state_dir
from rumpel.resolve.plan import Frozen, Plan


class Job(Frozen, frozen=True, kw_only=True):
    """What the supervisor is to start."""

    plan: Plan
    image: Image
    options: Options


class Failure(Frozen, frozen=True, kw_only=True):
    """An error on its way to the process that asked."""

    kind: str
    message: str
    hint: str
    evidence: Evidence | None = None
    volume: str = ""
    instance: str = ""


class Answer(Frozen, frozen=True, kw_only=True):
    """How the start went; without `failure` the machine is ready, or has ended where readiness is its end."""

    failure: Failure | None = None


def start_detached(plan: Plan, image: Image, options: Options) -> Seen:
    """Start a machine that stays; returns it once it is ready. Raises what `instance.start` raises."""
    source = str(Path(rumpel.__file__).parent.parent)
    search = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    # It works in another folder: places that are named relative to this one are named in full.
    environment = dict(os.environ, PYTHONPATH=search, RUMPEL_CACHE=str(cache_dir()), RUMPEL_STATE=str(state_dir()))
    with subprocess.Popen(
        [sys.executable, "-m", "rumpel.machine.detached"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment, start_new_session=True, cwd="/",
    ) as supervisor:  # fmt: skip
        job = Job(plan=plan, image=_absolute(image), options=_settled(options))
        try:
            assert supervisor.stdin is not None and supervisor.stdout is not None and supervisor.stderr is not None
            # Arguments may hold bytes that are not UTF-8 (as surrogates, PEP 383): only escapes carry them.
            supervisor.stdin.write(json.dumps(msgspec.to_builtins(job)).encode())
            supervisor.stdin.close()
            line = supervisor.stdout.readline()
        except BaseException:
            supervisor.kill()  # and QEMU with it
            raise
        if not line:
            said = supervisor.stderr.read().decode("utf-8", "replace")
            raise RuntimeError(f"the supervisor of an instance ended without an answer:\n{said}")
        answer = msgspec.json.decode(line, type=Answer, dec_hook=lambda kind, value: kind(value))
        if answer.failure is not None:
            raise _raised(answer.failure)
        # It goes on without us: what Popen would wait for at the end of this block is the supervisor's end.
        supervisor.returncode = 0
    return find_instance(options.name or plan.composition)


def _settled(options: Options) -> Options:
    """Paths that mean the same in another working directory."""
    volumes = tuple(
        msgspec.structs.replace(volume, file=str(Path(volume.file).absolute()) if volume.file else "")
        for volume in options.settings.volumes
    )
    return msgspec.structs.replace(
        options,
        volumes=str(Path(options.volumes).absolute()) if options.volumes else "",
        record=str(Path(options.record).absolute()) if options.record else "",
        qemu=asked_qemu(options.qemu),
        settings=msgspec.structs.replace(options.settings, volumes=volumes),
    )


def _absolute(image: Image) -> Image:
    def absolute(path: str) -> str:
        return str(Path(path).absolute()) if path else ""

    return Image(
        kernel=absolute(image.kernel),
        rootfs=absolute(image.rootfs),
        disk=absolute(image.disk),
        firmware=absolute(image.firmware),
        project=absolute(image.project or "."),
    )


def _failure_of(error: RumpelError) -> Failure:
    return Failure(
        kind=type(error).__name__,
        message=error.message,
        hint=error.hint,
        evidence=error.evidence if isinstance(error, MachineError) else None,
        volume=str(error.volume or "") if isinstance(error, VolumeError) else "",
        instance=error.instance if isinstance(error, InstanceError) else "",
    )


def _raised(failure: Failure) -> RumpelError:
    """The error that `failure` was, of the same kind."""
    match failure.kind:
        case "VolumeError":
            volume = Path(failure.volume) if failure.volume else None
            return VolumeError(failure.message, hint=failure.hint, volume=volume)
        case "InstanceError":
            return InstanceError(failure.message, hint=failure.hint, instance=failure.instance)
        case "HostError":
            return errors.HostError(failure.message, hint=failure.hint)
        case "UsageError":
            return errors.UsageError(failure.message, hint=failure.hint)
    return MachineError(failure.message, hint=failure.hint, evidence=failure.evidence)


class _ToldToStop(BaseException):
    """SIGTERM came."""


def _told(number: int, frame: object) -> NoReturn:
    raise _ToldToStop


def supervise() -> int:
    """The supervisor: start what standard input asks for, answer, own it to its end."""
    job = msgspec.convert(json.loads(sys.stdin.buffer.read()), type=Job)
    instance: Instance | None = None
    signal.signal(signal.SIGTERM, _told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        try:
            instance = launch(job.plan, job.image, job.options)
            instance.wait_ready()
        except RumpelError as error:
            _answer(Answer(failure=_failure_of(error)))
            return error.exit_status
        except OSError as error:
            where = f"'{error.filename}': " if error.filename else ""
            failure = errors.HostError(
                f"The machine could not be started: {where}{error.strerror}.",
                hint="Check the space on the disk and the permissions there.",
            )
            _answer(Answer(failure=_failure_of(failure)))
            return failure.exit_status
        _answer(Answer())
        with contextlib.suppress(RumpelError):  # how it ended stands in its record
            return instance.wait()
        return errors.MachineError.exit_status
    except _ToldToStop:
        if instance is not None:
            instance.stop()
        return 0
    finally:
        if instance is not None:
            instance.close()


def _answer(answer: Answer) -> None:
    """Answer, and let go of the pipes of the process that asked."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(answer, enc_hook=str) + b"\n")
        sys.stdout.buffer.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(supervise())
