"""The harness for asyncio: the same names, the same meaning, to be awaited.

    async with await rumpel.aio.boot("sqlite-web") as vm:
        response = await vm.http().get("/")

What waits runs in a thread and never blocks the loop. A cancelled wait goes on there until its own deadline, or until
the machine is closed, but nobody is kept by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, Unpack

from rumpel.errors import MachineError
from rumpel.harness import api
from rumpel.harness.events import Expected
from rumpel.harness.faults import Faults
from rumpel.harness.start import Words
from rumpel.harness.vm import Vm
from rumpel.machine.console import Found
from rumpel.machine.instance import Stats
from rumpel.machine.monitor import Event
from rumpel.machine.registry import Stopped
from rumpel.resolve.plan import Plan

if TYPE_CHECKING:
    import httpx

    from rumpel.harness.dialog import Dialog
    from rumpel.harness.warm import WarmPool

P = ParamSpec("P")
T = TypeVar("T")


async def boot(composition: str, *, timeout: float | None = None, **words: Unpack[Words]) -> AsyncVm:
    """As `rumpel.boot`."""
    return AsyncVm(await asyncio.to_thread(api.boot, composition, timeout=timeout, **words))


async def launch(composition: str, **words: Unpack[Words]) -> AsyncVm:
    """As `rumpel.launch`."""
    return AsyncVm(await asyncio.to_thread(api.launch, composition, **words))


async def pool(
    composition: str, *, size: int = 4, timeout: float | None = None, **words: Unpack[Words]
) -> AsyncWarmPool:
    """As `rumpel.pool`."""
    return AsyncWarmPool(await asyncio.to_thread(api.pool, composition, size=size, timeout=timeout, **words))


class AsyncVm:
    """One machine; `sync` is the same machine for code that waits by blocking."""

    def __init__(self, vm: Vm) -> None:
        self.sync = vm
        self.console = AsyncConsole(vm)
        self.events = AsyncEvents(vm)
        self._clients: list[httpx.AsyncClient] = []

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.sync.name

    @property
    def plan(self) -> Plan:
        """What the machine is made of."""
        return self.sync.plan

    @property
    def recording(self) -> Path | None:
        """As `Vm.recording`."""
        return self.sync.recording

    @property
    def ports(self) -> Mapping[str, int]:
        """The host's port, on 127.0.0.1, by the port's name."""
        return self.sync.ports

    @property
    def url(self) -> str:
        """As `Vm.url`."""
        return self.sync.url

    def url_of(self, port: str) -> str:
        """As `Vm.url_of`."""
        return self.sync.url_of(port)

    def host_port(self, port: str) -> int:
        """As `Vm.host_port`."""
        return self.sync.host_port(port)

    @property
    def exit_status(self) -> int | None:
        """As `Vm.exit_status`."""
        return self.sync.exit_status

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self.sync.ended

    @property
    def faults(self) -> AsyncFaults:
        """What can be broken on purpose; the methods of `Faults`, to be awaited."""
        return AsyncFaults(self.sync)

    def http(self, port: str = "", *, timeout: float = 30.0, **options: Any) -> httpx.AsyncClient:
        """As `Vm.http`, an asynchronous client."""
        import httpx

        from rumpel.harness.http import AsyncTransport

        name = port or self.sync.main_port
        client = httpx.AsyncClient(
            base_url=self.sync.url_of(name), transport=AsyncTransport(self.sync, name),
            timeout=self.sync.scaled(timeout), **options,
        )  # fmt: skip
        self._clients.append(client)
        return client

    async def tcp(self, port: str = "", *, timeout: float = 30.0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `Vm.tcp`, two streams; `timeout`, in seconds, is for making the connection."""
        number = self.sync.host_port(port or self.sync.main_port)
        try:
            return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", number), self.sync.scaled(timeout))
        except OSError:
            await asyncio.to_thread(self.sync.raise_if_ending)
            raise

    async def qmp(self, command: str, /, **arguments: object) -> Any:
        """As `Vm.qmp`."""
        return await asyncio.to_thread(self.sync.qmp, command, **arguments)

    async def wait_ready(self, timeout: float | None = None) -> None:
        """As `Vm.wait_ready`."""
        await asyncio.to_thread(self.sync.wait_ready, timeout)

    async def wait(
        self, check: Callable[[], Awaitable[T]], timeout: float = 30.0, *, every: float = 0.05, what: str = ""
    ) -> T:
        """As `Vm.wait`; `check` is awaited."""
        limit = self.sync.scaled(timeout)
        deadline = time.monotonic() + limit
        while True:
            last = time.monotonic() >= deadline
            await asyncio.to_thread(self.sync.watch)
            try:
                result = await check()
                if result:
                    return result
                seen, cause = f"it returned {result!r}", None
            except MachineError:
                raise
            except Exception as error:  # whatever a check raises means: not yet
                seen, cause = f"it raised {type(error).__name__}: {error}", error
            if last:
                raise self.sync.too_late(what or getattr(check, "__name__", repr(check)), limit, seen) from cause
            await asyncio.sleep(max(0.0, min(every, deadline - time.monotonic())))

    async def wait_exit(self, timeout: float = 60.0) -> int:
        """As `Vm.wait_exit`."""
        return await asyncio.to_thread(self.sync.wait_exit, timeout)

    async def stats(self) -> Stats:
        """As `Vm.stats`."""
        return await asyncio.to_thread(self.sync.stats)

    async def snapshot(self, name: str) -> None:
        """As `Vm.snapshot`."""
        await asyncio.to_thread(self.sync.snapshot, name)

    async def restore(self, name: str) -> None:
        """As `Vm.restore`. An open connection of an asynchronous client ends; the next request makes a new one."""
        await asyncio.to_thread(self.sync.restore, name)

    async def wait_renewed(self) -> None:
        """As `Vm.wait_renewed`."""
        await asyncio.to_thread(self.sync.wait_renewed)

    async def pause(self) -> None:
        """As `Vm.pause`."""
        await asyncio.to_thread(self.sync.pause)

    async def resume(self) -> None:
        """As `Vm.resume`."""
        await asyncio.to_thread(self.sync.resume)

    async def reset(self) -> None:
        """As `Vm.reset`."""
        await asyncio.to_thread(self.sync.reset)

    async def stop(self, timeout: float = 10.0) -> Stopped:
        """As `Vm.stop`."""
        return await asyncio.to_thread(self.sync.stop, timeout)

    async def kill(self) -> None:
        """As `Vm.kill`."""
        await asyncio.to_thread(self.sync.kill)

    async def power_on(self) -> None:
        """As `Vm.power_on`."""
        await asyncio.to_thread(self.sync.power_on)

    async def close(self) -> None:
        """As `Vm.close`."""
        for client in self._clients:
            await client.aclose()
        self._clients.clear()
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> AsyncVm:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.shield(self.close())


