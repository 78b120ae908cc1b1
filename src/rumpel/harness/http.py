"""HTTP to a port of a machine: httpx clients that stay valid when the machine is restored or powered on again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from rumpel.harness.vm import Vm


class Transport(httpx.BaseTransport):
    """Sends to where the port is now; a request that fails because the machine ended says that it did."""

    def __init__(self, vm: Vm, port: str) -> None:
        self._vm = vm
        self._port = port
        self._inner = httpx.HTTPTransport(verify=False)  # certificates are of no use here, and slow to load

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request. Raises MachineError where the machine has ended, else what httpx raises."""
        request.url = request.url.copy_with(port=self._vm.host_port(self._port))
        try:
            return self._inner.handle_request(request)
        except httpx.TransportError:
            self._vm.raise_if_ending()
            raise

    def disconnect(self) -> None:
        """Close the open connections; the guest that they led to is another one now."""
        self._inner.close()
        self._inner = httpx.HTTPTransport(verify=False)

    def close(self) -> None:
        self._inner.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """The same for httpx' asynchronous client."""

    def __init__(self, vm: Vm, port: str) -> None:
        self._vm = vm
        self._port = port
        self._inner = httpx.AsyncHTTPTransport(verify=False)
        self._life = vm.life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request. Raises MachineError where the machine has ended, else what httpx raises."""
        import asyncio

        if self._life != self._vm.life:  # its connections lead to a guest that is no more
            self._life = self._vm.life
            await self._inner.aclose()
            self._inner = httpx.AsyncHTTPTransport(verify=False)
        request.url = request.url.copy_with(port=self._vm.host_port(self._port))
        try:
            return await self._inner.handle_async_request(request)
        except httpx.TransportError:
            await asyncio.to_thread(self._vm.raise_if_ending)
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()
