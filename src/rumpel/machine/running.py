"""A QEMU that runs: its process and its channels, watched by one thread that never blocks on anybody.

`Running` knows what happens; what it means (ready, crashed, stopped) is decided in `instance`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rumpel.machine.command import Inherited
from rumpel.machine.console import Console
from rumpel.machine.control import ControlReader, Report
from rumpel.machine.monitor import Event, Monitor
from rumpel.machine.process import Process, Usage

_CHUNK = 1 << 16


class Running:
    """Starts QEMU; `command` turns the inherited channels into its command line.

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
        listener: socket.socket,
        on_request: Callable[[str], str],
        on_end: Callable[[], None],
    ) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.console = Console(self.changed)
        self.marks: dict[str, float] = {}
        self.stderr_path = directory / "qemu.log"
        self._control = ControlReader()
        self._on_request = on_request
        self._on_end = on_end
        self._ended = threading.Event()
        self._listener = listener
        self._console_socket, console = socket.socketpair()
        self._control_socket, control = socket.socketpair()
        ours, monitor = socket.socketpair()
        given = (console, control, monitor)
        channels = Inherited(console.fileno(), control.fileno(), monitor.fileno(), str(directory / "console.log"))
        try:
            self.command = command(channels)
            self.started = time.monotonic()
            self.process = Process(self.command, descriptors=[end.fileno() for end in given], stderr=self.stderr_path)
        except BaseException:
            for sock in (self._console_socket, self._control_socket, ours, listener):
                sock.close()
            raise
        finally:
            for end in given:
                end.close()
        for sock in (self._console_socket, self._control_socket, listener):
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

    def pause(self, seconds: float) -> None:
        """Wait until something changes, at most so long."""
        with self.changed:
            if not self.ended:
                self.changed.wait(seconds)

    def wait_end(self, timeout: float | None) -> bool:
        """Wait for the end; whether it came."""
        return self._ended.wait(timeout)

    def close(self) -> None:
        """Kill QEMU if it still runs, and free everything. May be called twice."""
        self.process.kill()
        self._thread.join(10)
        self.monitor.close()
        self.console.drain()

    def _pump(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._console_socket, selectors.EVENT_READ, self._read_console)
            selector.register(self._control_socket, selectors.EVENT_READ, self._read_control)
            selector.register(self._listener, selectors.EVENT_READ, self._accept)
            selector.register(self.process.pidfd, selectors.EVENT_READ, None)
            running = True
            while running:
                for key, _ in selector.select():
                    if key.data is None:
                        running = False
                    elif not key.data():
                        selector.unregister(key.fileobj)
        # QEMU is gone: what it wrote before is still in the sockets.
        for read in (self._read_console, self._read_control):
            while read():
                pass
        self.process.reap()
        self.mark("end")
        self.monitor.drain(2.0)
        for sock in (self._console_socket, self._control_socket, self._listener):
            sock.close()
        self.console.close()
        try:
            self._on_end()
        finally:
            self._ended.set()
            with self.changed:
                self.changed.notify_all()

    def _read_console(self) -> bool:
        data = _received(self._console_socket)
        if data:
            self.mark("console")
            self.console.feed(data)
        return bool(data)

    def _read_control(self) -> bool:
        data = _received(self._control_socket)
        if data:
            with self.changed:
                self._control.feed(data)
                if self.report.started:
                    self.mark("start")
                self.changed.notify_all()
        return bool(data)

    def _accept(self) -> bool:
        with contextlib.suppress(OSError):
            asking, _ = self._listener.accept()
            threading.Thread(target=self._answer, args=(asking,), name="rumpel-request", daemon=True).start()
        return True

    def _answer(self, asking: socket.socket) -> None:
        with contextlib.suppress(OSError), asking:
            asking.settimeout(5)
            line = asking.recv(256).decode("utf-8", "replace").strip()
            asking.sendall(self._on_request(line).encode() + b"\n")


def _received(sock: socket.socket) -> bytes:
    """What is there; empty at the end. Only called when something is there, or when the other side is gone."""
    with contextlib.suppress(OSError):
        return os.read(sock.fileno(), _CHUNK)
    return b""
