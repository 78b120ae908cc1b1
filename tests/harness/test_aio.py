"""The asynchronous twin does the same without blocking the loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import rumpel
from rumpel.errors import MachineError

pytestmark = pytest.mark.boot

ROOT = Path(__file__).resolve().parents[2]


async def _a_day_of_a_machine() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with await rumpel.aio.boot("sqlite-web", accel="tcg", project=ROOT) as vm:
        assert ticks > 20  # the loop went on while it booted
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
        await vm.resume()
        await vm.faults.nmi()
        await vm.console.wait_for("NMI", timeout=20)
        reader, writer = await vm.tcp()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        assert (await vm.stats()).cpu > 0
        waiting = asyncio.create_task(vm.console.wait_for("never"))
        await vm.faults.power_cut()
        with pytest.raises(MachineError):
            await asyncio.wait_for(waiting, 5)
        await vm.power_on()
        assert await answered()
    ticking.cancel()


def test_a_machine_is_used_by_asyncio() -> None:
    asyncio.run(_a_day_of_a_machine())
