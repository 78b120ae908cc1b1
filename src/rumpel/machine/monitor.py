"""QMP behind a synchronous face: `qemu.qmp` on its own thread and event loop.

    monitor = Monitor(sock, log=Path("qmp.log"), changed=condition)
    monitor.execute("query-status")              # {'status': 'running', ...}
    monitor.execute("human-monitor-command", {"command-line": "info usernet"})

Connecting begins at once and goes on while QEMU starts; the first `execute` waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rumpel.errors import MachineError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """An event of QEMU: its name, its data, and when it came (seconds of the monotonic clock)."""

    name: str
    data: dict[str, Any]
    time: float


class MonitorClosedError(MachineError):
    """QEMU is gone, or does not answer on its monitor."""


class Monitor:
    """The synchronous face. Safe to use from several threads; `events` only grows, and notifies `changed`."""

    def __init__(self, sock: socket.socket, *, log: Path, changed: threading.Condition) -> None:
        self.events: list[Event] = []
        self._changed = changed
        self._log_path = log
        self._sock = sock
        self._loop = asyncio.new_event_loop()
        self._client: Future[QMPClient] = Future()
        self._thread = threading.Thread(target=self._run, args=(sock,), name="rumpel-monitor", daemon=True)
        self._thread.start()

    def execute(self, command: str, arguments: Mapping[str, object] | None = None, *, timeout: float = 30.0) -> Any:
        """Run one QMP command and return what it returned.

        Raises MachineError with QEMU's words where QEMU refuses, MonitorClosedError where it is gone.
        """
        from qemu.qmp import ExecuteError

        named = dict(arguments or {})
        deadline = time.monotonic() + timeout
        try:
            client = self._client.result(timeout)
            self._log(">", {"execute": command, "arguments": named})
            answer = self._submit(client.execute(command, named), deadline - time.monotonic())
        except ExecuteError as error:
            raise MachineError(f"QEMU refused the QMP command '{command}': {error}") from error
        except (FutureTimeoutError, TimeoutError) as error:
            raise MonitorClosedError(
                f"QEMU did not answer the QMP command '{command}' within {timeout:g} s."
            ) from error
        except MachineError:
            raise
        except Exception as error:
            raise MonitorClosedError(f"QEMU ended while the QMP command '{command}' was under way.") from error
        self._log("<", {"return": answer})
        return answer

    def give(self, name: str, descriptor: int) -> None:
        """Give QEMU a copy of an open file, which QMP commands then know as `fd:NAME` (QMP `getfd`). Raises as
        `execute`."""
        # It goes with a byte of white space between two commands, and QEMU keeps it until `getfd`.
        with contextlib.suppress(OSError):  # QEMU is gone: `getfd` says so
            self._client.result(30.0)
            socket.send_fds(self._sock, [b" "], [descriptor])
        self.execute("getfd", {"fdname": name})

    def drain(self, timeout: float) -> None:
        """After QEMU's end: wait until its last events are in `events`."""
        self._thread.join(timeout)

    def close(self) -> None:
        """After QEMU's end: wait for the thread, which ends with the connection. May be called twice."""
        self._thread.join(5)

    def _submit(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:  # the loop is closed
            work.close()
            raise MonitorClosedError("QEMU's monitor is closed.") from error
        return future.result(max(0.0, timeout))

    def _run(self, sock: socket.socket) -> None:
        import logging

        from qemu.qmp import QMPClient

        logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(QMPClient("rumpel"), sock))
        finally:
            if not self._client.done():
                self._client.set_exception(MonitorClosedError("QEMU's monitor is closed."))
            self._loop.close()
            sock.close()

    async def _serve(self, client: QMPClient, sock: socket.socket) -> None:
        """Connect, then take events until QEMU closes the connection."""
        from qemu.qmp import Runstate

        try:
            await client.connect(sock)
        except Exception as error:
            self._client.set_exception(MonitorClosedError(f"QEMU's monitor could not be reached: {error}"))
            return
        self._client.set_result(client)
        listening = asyncio.create_task(self._listen(client))
        while client.runstate == Runstate.RUNNING:
            await client.runstate_changed()
        with contextlib.suppress(Exception):
            await client.disconnect()
        while not client.events.empty():
            await asyncio.sleep(0)
        listening.cancel()
        # Commands under way fail now, and whoever waits for them is told.
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        if pending:
            await asyncio.wait(pending, timeout=1.0)

    async def _listen(self, client: QMPClient) -> None:
        while True:
            message = await client.events.get()
            self._log("<", dict(message))
            data = message.get("data")
            event = Event(str(message["event"]), data if isinstance(data, dict) else {}, time.monotonic())
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    def _log(self, direction: str, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError), self._log_path.open("a") as log:
            log.write(f"{direction} {json.dumps(message)}\n")
