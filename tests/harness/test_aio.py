"""The asynchronous twin does the same without blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest
from tests.harness.conftest import Guest

import rumpel
from rumpel.errors import MachineError
from rumpel.harness.aio import AsyncVm

pytestmark = pytest.mark.boot

ROOT = Path(__file__).resolve().parents[2]


class Ticks:
    """Counts how often the loop comes round, every 10 ms where nothing blocks it."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Ticks:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.count += 1


async def _a_day_of_a_machine() -> None:
    async with Ticks() as ticks:
        await _a_day(ticks)


async def _a_day(ticks: Ticks) -> None:
    async with await rumpel.aio.boot("sqlite-web", accel="tcg", project=ROOT) as vm:
        assert ticks.count > 20  # the loop went on while it booted
        client = vm.http()
        await vm.snapshot("ready")
        assert (await client.post("/api/query", json={"sql": "create table t (x)"})).status_code == 200
        await vm.restore("ready")
        assert (await client.post("/api/query", json={"sql": "select * from t"})).status_code == 400

        async def answered() -> bool:
            return (await client.get("/")).status_code == 200

        assert await vm.wait(answered)
        with pytest.raises(MachineError, match=r"'never' did not succeed within 0.1 s; at last it returned None\."):
            await vm.wait(lambda: asyncio.sleep(0), 0.1, what="never")
        stopped = vm.events.expect("STOP")
        await vm.pause()
        assert (await stopped.wait()).name == "STOP"
        assert stopped.seen == ()
        await vm.resume()
        await vm.faults.nmi()
        await vm.console.wait_for("NMI", timeout=20)
        reader, writer = await vm.tcp()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        assert (await vm.stats()).cpu > 0
        assert vm.url == vm.url_of("http") == f"http://127.0.0.1:{vm.host_port('http')}"
        assert "NMI" in vm.console.tail(5)
        waiting = asyncio.create_task(vm.console.wait_for("never"))
        await vm.faults.power_cut()
        with pytest.raises(MachineError):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(MachineError, match="does not run: it was killed"):
            await vm.tcp()
        await vm.power_on()
        assert await answered()


def test_a_machine_is_used_by_asyncio() -> None:
    asyncio.run(_a_day_of_a_machine())


def test_a_dialog_is_had_by_asyncio(guest: Guest) -> None:
    vm = AsyncVm(guest("echo", "status=6"))

    async def talk() -> None:
        dialog = vm.console.interact(timeout=20)
        await vm.console.wait_for("READY")
        async with Ticks() as ticks:
            with pytest.raises(pexpect.TIMEOUT):
                await dialog.expect("never", timeout=0.5)
            assert ticks.count > 10
        assert await dialog.sendline("hello") == 6
        assert await dialog.expect(["never", r"(\d): hello"]) == 1
        assert dialog.match.group(1) == "1"
        await dialog.send("a word")
        await dialog.write("\n")
        await dialog.expect_exact("2: a word")
        assert dialog.isalive()
        await dialog.sendline()
        await dialog.expect(pexpect.EOF)
        assert await vm.wait_exit() == 6

    asyncio.run(talk())


def test_the_loop_goes_on_while_a_restored_guest_is_waited_for(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rumpel.harness.vm.LONGEST_RENEWAL", 0.5)
    vm = AsyncVm(guest("deaf", net=True))  # it never takes a time of its own

    async def use() -> None:
        await vm.console.wait_for("READY")
        await vm.snapshot("deaf")
        ways: list[Callable[[], Awaitable[None]]] = [lambda: vm.console.type("x"), lambda: vm.faults.nmi(), vm.pause]
        for waits in ways:
            await vm.restore("deaf")
            async with Ticks() as ticks:
                with pytest.raises(MachineError, match="did not take"):
                    await waits()
                assert ticks.count > 10

    asyncio.run(use())
