"""A machine of the harness, from its start to its end.

    with boot(make_start("sqlite-web")) as vm:
        vm.http().get("/")

Its folder, disks and snapshots lie in the scratch folder of the process and go with it. All methods may be called
from any thread.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from rumpel.errors import HostError, InstanceError, MachineError, UsageError
from rumpel.harness.console import VmConsole
from rumpel.harness.events import Events
from rumpel.harness.images import Bootable
from rumpel.harness.start import Start
from rumpel.machine import failure, snapshots
from rumpel.machine.instance import Instance, Options, Stats
from rumpel.machine.instance import launch as launch_instance
from rumpel.machine.registry import Stopped
from rumpel.machine.renewal import LONGEST_RENEWAL, Renewal, go_on
from rumpel.machine.template import Layers, Template, launch_copy
from rumpel.resolve.plan import Plan
from rumpel.resolve.settings import StartSettings

if TYPE_CHECKING:
    import httpx

    from rumpel.harness.faults import Faults
    from rumpel.harness.http import Transport

T = TypeVar("T")

# How long after a broken connection the end of QEMU may become known.
_END_DELAY = 0.25


class Vm:
    """One machine. Made by `rumpel.boot`, which waits until it is ready, and `rumpel.launch`, which does not.

    Every method that waits ends at once, with a MachineError that holds the evidence, when QEMU ends, the guest
    panics or its program ends. Every timeout is in seconds, and is multiplied by the harness's scale.

    `name` is the machine's; `folder` holds its logs (`console.log`, `qmp.log`, `qemu.log`) until it is closed;
    `console`, `events` and `faults` have pages of their own below.
    """

    def __init__(
        self, image: Bootable, start: Start, folder: Path, *, scale: float = 1.0, template: Template | None = None
    ) -> None:
        self.name = start.name or image.plan.composition
        self.folder = folder
        self.console = VmConsole(self)
        self.events = Events(self)
        self._image = image
        self._start = start
        self._scale = scale
        self._snapshots: dict[str, snapshots.Snapshot] = {}
        self._transports: list[Transport] = []
        self._clients: list[httpx.Client] = []
        self._faults: Faults | None = None
        self._renewal: Renewal | None = None
        self._by_force = ""
        self._life = 0
        self._qemu = ""  # as it is chosen now; then that one always, as its snapshots may not fit another
        self._layers: Layers = () if template is None else template.layers
        self._instance = self._launch(halted=False, ports=dict(start.ports), template=template)
        self._qemu = self._instance.qemu

    @property
    def instance(self) -> Instance:
        """The machine room's view of it; another one after `power_on`."""
        return self._instance

    @property
    def life(self) -> int:
        """Counts how often the guest became another one: restored, reset, powered on."""
        return self._life

    @property
    def plan(self) -> Plan:
        """What the machine is made of."""
        return self._image.plan

    @property
    def ports(self) -> Mapping[str, int]:
        """The host's port, on 127.0.0.1, by the port's name."""
        return dict(self._instance.ports)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:NUMBER` of the port 'http', else of the first one. Raises UsageError: there is none."""
        return self.url_of(self.main_port)

    def url_of(self, port: str) -> str:
        """`http://127.0.0.1:NUMBER` of a port by its name. Raises UsageError for an unknown name."""
        return f"http://127.0.0.1:{self.host_port(port)}"

    def host_port(self, port: str) -> int:
        """The host's port for a port by its name. Raises UsageError for an unknown name, MachineError where QEMU ended
        before it said its ports."""
        if port not in self._instance.ports and any(each.name == port for each in self.plan.ports):
            self.watch()
        self._instance.url(port)
        return self._instance.ports[port]

    def http(self, port: str = "", *, timeout: float = 30.0, **options: Any) -> httpx.Client:
        """An httpx client for a port by its name (else as `url`); `options` go to `httpx.Client`. It is closed with the
        machine, and stays valid over `restore` and `power_on`.

        Raises UsageError for an unknown name; a request raises MachineError where the machine ended meanwhile.
        """
        import httpx

        from rumpel.harness.http import Transport

        name = port or self.main_port
        transport = Transport(self, name)
        client = httpx.Client(base_url=self.url_of(name), transport=transport, timeout=self.scaled(timeout), **options)
        self._transports.append(transport)
        self._clients.append(client)
        return client

    def tcp(self, port: str = "", *, timeout: float = 30.0) -> socket.socket:
        """A connection to a port by its name (else as `url`); the caller closes it. `timeout` in seconds holds for each
        operation on it. QEMU accepts before the guest does: that it could be made says nothing about the guest.

        Raises UsageError for an unknown name, MachineError where the machine has ended, else what `socket` raises.
        """
        number = self.host_port(port or self.main_port)
        try:
            return socket.create_connection(("127.0.0.1", number), self.scaled(timeout))
        except OSError:
            self.raise_if_ending()
            raise

    def qmp(self, command: str, /, **arguments: object) -> Any:
        """Run a QMP command and return what it returned; underscores in the arguments' names stand for hyphens.

        Raises MachineError with QEMU's words where it refuses, with the evidence where it has ended.
        """
        return self._instance.qmp(command, **arguments)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the machine is ready, by what its composition declares; `timeout` in seconds, else the
        composition's. Raises MachineError with what the last try saw."""
        limit = self.plan.ready.timeout if timeout is None else timeout
        self._instance.wait_ready(self.scaled(limit))

    def wait(self, check: Callable[[], T], timeout: float = 30.0, *, every: float = 0.05, what: str = "") -> T:
        """Call `check` until it returns something true, which is returned. One that raises has not succeeded yet.

        `timeout` and `every` are in seconds; at the deadline there is one more try. Raises MachineError that tells
        what the last try saw, with the evidence. `what` names the check in it.
        """
        limit = self.scaled(timeout)
        deadline = time.monotonic() + limit
        while True:
            last = time.monotonic() >= deadline
            self.watch()
            try:
                result = check()
                if result:
                    return result
                seen, cause = f"it returned {result!r}", None
            except MachineError:
                raise
            except Exception as error:  # whatever a check raises means: not yet
                seen, cause = f"it raised {type(error).__name__}: {error}", error
            if last:
                name = what or getattr(check, "__name__", repr(check))
                raise self.too_late(name, limit, seen) from cause
            self._instance.running.pause(max(0.0, min(every, deadline - time.monotonic())))

    def wait_exit(self, timeout: float = 60.0) -> int:
        """Wait until the guest's program has ended; its exit status. Raises MachineError where the guest crashed, was
        ended by force, or the time was over."""
        limit = self.scaled(timeout)
        try:
            return self._instance.wait(limit)
        except TimeoutError:
            raise self._instance.failed(f"The program of '{self.name}' did not end within {limit:g} s.") from None
        except InstanceError:
            raise self._instance.failed(self._end()) from None

    @property
    def exit_status(self) -> int | None:
        """The exit status of the guest's program, once it has ended and said so."""
        return self._instance.exit_status

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self._instance.ended

    def stats(self) -> Stats:
        """CPU time of QEMU in seconds, its resident memory in bytes, the boot's timeline in seconds."""
        return self._instance.stats()

    @property
    def recording(self) -> Path | None:
        """The folder that the machine is recorded into; it is complete when the machine has ended. None: it is not."""
        return self.folder / self._start.record if self._start.record else None

    @property
    def faults(self) -> Faults:
        """What can be broken on purpose. Raises UsageError where the machine is recorded."""
        self._refuse_recorded("broken on purpose")
        self.wait_renewed()
        if self._faults is None:
            from rumpel.harness.faults import Faults

            self._faults = Faults(self)
        return self._faults

    def snapshot(self, name: str) -> None:
        """Save memory, devices and volumes under `name`, in place of an older snapshot of that name; the machine goes
        on. Raises UsageError for a name that cannot be one, MachineError where QEMU refuses."""
        self._refuse_recorded("saved")
        self.watch()
        self.wait_renewed()
        self._snapshots[name] = snapshots.save(self._instance, name)

    def restore(self, name: str) -> None:
        """Go back to a snapshot, and run from there; a machine that has ended is started again for it. What was broken
        on purpose is whole again. The guest gets the host's time and random numbers of its own, and no packet passes
        before; but it goes on as it was where the machine has a seed, or where the snapshot is older than its program's
        start. Raises UsageError for an unknown name, MachineError where QEMU refuses."""
        self._refuse_recorded("restored")
        if name not in self._snapshots:
            known = ", ".join(f"'{each}'" for each in self._snapshots) or "none"
            raise UsageError(f"The machine '{self.name}' has no snapshot '{name}'.", hint=f"It has: {known}.")
        self.disconnect()
        if self._renewal is not None:
            self._renewal.give_up()
            self._renewal = None
        # A QEMU whose clocks have jumped cannot take its time stamp counter back: another one begins at the snapshot's.
        if self.ended or (self._faults is not None and self._faults.clock_jumped):
            self._relaunch(halted=True)
        elif self._faults is not None:
            self._faults.heal()
        snapshots.load(self._instance, self._snapshots[name])
        self.console.begin_here()
        self._renewal = go_on(self._instance, self.scaled(LONGEST_RENEWAL))

    def pause(self) -> None:
        """Stop the guest's CPUs. Its clock stands still meanwhile. Raises UsageError where the machine is recorded,
        MachineError where it has ended."""
        self._refuse_recorded("paused")
        self.wait_renewed()
        self.qmp("stop")

    def resume(self) -> None:
        """Let the guest's CPUs go on. Raises MachineError where the machine has ended."""
        self.qmp("cont")

    def stop(self, timeout: float = 10.0) -> Stopped:
        """Ask the guest to end; after `timeout` seconds QEMU is told to quit, then killed. What it took: 'asked',
        'quit', 'killed'; 'ended': it had ended already."""
        took = self._instance.stop(self.scaled(timeout))
        if took in ("quit", "killed"):
            self._by_force = "it was stopped"
        return took

    def kill(self) -> None:
        """End QEMU by SIGKILL, as a power cut would."""
        self._by_force = "it was killed"
        self._instance.kill()

    def power_on(self) -> None:
        """Boot again, with the volumes as they are, and wait until it is ready. Raises InstanceError where the machine
        still runs, UsageError where it was recorded, and what `rumpel.boot` raises."""
        self._refuse_recorded("started again")
        if not self.ended:
            raise InstanceError(f"The machine '{self.name}' still runs.", hint="Stop it first.", instance=self.name)
        self.disconnect()
        self._relaunch(halted=False)
        self.wait_ready()

    def reset(self) -> None:
        """Press the reset button, and wait until the guest has begun to boot again, with the volumes as they are;
        `wait_ready` waits for the rest. Raises MachineError where it does not, UsageError where the machine is
        recorded."""
        self._refuse_recorded("reset")
        self.watch()
        self.wait_renewed()
        self.disconnect()
        self.qmp("stop")
        done = self.events.expect("RESET")
        # Machines end at a reset, as a guest that crashes resets. Firmware may reset once more on its own (SeaBIOS,
        # where it finds that it has run before), so until the kernel has begun a reset is one.
        self.qmp("set-action", reboot="reset")
        self.qmp("system_reset")
        done.wait()
        self._instance.running.begin_again()
        self.console.begin_here()
        self.resume()
        self.wait(self._instance.running.has_begun, self.plan.ready.timeout, what="the guest's first sign of life")
        self.qmp("set-action", reboot="shutdown")

    def close(self) -> None:
        """Kill the machine if it still runs, and remove its folder. May be called twice."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end(self) -> None:
        """Kill the machine if it still runs; its folder stays until the process ends."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self._transports.clear()
        if self._faults is not None:
            self._faults.forget()
        self._instance.close()

    def __enter__(self) -> Vm:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _refuse_recorded(self, what: str) -> None:
        if self._start.record:
            raise UsageError(
                f"The machine '{self.name}' is recorded: it cannot be {what}, as a replay would not be.",
                hint="Boot it with record=False.",
            )

    def scaled(self, seconds: float) -> float:
        """A timeout on this machine: `seconds` times the scale of the harness."""
        return seconds * self._scale

    def watch(self) -> None:
        """Raise MachineError where waiting has no more sense: QEMU or the program ended, the guest panicked."""
        report = self._instance.running.report
        if self.ended or report.status is not None or report.failure or report.panic:
            self._instance.running.wait_end(5.0)
            raise self._instance.failed(self._end())
        if self._renewal is not None and self._renewal.late:
            raise self._renewal.too_late()

    def wait_renewed(self) -> None:
        """Wait until a restored guest has taken its time and its random numbers, as saving, pausing, breaking it and
        typing on its console do by themselves. Raises MachineError where it does not take them."""
        if self._renewal is not None:
            self._renewal.wait()

    def too_late(self, name: str, limit: float, seen: str) -> MachineError:
        """The error of a check that did not succeed in time."""
        return self._instance.failed(f"'{name}' did not succeed within {limit:g} s; at last {seen}.")

    def raise_if_ending(self) -> None:
        """`watch`, shortly after something that the end of the machine may have caused."""
        self._instance.running.wait_end(_END_DELAY)
        self.watch()

    def raise_crash(self) -> None:
        """Raise MachineError where the machine has ended otherwise than by its program's end or by force."""
        if self.ended and self.exit_status is None and not self._by_force:
            raise self._instance.failed(failure.end_message(self._instance.running))

    def _end(self) -> str:
        status = self.exit_status
        if status is not None:
            return f"The program of '{self.name}' ended with status {status}."
        if self._by_force:
            return f"The machine '{self.name}' does not run: {self._by_force}."
        return failure.end_message(self._instance.running)

    @property
    def main_port(self) -> str:
        """The name of the port 'http', else of the first TCP port. Raises UsageError where there is none."""
        names = [port.name for port in self.plan.ports if port.protocol == "tcp"]
        if not names:
            raise UsageError(f"The composition '{self.plan.composition}' has no TCP port.")
        return "http" if "http" in names else names[0]

    def _launch(self, *, halted: bool, ports: Mapping[str, int], template: Template | None = None) -> Instance:
        options = options_of(
            self._start, self._image.plan, self.folder, ports=ports, layers=self._layers, halted=halted, qemu=self._qemu
        )
        if template is not None:
            return launch_copy(self._image.plan, self._image.files, options, template)
        return launch_instance(self._image.plan, self._image.files, options)

    def _relaunch(self, *, halted: bool) -> None:
        """QEMU again, over the same disks; at the same ports, unless somebody has taken one meanwhile."""
        ports = self.ports
        if self._faults is not None:
            self._faults.forget()
        self._instance.close()
        self._by_force = ""
        try:
            self._instance = self._launch(halted=halted, ports=ports)
        except HostError:
            self._instance = self._launch(halted=halted, ports=dict(self._start.ports))
        self.console.begin_anew()

    def disconnect(self) -> None:
        """Close the open connections of the http clients; the clients stay valid."""
        self._life += 1
        for transport in self._transports:
            with contextlib.suppress(Exception):
                transport.disconnect()


def options_of(
    start: Start, plan: Plan, folder: Path, *, ports: Mapping[str, int], layers: Layers = (), halted: bool = False,
    qemu: str = "",
) -> Options:  # fmt: skip
    """How the machine of `start` is started in `folder`. `layers`: what its volumes hold, where they are not new;
    `qemu` as in `Options`."""
    names = {port.name for port in plan.ports}
    return Options(
        name=start.name or plan.composition,
        ports=tuple((port.name, ports.get(port.name, 0)) for port in plan.ports)
        + tuple((name, number) for name, number in ports.items() if name not in names),
        settings=StartSettings(
            arguments=start.arguments, environment=start.environment, hostname=start.hostname, clock=start.clock
        ),
        memory=start.memory, cpus=start.cpus, volumes=str(folder / "volumes"), accelerator=start.accelerator,
        directory=str(folder), scratch=str(folder / "disks"), layers=layers, halted=halted, qemu=qemu,
        seed=start.seed, record=str(folder / start.record) if start.record else "",
    )  # fmt: skip