class AsyncConsole:
    """As `VmConsole`."""

    def __init__(self, vm: Vm) -> None:
        self._console = vm.console

    @property
    def text(self) -> str:
        """As `VmConsole.text`."""
        return self._console.text

    @property
    def position(self) -> int:
        """As `VmConsole.position`."""
        return self._console.position

    def tail(self, lines: int = 30) -> str:
        """As `VmConsole.tail`."""
        return self._console.tail(lines)

    async def wait_for(self, pattern: str, *, fail: str = "", timeout: float = 60.0, since: int | None = None) -> Found:
        """As `VmConsole.wait_for`."""
        return await asyncio.to_thread(self._console.wait_for, pattern, fail=fail, timeout=timeout, since=since)

    async def type(self, text: str) -> None:
        """As `VmConsole.type`."""
        await asyncio.to_thread(self._console.type, text)

    def interact(self, *, timeout: float = 30.0, **options: Any) -> AsyncDialog:
        """As `VmConsole.interact`, a dialog to be awaited."""
        return AsyncDialog(self._console.interact(timeout=timeout, **options))


class AsyncDialog:
    """As `Dialog`; `sync` is the same dialog for code that waits by blocking, with all that pexpect has."""

    def __init__(self, dialog: Dialog) -> None:
        self.sync = dialog

    @property
    def match(self) -> Any:
        """What `expect` found last: a match, pexpect's, or the text of `expect_exact`."""
        return self.sync.match

    @property
    def before(self) -> str:
        """What came before that."""
        return str(self.sync.before)

    async def expect(self, pattern: Any, timeout: float = -1) -> int:
        """Wait until a regular expression of `pattern`, one or a list, matches; which of the list it was. `timeout` in
        seconds, else the dialog's. Raises pexpect's TIMEOUT and EOF, and MachineError where the machine crashed."""
        return int(await asyncio.to_thread(self.sync.expect, pattern, timeout))

    async def expect_exact(self, text: Any, timeout: float = -1) -> int:
        """As `expect`, for text that is no regular expression."""
        return int(await asyncio.to_thread(self.sync.expect_exact, text, timeout))

    async def send(self, text: str) -> int:
        """As `Dialog.send`."""
        return await asyncio.to_thread(self.sync.send, text)

    async def sendline(self, text: str = "") -> int:
        """As `Dialog.sendline`."""
        return await asyncio.to_thread(self.sync.sendline, text)

    async def write(self, text: str) -> None:
        """As `Dialog.write`."""
        await asyncio.to_thread(self.sync.write, text)

    def isalive(self) -> bool:
        """As `Dialog.isalive`."""
        return self.sync.isalive()


