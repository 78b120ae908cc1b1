"""A QEMU that runs: its process and its channels, watched by one thread that never blocks on anybody.

`Running` knows what happens; what it means (ready, crashed, stopped) is decided in `instance`.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rumpel.machine.command import Inherited
from rumpel.machine.console import Console
from rumpel.machine.control import ControlReader, Report
from rumpel.machine.monitor import Event, Monitor
from rumpel.machine.process import Process, Usage

_CHUNK = 1 << 16
_FIFO_SIZE = 1 << 20
# A UART sends single bytes: taking them together costs a thousandth of a second and saves a wake-up for each.
_BATCH = 0.001


class ConsoleFifo:
    """The console's two FIFOs, and the log that gets every byte before anybody sees it."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "console")
        self._files = tuple(directory / f"console.{way}" for way in ("in", "out"))
        for file in self._files:
            file.unlink(missing_ok=True)
            os.mkfifo(file, 0o600)
        # For reading and writing: it opens before QEMU does, and the end of QEMU is not the end of the file.
        self._input, self._output = (os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for file in self._files)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _FIFO_SIZE)
        self._log = (directory / "console.log").open("wb", buffering=0)
        self._writing = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        return self._output

    def read(self) -> bytes:
        """What has come since the last time; empty: nothing."""
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return b""
        with contextlib.suppress(OSError):  # a full disk does not stop the machine
            self._log.write(data)
        return data

    def write(self, data: bytes) -> None:
        """Type on the console; what does not fit into the FIFO is lost, as on a real line."""
        with self._writing, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._input, data)

    def close(self) -> None:
        with self._writing:
            self._closed = True
        for descriptor in (self._input, self._output):
            os.close(descriptor)
        self._log.close()
        for file in self._files:
            file.unlink(missing_ok=True)


