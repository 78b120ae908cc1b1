"""QEMU as a process: it ends with its owner, and what it used is known afterwards.

The kernel's parent-death signal is tied to the thread that forked, so one thread that lives as long as this process
does all the starting (prctl(2), PR_SET_PDEATHSIG). A guard (`guard.py`) sets the signal, looks whether its parent is
still the owner - it may have died before the signal was set - and becomes QEMU: no process remains between, and the
process id is QEMU's. Where there can be no guard, `setpriv` and a shell do the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import HostError
from rumpel.machine.guard import guard_file

_GUARD = 'test "$PPID" = "$0" || exit 125; exec "$@"'
_NOT_EXECUTABLE = (errno.EACCES, errno.EPERM)  # memory that may not be executed: sysctl vm.memfd_noexec, or an LSM
_CPU_CLOCK = 2  # CPUCLOCK_SCHED of a process: Linux include/linux/posix-timers.h
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What QEMU used: CPU time in seconds (user and system), resident memory in bytes (the peak once it has ended)."""

    cpu: float = 0.0
    resident: int = 0


class Process:
    """A started program that is killed when this process ends. Reaped by `reap`, once `pidfd` is readable."""

    def __init__(self, command: Sequence[str], *, descriptors: Sequence[int], stderr: Path) -> None:
        with stderr.open("wb") as errors:
            self._popen = _spawner().run(command, tuple(descriptors), errors.fileno())
        self.pid = self._popen.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.status: int | None = None
        self._ending = threading.Lock()
        self._final = Usage()

    def reap(self) -> int:
        """Wait for the end; the exit status (negative: the signal)."""
        if self.status is None:
            _, status, used = os.wait4(self.pid, 0)
            self._final = Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
            with self._ending:
                self.status = os.waitstatus_to_exitcode(status)
                self._popen.returncode = self.status
                os.close(self.pidfd)
        return self.status

    def kill(self) -> None:
        with self._ending, contextlib.suppress(ProcessLookupError):  # its descriptor is not closed meanwhile
            if self.status is None:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def usage(self) -> Usage:
        """CPU time and resident memory now, or in all once it has ended."""
        if self.status is not None:
            return self._final
        return usage_of(self.pid)


def usage_of(pid: int) -> Usage:
    """CPU time and resident memory of a running process; zeros where it is gone.

    The CPU time is that of the process's own clock, in nanoseconds (clock_getcpuclockid(3)), as `/proc/PID/stat`
    counts only hundredths of a second.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu = time.clock_gettime((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return Usage()
    return Usage(cpu, int(fields[21]) * _PAGE)


def start_time_of(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid it names one process. 0: there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


@dataclass(frozen=True)
class _Job:
    command: tuple[str, ...]
    descriptors: tuple[int, ...]
    stderr: int
    result: Future[subprocess.Popen[bytes]]


class _Spawner:
    """The thread that forks. It ends only with the process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._guard = guard_file(self.owner)
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="rumpel-spawner", daemon=True).start()

    def run(self, command: Sequence[str], descriptors: tuple[int, ...], stderr: int) -> subprocess.Popen[bytes]:
        if self._guard is not None:
            program = shutil.which(command[0]) or command[0]
            words = (f"/proc/self/fd/{self._guard}", program, *command[1:])
            try:
                return self._start(words, (*descriptors, self._guard), stderr)
            except OSError as error:
                if error.errno not in _NOT_EXECUTABLE:
                    raise _not_started(command[0], error) from error
                os.close(self._guard)
                self._guard = None
        try:
            return self._start(
                ("setpriv", "--pdeathsig", "KILL", "sh", "-c", _GUARD, str(self.owner), *command), descriptors, stderr
            )
        except FileNotFoundError as error:
            raise HostError(
                "The program 'setpriv', which ties QEMU's life to its owner's, is not installed.",
                hint="Install it with: apt-get install util-linux",
            ) from error
        except OSError as error:
            raise _not_started(command[0], error) from error

    def _start(self, words: tuple[str, ...], descriptors: tuple[int, ...], stderr: int) -> subprocess.Popen[bytes]:
        job = _Job(words, descriptors, stderr, Future())
        self._jobs.put(job)
        return job.result.result()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                popen = subprocess.Popen(
                    job.command, stdin=subprocess.DEVNULL, stdout=job.stderr, stderr=job.stderr,
                    pass_fds=job.descriptors, process_group=0,
                )  # fmt: skip
                job.result.set_result(popen)
            except BaseException as error:
                job.result.set_exception(error)


def _not_started(program: str, error: OSError) -> HostError:
    return HostError(
        f"The process of '{program}' could not be started: {error.strerror}.",
        hint="Look at this computer's limits on processes and memory, and at the length of what the machine is given.",
    )


_lock = threading.Lock()
_current: list[_Spawner] = []


def _spawner() -> _Spawner:
    with _lock:
        if not _current or _current[0].owner != os.getpid():  # a forked child has the object but not the thread
            _current[:] = [_Spawner()]
        return _current[0]
