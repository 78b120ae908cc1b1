"""When a machine is ready, by what its plan declares; and when waiting for it has no more sense."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rumpel.errors import MachineError
from rumpel.machine import failure, ready
from rumpel.machine.console import ConsoleTimeoutError
from rumpel.machine.ports import guest_took_connection

if TYPE_CHECKING:
    from rumpel.machine.instance import Instance


def wait_until_ready(instance: Instance, limit: float) -> None:
    """Wait until `instance` is ready, at most `limit` seconds from its start. Raises MachineError with all that is
    known."""
    running, declared = instance.running, instance.plan.ready
    deadline = running.started + limit
    try:
        match declared.kind:
            case "console":
                remaining = max(0.0, deadline - time.monotonic())
                running.console.wait_for(
                    declared.console, remaining, since=running.boot_position, watch=lambda: watch(instance)
                )
            case "exit":
                _until(instance, lambda: running.ended, deadline, "the program did not end")
                instance.judge()
            case "port" | "http":
                _until(instance, lambda: running.report.started, deadline, "the guest did not start the program")
                _probe(instance, deadline)
    except ConsoleTimeoutError:
        raise _late(instance, limit, f"no line of the console matched '{declared.console}'") from None
    except ready.ProbeTimeoutError as error:
        raise _late(instance, limit, error.seen) from None


def watch(instance: Instance) -> None:
    """Raise where waiting has no more sense: QEMU ended, or the guest said that it gave up or is done."""
    running = instance.running
    report = running.report
    given_up = report.failure or report.panic
    if not (running.ended or given_up or report.status is not None):
        return
    running.wait_end(5.0)
    if instance.plan.ready.kind == "exit" and report.status is not None:
        return
    if report.status is not None:
        raise instance.failed(f"The program ended with status {report.status} before the machine was ready.")
    instance.judge()
    raise instance.failed(failure.end_message(running))


def _probe(instance: Instance, deadline: float) -> None:
    watch(instance)
    declared = instance.plan.ready
    port = next(port for port in instance.plan.ports if port.name == declared.port)
    number = instance.ports[port.name]

    def pause(seconds: float) -> None:
        watch(instance)
        if seconds > 0:
            instance.running.pause(seconds)
            watch(instance)

    def taken() -> bool:
        usernet = instance.running.monitor.execute("human-monitor-command", {"command-line": "info usernet"})
        return guest_took_connection(str(usernet), number)

    if instance.running.report.tells_ports and port.protocol == "tcp":
        _until(
            instance,
            lambda: port.port in instance.running.report.listening,
            deadline,
            lambda: ready.not_listening(port, instance.running.report.listening),
        )
    if declared.kind == "http":
        ready.wait_for_http(number, declared.path or "/", deadline, pause)
    elif port.protocol == "tcp":
        ready.wait_for_port(number, deadline, pause, taken)
    # Nothing says that a guest listens on a UDP port: there, ready is when the program was started.


def _until(
    instance: Instance, reached: Callable[[], bool], deadline: float, otherwise: str | Callable[[], str]
) -> None:
    while not reached():
        watch(instance)
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise ready.ProbeTimeoutError(otherwise if isinstance(otherwise, str) else otherwise())
        instance.running.pause(min(remaining, 0.25))


def _late(instance: Instance, limit: float, seen: str) -> MachineError:
    return instance.failed(f"The machine '{instance.name}' was not ready within {limit:g} s: {seen}.")