class Running:
    """Starts QEMU; `command` turns the inherited channels into its command line. QEMU inherits `descriptors` too.

    `changed` is notified at every change of the console, the guest's report, QMP events and the end. `marks` holds
    the seconds from the start of QEMU to what happened first: `console` (first byte), `start` (the program is about
    to run), `end`, and what `mark` adds. `on_request` is called in a thread of its own for each line that comes over
    `listener`, and returns the answer; `on_end` once, when QEMU has ended and all it said was read.
    """

    def __init__(
        self,
        command: Callable[[Inherited], tuple[str, ...]],
        directory: Path,
        *,
        descriptors: Sequence[int] = (),
        listener: socket.socket,
        on_request: Callable[[str], str],
        on_end: Callable[[Running], None],
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.console = Console(self.changed)
        self.marks: dict[str, float] = {}
        self.boot_position = 0  # where the console of this boot begins
        self.stderr_path = directory / "qemu.log"
        self._control = ControlReader()
        self._on_request = on_request
        self._on_end = on_end
        self._ended = threading.Event()
        self._reading = threading.Lock()  # of the console and the control channel, with what is done with it
        self._listener = listener
        self._answering: list[threading.Thread] = []
        self._fifo = ConsoleFifo(directory)
        self._control_socket, control = socket.socketpair()
        ours, monitor = socket.socketpair()
        given = (control, monitor)
        channels = Inherited(self._fifo.path, control.fileno(), monitor.fileno())
        try:
            self.command = command(channels)
            self.started = time.monotonic()
            self.process = Process(
                self.command, descriptors=[*descriptors, *(end.fileno() for end in given)], stderr=self.stderr_path
            )
        except BaseException:
            for open_end in (self._fifo, self._control_socket, ours, listener):
                open_end.close()
            raise
        finally:
            for end in given:
                end.close()
        for sock in (self._control_socket, listener):
            sock.setblocking(False)
        self.monitor = Monitor(ours, log=directory / "qmp.log", changed=self.changed)
        self._thread = threading.Thread(target=self._pump, name="rumpel-machine", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def report(self) -> Report:
        return self._control.report

    @property
    def events(self) -> list[Event]:
        return self.monitor.events

    def usage(self) -> Usage:
        return self.process.usage()

    def stderr(self) -> str:
        """What QEMU itself said."""
        with contextlib.suppress(OSError):
            return self.stderr_path.read_text(errors="replace")
        return ""

    def mark(self, name: str) -> None:
        self.marks.setdefault(name, time.monotonic() - self.started)

    def send(self, line: str) -> None:
        """Send one line to the guest over the control channel; a guest that is gone or does not read is no error."""
        with contextlib.suppress(OSError):
            self._control_socket.send(line.encode() + b"\n")

    def type(self, data: bytes) -> None:
        """Type on the guest's console."""
        self._fifo.write(data)

    def pause(self, seconds: float) -> None:
        """Wait until something changes, at most so long."""
        with self.changed:
            if not self.ended:
                self.changed.wait(seconds)

    def wait_end(self, timeout: float | None) -> bool:
        """Wait for the end; whether it came."""
        return self._ended.wait(timeout)

    def settle(self) -> None:
        """Take in all that a halted guest has said before."""
        with self._reading:
            for read in (self._read_console, self._read_control):
                while read():
                    pass

    def begin_again(self) -> None:
        """The guest boots again in the same QEMU: what it reported and wrote before no longer counts, and its timeline
        begins now."""
        self.settle()
        with self.changed:
            self.started = time.monotonic()
            self.marks.clear()
            self.boot_position = self.console.position
            self._control.begin_again(Report())
            self.changed.notify_all()

    def has_begun(self) -> bool:
        """Whether this boot's guest has said anything."""
        return self.report.started or self.console.position > self.boot_position

    def set_report(self, report: Report) -> None:
        """The guest is another one now, which has reported so much."""
        with self.changed:
            self._control.begin_again(copy.copy(report))
            self.changed.notify_all()

    def close(self) -> None:
        """Kill QEMU if it still runs, and free everything. May be called twice."""
        self.process.kill()
        self._thread.join(10)
        for answering in self._answering:  # who asked gets the answer even when this process ends now
            answering.join(2)
        self.monitor.close()
        self.console.drain()

    def _pump(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._fifo, selectors.EVENT_READ, self._on_console)
            selector.register(self._control_socket, selectors.EVENT_READ, self._on_control)
            selector.register(self._listener, selectors.EVENT_READ, self._accept)
            selector.register(self.process.pidfd, selectors.EVENT_READ, None)
            running = True
            while running:
                for key, _ in selector.select():
                    if key.data is None:
                        running = False
                    elif not key.data():
                        selector.unregister(key.fileobj)
                time.sleep(_BATCH)
        # QEMU is gone: what it wrote before is still in the channels.
        self.settle()
        self.process.reap()
        self.mark("end")
        self.monitor.drain(2.0)
        for open_end in (self._fifo, self._control_socket, self._listener):
            open_end.close()
        self.console.close()
        try:
            self._on_end(self)
        finally:
            self._ended.set()
            with self.changed:
                self.changed.notify_all()

    def _on_console(self) -> bool:
        with self._reading:
            self._read_console()
        return True

    def _on_control(self) -> bool:
        """Whether there may be more: at its end a socket is readable for ever."""
        with self._reading:
            return self._read_control() is not None

    def _read_console(self) -> bool:
        data = self._fifo.read()
        if data:
            self.mark("console")
            self.console.feed(data)
        return bool(data)

    def _read_control(self) -> bytes | None:
        """What came; empty: nothing is there now; None: nothing will come."""
        data = _received(self._control_socket)
        if data:
            with self.changed:
                self._control.feed(data)
                if self.report.started:
                    self.mark("start")
                self.changed.notify_all()
        return data

    def _accept(self) -> bool:
        with contextlib.suppress(OSError):
            asking, _ = self._listener.accept()
            answering = threading.Thread(target=self._answer, args=(asking,), name="rumpel-request", daemon=True)
            self._answering = [*(thread for thread in self._answering if thread.is_alive()), answering]
            answering.start()
        return True

    def _answer(self, asking: socket.socket) -> None:
        with contextlib.suppress(OSError), asking:
            asking.settimeout(5)
            line = asking.recv(256).decode("utf-8", "replace").strip()
            asking.sendall(self._on_request(line).encode() + b"\n")


def _received(sock: socket.socket) -> bytes | None:
    """What is there; empty: nothing now; None: the other side is gone."""
    try:
        return os.read(sock.fileno(), _CHUNK) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None
