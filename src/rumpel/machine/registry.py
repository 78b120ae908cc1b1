"""The instances of this user: a folder each, a lock held by the owner, and a record that others may read.

    for seen in list_instances():
        print(seen.record.name, seen.state)
    stop_instance("web")

An instance runs exactly as long as its owner holds the lock `lock` of its folder (flock(2)): the kernel frees it
however the owner ends. The folder and the lock file are never removed while anything may wait for them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from rumpel.errors import InstanceError, UsageError
from rumpel.machine.process import start_time_of
from rumpel.places import state_dir
from rumpel.resolve.plan import Frozen

State = Literal["starting", "ready", "ended", "failed", "dead"]
Stopped = Literal["ended", "asked", "quit", "killed"]

RECORD = "instance.json"
LOGS = ("console.log", "qemu.log", "qmp.log")
_LOOKS = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Record(Frozen, frozen=True, kw_only=True):
    """`instance.json`: what runs, or last ran, under a name.

    `started` is in seconds since 1970, `owner_start` and `qemu_start` are the processes' start times in clock ticks
    since boot, which together with the pid name one process. `status` is the guest program's exit status, `remarks` are
    sentences about what the start did beside starting.
    """

    schema: int = 1
    name: str
    composition: str
    kernel: str
    machine: str
    accelerator: str
    state: State
    started: float
    owner: int
    owner_start: int
    qemu: int = 0
    qemu_start: int = 0
    ports: dict[str, int] = msgspec.field(default_factory=dict)
    urls: dict[str, str] = msgspec.field(default_factory=dict)
    command: str = ""
    status: int | None = None
    remarks: tuple[str, ...] = ()
    ended: float = 0.0
    failure: str = ""


@dataclass(frozen=True)
class Seen:
    """An instance as it is found: its record, its state now (`dead`: its owner ended without saying so), its folder."""

    record: Record
    state: State
    directory: Path

    @property
    def running(self) -> bool:
        return self.state in ("starting", "ready")


def check_name(name: str) -> str:
    """`name`, if it can name an instance; else UsageError."""
    if _NAME.fullmatch(name) is None:
        raise UsageError(
            f"'{name}' cannot name an instance.",
            hint="Use up to 63 letters, digits, '.', '_' and '-', the first a letter or a digit.",
        )
    return name


def instance_directory(name: str) -> Path:
    """The folder of the instance `name`, which may not exist."""
    return state_dir() / "instances" / check_name(name)


def console_log(name: str) -> Path:
    """The console of the instance `name`, running or ended. Raises InstanceError where there is none."""
    path = instance_directory(name) / "console.log"
    if not path.exists():
        raise _unknown(name)
    return path


class Claim:
    """The right to run an instance under a name: holds the lock until `release`. `directory` stands in for the folder
    in the state folder; such an instance is not listed."""

    def __init__(self, name: str, directory: Path | None = None) -> None:
        self.directory = directory or instance_directory(name)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock_alone(self._lock):
            os.close(self._lock)
            raise _taken(name, self.directory)
        self._clean()

    def write(self, record: Record) -> None:
        """Replace the record; a reader sees the old one or the new one."""
        fresh = self.directory / (RECORD + ".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
        fresh.replace(self.directory / RECORD)

    def release(self) -> None:
        if self._lock >= 0:
            # Closing alone leaves the lock to a process that another thread is starting, until it becomes its program.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = -1

    def _clean(self) -> None:
        """Make room after the last run under this name; its logs stay, with `.1` behind their names."""
        for name in LOGS:
            log = self.directory / name
            if log.exists():
                log.replace(self.directory / f"{name}.1")
        for name in (RECORD, "settings", "owner.sock", "console.in", "console.out"):
            (self.directory / name).unlink(missing_ok=True)


def find_instance(name: str) -> Seen:
    """The instance `name`; raises InstanceError where there never was one."""
    seen = _look(instance_directory(name))
    if seen is None:
        raise _unknown(name)
    return seen


def list_instances() -> list[Seen]:
    """All instances that left a record, by name; those that ended too."""
    home = state_dir() / "instances"
    if not home.is_dir():
        return []
    found = (_look(directory) for directory in sorted(home.iterdir()) if _NAME.fullmatch(directory.name))
    return [seen for seen in found if seen is not None]


def stop_instance(name: str, *, timeout: float = 10.0, grace: float = 15.0) -> Stopped:
    """Stop the instance `name`: its owner asks the guest, then tells QEMU to quit, then kills it; says which it took.

    `timeout` is how long the guest gets, in seconds. An owner that has not answered `grace` seconds later is passed
    over. Raises InstanceError where nothing runs under this name.
    """
    seen = find_instance(name)
    if not seen.running:
        raise InstanceError(
            f"No instance named '{name}' is running.", hint="'rumpel ps' lists what runs.", instance=name
        )
    took = _ask_owner(seen.directory, timeout, grace)
    if took is None and not find_instance(name).running:
        took = "ended"
    if took is None:
        _kill(seen.record.qemu, seen.record.qemu_start)
        took = "killed"
    deadline = time.monotonic() + min(5.0, grace)
    while _locked(seen.directory) and time.monotonic() < deadline:
        time.sleep(0.01)
    return took


def owner_socket(directory: Path) -> socket.socket:
    """The listening socket of an owner, in its instance's folder."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:  # through /proc: a socket's address holds 107 bytes, a folder's path may be longer
        listener.bind(f"/proc/self/fd/{folder}/owner.sock")
    finally:
        os.close(folder)
    listener.listen(4)
    return listener


def _ask_owner(directory: Path, timeout: float, grace: float) -> Stopped | None:
    folder = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(timeout + grace)
            asking.connect(f"/proc/self/fd/{folder}/owner.sock")
            asking.sendall(f"stop {timeout}\n".encode())
            answer = asking.recv(64).decode().strip()
    except OSError:
        return None
    finally:
        os.close(folder)
    return msgspec.convert(answer, Stopped) if answer in ("ended", "asked", "quit", "killed") else None


def _look(directory: Path) -> Seen | None:
    try:
        record = msgspec.json.decode((directory / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None
    state = record.state
    if state in ("starting", "ready") and not _locked(directory):
        state = "dead"
    return Seen(record, state, directory)


def _lock_alone(lock: int) -> bool:
    """Take the owner's lock; False where an owner has it. Who only looks (`_locked`) shares it for an instant, and
    must not be taken for an owner."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(0.01)
    return False


def _locked(directory: Path) -> bool:
    try:
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _kill(pid: int, start: int) -> None:
    if pid <= 0:
        return
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:  # the start time is looked at while the descriptor holds the process: the pid cannot be another's
            if start_time_of(pid) == start:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def _taken(name: str, directory: Path) -> InstanceError:
    seen = _look(directory)
    who = ""
    if seen is not None and seen.record.qemu:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seen.record.started))
        who = f" (QEMU pid {seen.record.qemu}, since {since})"
    return InstanceError(
        f"An instance named '{name}' is already running{who}.",
        hint=f"Stop it with 'rumpel stop {name}' or choose another name with '--name'.",
        instance=name,
    )


def _unknown(name: str) -> InstanceError:
    return InstanceError(
        f"There is no instance named '{name}'.", hint="'rumpel ps --all' lists what runs and what ran.", instance=name
    )