class AsyncEvents:
    """As `Events`."""

    def __init__(self, vm: Vm) -> None:
        self._events = vm.events

    @property
    def seen(self) -> tuple[Event, ...]:
        """As `Events.seen`."""
        return self._events.seen

    def expect(self, *names: str) -> AsyncExpected:
        """As `Events.expect`."""
        return AsyncExpected(self._events.expect(*names))


class AsyncExpected:
    """As `Expected`."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected

    @property
    def seen(self) -> tuple[Event, ...]:
        """As `Expected.seen`."""
        return self._expected.seen

    async def wait(self, timeout: float = 30.0) -> Event:
        """As `Expected.wait`."""
        return await asyncio.to_thread(self._expected.wait, timeout)


class AsyncWarmPool:
    """As `WarmPool`; `sync` is the same pool for code that waits by blocking."""

    def __init__(self, pool: WarmPool) -> None:
        self.sync = pool

    @property
    def size(self) -> int:
        """As `WarmPool.size`."""
        return self.sync.size

    @property
    def warm(self) -> int:
        """As `WarmPool.warm`."""
        return self.sync.warm

    @property
    def shared(self) -> int:
        """As `WarmPool.shared`."""
        return self.sync.shared

    async def wait_warm(self, timeout: float = 60.0) -> bool:
        """As `WarmPool.wait_warm`."""
        return await asyncio.to_thread(self.sync.wait_warm, timeout)

    async def take(self) -> AsyncVm:
        """As `WarmPool.take`."""
        return AsyncVm(await asyncio.to_thread(self.sync.take))

    async def close(self) -> None:
        """As `WarmPool.close`."""
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> AsyncWarmPool:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await asyncio.shield(self.close())


def _awaited(vm: Vm, method: Callable[Concatenate[Faults, P], T]) -> Callable[P, Awaitable[T]]:
    """A method of the machine's faults; that they are looked for may wait, too."""

    def run(*arguments: P.args, **options: P.kwargs) -> T:
        return method(vm.faults, *arguments, **options)

    async def call(*arguments: P.args, **options: P.kwargs) -> T:
        return await asyncio.to_thread(run, *arguments, **options)

    return call


class AsyncFaults:
    """Each method of `Faults`, to be awaited."""

    def __init__(self, vm: Vm) -> None:
        self.network_down = _awaited(vm, Faults.network_down)
        self.network_up = _awaited(vm, Faults.network_up)
        self.network_lossy = _awaited(vm, Faults.network_lossy)
        self.network_whole = _awaited(vm, Faults.network_whole)
        self.disk_errors = _awaited(vm, Faults.disk_errors)
        self.disk_full = _awaited(vm, Faults.disk_full)
        self.disk_slow = _awaited(vm, Faults.disk_slow)
        self.memory_pressure = _awaited(vm, Faults.memory_pressure)
        self.memory_relief = _awaited(vm, Faults.memory_relief)
        self.freeze = _awaited(vm, Faults.freeze)
        self.clock_jump = _awaited(vm, Faults.clock_jump)
        self.nmi = _awaited(vm, Faults.nmi)
        self.unplug = _awaited(vm, Faults.unplug)
        self.power_cut = _awaited(vm, Faults.power_cut)
        self.reset = _awaited(vm, Faults.reset)
        self.heal = _awaited(vm, Faults.heal)
