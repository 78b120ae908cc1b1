"""The way in: `rumpel.boot` and `rumpel.launch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rumpel.harness.images import Bootable, Images
from rumpel.harness.scratch import scratch
from rumpel.harness.start import Start, make_start
from rumpel.harness.vm import Vm
from rumpel.machine.accelerator import Asked

_images = Images()


def boot(
    composition: str,
    *,
    kernel: str = "",
    machine: str = "",
    memory: str | int = 0,
    cpus: int = 0,
    arguments: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    variables: Mapping[str, object] | None = None,
    ports: Mapping[str, int] | None = None,
    hostname: str | None = None,
    clock: int | None = None,
    accel: Asked = "auto",
    name: str = "",
    project: str | Path | None = None,
    timeout: float | None = None,
) -> Vm:
    """Build a composition where it is not up to date, boot it and wait until it is ready.

    What is left out is as the composition says: `kernel` and `machine` by name; `memory` in MiB or as "64M"; `cpus`;
    the program's `arguments`; `env`, variables of its environment; `variables` of the composition; `ports`, the host's
    port by the port's name (every other port gets a free one); `hostname`; `clock`, seconds by which the guest's clock
    is ahead. `project` is the project's folder, else the nearest one above the working directory; Rumpel's own
    compositions are found from everywhere. `timeout`, in seconds, is for becoming ready.

    The machine's volumes are its own: fresh, and gone with it. So is everything else, however this process ends.

    Raises UsageError, ModelError, ResolveError, SourceError, BuildError for what cannot be built; HostError,
    VolumeError for what this machine lacks; MachineError, with the evidence, for a machine that did not become ready.
    """
    start = make_start(
        composition, kernel=kernel, machine=machine, memory=memory, cpus=cpus, arguments=arguments, env=env,
        variables=variables, ports=ports, hostname=hostname, clock=clock, accel=accel, name=name, project=project,
    )  # fmt: skip
    return ready(launch_image(_images.find(start.wanted), start), timeout)


def launch(
    composition: str,
    *,
    kernel: str = "",
    machine: str = "",
    memory: str | int = 0,
    cpus: int = 0,
    arguments: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    variables: Mapping[str, object] | None = None,
    ports: Mapping[str, int] | None = None,
    hostname: str | None = None,
    clock: int | None = None,
    accel: Asked = "auto",
    name: str = "",
    project: str | Path | None = None,
) -> Vm:
    """As `boot`, but returns once QEMU was started; `vm.wait_ready` waits for the rest."""
    start = make_start(
        composition, kernel=kernel, machine=machine, memory=memory, cpus=cpus, arguments=arguments, env=env,
        variables=variables, ports=ports, hostname=hostname, clock=clock, accel=accel, name=name, project=project,
    )  # fmt: skip
    return launch_image(_images.find(start.wanted), start)


def launch_image(image: Bootable, start: Start, *, scale: float = 1.0) -> Vm:
    """Start an image that is there already; every timeout is multiplied by `scale`."""
    return Vm(image, start, scratch().new(start.name or image.plan.composition), scale=scale)


def ready(vm: Vm, timeout: float | None = None) -> Vm:
    """Wait until `vm` is ready; on any failure nothing of it is left."""
    try:
        vm.wait_ready(timeout)
    except BaseException:
        vm.close()
        raise
    return vm
