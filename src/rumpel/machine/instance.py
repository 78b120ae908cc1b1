"""Instances: one running image each, from its start to its end.

    instance = launch(plan, image, Options(name="web", ports=(("http", 8080),)))
    with instance:                       # killed and cleaned up on the way out, if it still runs
        instance.console.follow(sys.stdout.buffer.write)
        instance.wait_ready()
        print(instance.url("http"))
        status = instance.wait()         # the guest program's exit status

`start` is `launch` and `wait_ready` in one. Whatever ends this process ends QEMU too.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from rumpel.errors import InstanceError, MachineError
from rumpel.machine import failure
from rumpel.machine.accelerator import Choice, choose_accelerator
from rumpel.machine.backlog import raise_backlog
from rumpel.machine.command import ByHand, Inherited, Launch, Ram, pasteable, qemu_command
from rumpel.machine.console import Console, ConsoleTimeoutError, Found
from rumpel.machine.emulator import find_qemu
from rumpel.machine.monitor import Event, MonitorClosedError
from rumpel.machine.options import Image, Options, image_of
from rumpel.machine.ports import parse_forwards, refused_port
from rumpel.machine.preparation import asked_accelerator, launch_of, place_of, prepare, unknown_port, write_settings
from rumpel.machine.process import start_time_of
from rumpel.machine.readiness import wait_until_ready, watch
from rumpel.machine.recording import begin_recording, finish_recording
from rumpel.machine.registry import Claim, Record, Stopped, instance_directory, owner_socket
from rumpel.machine.running import Running
from rumpel.machine.snapshots import make_scratch
from rumpel.machine.symbols import with_names
from rumpel.machine.volumes import ensure_volume, take_volumes
from rumpel.resolve.plan import Plan

__all__ = ["Image", "Instance", "Options", "Stats", "image_of", "launch", "print_command", "start"]

_UNMOUNTING = 2  # seconds of a stop that the guest has for its volumes, after its program's end
_LONGEST_STOP = 86400.0
_LOG_WRITTEN = 10.0  # seconds that QEMU gets to end a recording


@dataclass(frozen=True)
class Stats:
    """What an instance has used: QEMU's CPU time in seconds, its resident memory in bytes (the peak once it ended),
    and its timeline, seconds since the start of QEMU: `console` (first byte), `start`, `ready`, `end`."""

    cpu: float
    resident: int
    marks: Mapping[str, float]


def print_command(plan: Plan, image: Image, options: Options) -> str:
    """The line that starts this machine by hand, its console on the terminal. Starts nothing.

    The files that the line names are made where they are missing: the settings and the volumes.
    """
    prepared = prepare(plan, image, options)
    plan = prepared.plan
    directory = instance_directory(options.name or plan.composition)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = directory / "settings.by-hand"
    write_settings(settings, prepared.settings)
    place = place_of(plan, image, options)
    volumes = {volume.name: str(ensure_volume(volume, place)) for volume in plan.volumes}
    qemu = find_qemu(options.qemu, plan)
    choice = choose_accelerator(asked_accelerator(options), qemu)
    return pasteable(qemu_command(plan, launch_of(image, options, qemu, choice, settings, volumes), ByHand()))


def start(plan: Plan, image: Image, options: Options) -> Instance:
    """Start the machine and wait until it is ready; on any failure nothing is left running."""
    instance = launch(plan, image, options)
    try:
        instance.wait_ready()
    except BaseException:
        instance.close()
        raise
    return instance


def launch(plan: Plan, image: Image, options: Options, ram: Ram | None = None) -> Instance:
    """Start the machine and return at once, its ports known. With `ram` its memory is in that file (see `template`).

    Raises InstanceError (the name is taken), VolumeError, HostError (QEMU missing, a port in use), UsageError
    (what was asked for does not fit the plan, or the image not into the memory), MachineError (QEMU ended at once).
    """
    prepared = prepare(plan, image, options)
    plan = prepared.plan
    qemu = find_qemu(options.qemu, plan)
    choice = choose_accelerator(asked_accelerator(options), qemu)
    with contextlib.ExitStack() as undo:
        claim = Claim(options.name or plan.composition, Path(options.directory) if options.directory else None)
        undo.callback(claim.release)
        settings = claim.directory / "settings"
        write_settings(settings, prepared.settings)
        if prepared.confidential:  # however this ends
            undo.callback(write_settings, settings, prepared.open_settings)
        layers = dict(options.layers)
        taken, remarks = (
            ({name: Path(files[0]) for name, files in layers.items()}, ())
            if layers
            else take_volumes(plan, place_of(plan, image, options), undo)
        )
        volumes = {name: str(path) for name, path in taken.items()}
        how = replace(launch_of(image, options, qemu, choice, settings, volumes), ram=ram)
        if options.record:
            folder = Path(options.record)
            how = replace(
                how, counted=begin_recording(folder, plan, how, options.seed, prepared.settings, image.project)
            )
        if options.scratch:
            written = {volume.name: taken[volume.name] for volume in plan.volumes if not volume.read_only}
            above = {name: files[1:] for name, files in layers.items()}
            how = replace(how, scratch=make_scratch(Path(options.scratch), written, qemu, above))
        instance = Instance(plan, options, how, choice, claim, undo.pop_all())
    try:
        instance._update(remarks=remarks)
        if prepared.confidential:
            instance._wait_until_read()
            write_settings(settings, prepared.open_settings)
        instance._learn_ports()
    except BaseException:
        instance.close()
        raise
    return instance


class Instance:
    """One running image. All methods may be called from any thread."""

    def __init__(
        self, plan: Plan, options: Options, how: Launch, choice: Choice, claim: Claim, held: contextlib.ExitStack
    ) -> None:
        self.name = options.name or plan.composition
        self.plan = plan
        self.accelerator = choice
        self.directory = claim.directory
        self.ports: dict[str, int] = {}
        self.qemu = how.qemu  # the program's path, for another one that goes on where this one was
        self.scratch = how.scratch
        self.image_files = dict(how.volumes)
        self._debug = Path(how.kernel).parent / "debug"
        self._options = options
        self._claim = claim
        self._held = held
        self._stopped: Stopped | None = None
        self._recording = threading.Lock()
        self._recorded = Path(options.record) if options.record else None

        def command(channels: Inherited) -> tuple[str, ...]:
            return qemu_command(plan, how, channels)

        try:
            counted = None if how.logged else how.counted
            alone = replace(how, scratch=None, halted=False, debugger="", ram=None, counted=counted)
            self._by_hand = pasteable(qemu_command(plan, alone, ByHand()))
            self._record = Record(
                name=self.name, composition=plan.composition, kernel=plan.kernel.name, machine=plan.machine.name,
                accelerator=choice.name, state="starting", started=time.time(), owner=os.getpid(),
                owner_start=start_time_of(os.getpid()), command=self._by_hand,
            )  # fmt: skip
            self._running = Running(
                command, self.directory, descriptors=() if how.ram is None else (how.ram.memory,),
                listener=owner_socket(self.directory), on_request=self._request, on_end=self._finish,
            )  # fmt: skip
        except BaseException:
            held.close()
            raise
        try:
            pid = self._running.process.pid
            self._update(qemu=pid, qemu_start=start_time_of(pid))
        except BaseException:
            self._running.close()  # which lets go of what is held
            raise

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running.process.pid

    @property
    def options(self) -> Options:
        """How it was started."""
        return self._options

    @property
    def running(self) -> Running:
        """QEMU and its channels."""
        return self._running

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about what the start did beside starting."""
        return self._record.remarks

    @property
    def console(self) -> Console:
        return self._running.console

    @property
    def events(self) -> tuple[Event, ...]:
        """QEMU's events so far."""
        return tuple(self._running.events)

    @property
    def ended(self) -> bool:
        return self._running.ended

    @property
    def exit_status(self) -> int | None:
        """The guest program's exit status, once it has ended and said so."""
        return self._running.report.status

    @property
    def command(self) -> str:
        """The line that starts this machine by hand."""
        return self._by_hand

    def url(self, port: str) -> str:
        """`http://127.0.0.1:NUMBER` of a port by its name."""
        if port not in self.ports:
            raise unknown_port(self.plan, port)
        return f"http://127.0.0.1:{self.ports[port]}"

    def qmp(self, command: str, /, **arguments: object) -> Any:
        """Run a QMP command and return what it returned; underscores in the arguments' names stand for hyphens.

        Raises MachineError with QEMU's words where it refuses, with all the evidence where it has ended.
        """
        try:
            return self._running.monitor.execute(
                command, {name.replace("_", "-"): value for name, value in arguments.items()}
            )
        except MonitorClosedError as error:
            if self._running.wait_end(2.0):
                raise self.failed(failure.end_message(self._running)) from error
            raise

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the machine is ready, by what the plan declares; for `exit` that is when its program has ended.

        `timeout` in seconds; else the options', else the plan's. Raises MachineError with all that is known.
        """
        limit = timeout if timeout is not None else self._options.ready_timeout or self.plan.ready.timeout
        wait_until_ready(self, limit)
        self.set_ready()

    def set_ready(self) -> None:
        """Write down that it is ready now."""
        self._running.mark("ready")
        if not self._running.ended:
            self._update(state="ready")

    def wait_for_console(self, pattern: str, timeout: float = 60.0, *, since: int = 0) -> Found:
        """The first match on the console behind `since`; ends at once where the machine does."""
        try:
            return self._running.console.wait_for(pattern, timeout, since=since, watch=lambda: watch(self))
        except ConsoleTimeoutError:
            message = f"No line of the console of '{self.name}' matched '{pattern}' within {timeout:g} s."
            raise self.failed(message) from None

    def type_text(self, text: str) -> None:
        """Type on the guest's console."""
        self._running.type(text.encode())

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; the guest program's exit status.

        Raises MachineError where the guest crashed or could not run the program, InstanceError where it was stopped
        by force, TimeoutError after `timeout` seconds.
        """
        if not self._running.wait_end(timeout):
            raise TimeoutError(f"the instance '{self.name}' still runs after {timeout:g} s")
        self._running.console.drain()
        return self.judge()

    def stop(self, timeout: float | None = None) -> Stopped:
        """Ask the guest to end, after `timeout` seconds (the options') tell QEMU to quit, then kill it.

        Returns what it took; `ended`: it had ended already.
        """
        running = self._running
        if running.ended:
            return "ended"
        limit = self._options.stop_timeout if timeout is None else timeout
        running.send(f"stop {max(1, int(min(limit, _LONGEST_STOP) - _UNMOUNTING))}")
        took: Stopped = "asked"
        if not running.wait_end(limit):
            took = self._stopped = "quit"
            with contextlib.suppress(MachineError):
                running.monitor.execute("quit", timeout=1.0)
            if not running.wait_end(1.0):
                took = self._stopped = "killed"
                running.process.kill()
                running.wait_end(10.0)
        return took

    def kill(self) -> None:
        """End QEMU by SIGKILL, as a power cut would."""
        self._stopped = "killed"
        self._end_log()
        self._running.process.kill()
        self._running.wait_end(10.0)

    def stats(self) -> Stats:
        used = self._running.usage()
        return Stats(used.cpu, used.resident, dict(self._running.marks))

    def mark(self, name: str) -> None:
        """Put the first time of something of the caller's own into the timeline."""
        self._running.mark(name)

    def close(self) -> None:
        """Kill QEMU if it still runs; free the name, the volumes, the threads. May be called twice."""
        if not self._running.ended:
            self._stopped = self._stopped or "killed"
            self._end_log()
        self._running.close()

    def _end_log(self) -> None:
        """QEMU writes the end of a recording when it ends in order; the guest sees no difference to a SIGKILL."""
        if self._recorded is not None and not self.ended:
            with contextlib.suppress(MachineError):
                self._running.monitor.execute("quit", timeout=_LOG_WRITTEN)
            self._running.wait_end(_LOG_WRITTEN)

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _wait_until_read(self) -> None:
        """Once QEMU answers it has read the settings."""
        with contextlib.suppress(MachineError):  # it has ended: whoever waits for the machine is told
            self._running.monitor.execute("query-status")

    def _learn_ports(self) -> None:
        if not self.plan.ports:
            return
        try:
            usernet = self._running.monitor.execute("human-monitor-command", {"command-line": "info usernet"})
        except MachineError as error:
            if not self._running.wait_end(2.0):
                raise
            refused = refused_port(self._running.stderr())
            if refused is not None:
                raise refused from error
            return  # a short life, good or bad: who waits for the machine is told
        self.ports = parse_forwards(str(usernet), self.plan.ports)
        lacking = [port.name for port in self.plan.ports if port.name not in self.ports]
        if lacking:  # QEMU takes its network down before it ends
            if self._running.wait_end(2.0):
                return
            raise self.failed(f"QEMU does not say which port of this computer leads to '{lacking[0]}': {usernet}")
        raise_backlog(self.pid, self.ports.values())
        self._update(ports=self.ports, urls={name: self.url(name) for name in self.ports})

    def judge(self) -> int:
        """The program's exit status after the end. Raises the error that the end was, otherwise."""
        status = self._running.report.status
        if status is not None:
            return status
        if self._stopped is not None:
            raise InstanceError(
                f"The instance '{self.name}' was ended by force before its program had ended.", instance=self.name
            )
        raise self.failed(failure.end_message(self._running))

    def failed(self, message: str) -> MachineError:
        """The error that says `message`, with the evidence of now."""
        evidence = failure.evidence_of(self._running, self._by_hand, self.directory, self._debug)
        return MachineError(message, hint=failure.hint_for(evidence), evidence=evidence)

    def with_names(self, report: str) -> str:
        """The guest's report of a crash, with the names of its program's functions."""
        return with_names(report, self._debug)

    def _update(self, **changes: Any) -> None:
        """Keep what has changed in the record. Once the end is written down it stands: the folder may be another
        owner's already."""
        with self._recording:
            over = bool(self._record.ended)
            if over:
                changes.pop("state", None)
            self._record = msgspec.structs.replace(self._record, **changes)
            if not over:
                with contextlib.suppress(OSError):
                    self._claim.write(self._record)

    def _request(self, line: str) -> str:
        word, _, rest = line.partition(" ")
        if word != "stop":
            return "unknown"
        try:
            return self.stop(float(rest))
        except ValueError:
            return "unknown"

    def _finish(self, running: Running) -> None:
        """QEMU has ended: write down how, then let go of the name and the volumes. May be called before `Running`
        has come back from its start."""
        try:
            status = running.report.status
            failed = "" if status is not None or self._stopped is not None else failure.end_message(running)
            self._update(state="failed" if failed else "ended", status=status, ended=time.time(), failure=failed)
            if self._recorded is not None:
                finish_recording(self._recorded, self.directory, running, failed)
            with contextlib.suppress(OSError):
                (self.directory / "owner.sock").unlink(missing_ok=True)
        finally:
            self._held.close()
