"""The way in: `rumpel.boot`, `rumpel.launch` and `rumpel.pool`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from rumpel.errors import MachineError
from rumpel.harness.images import Bootable, Images
from rumpel.harness.scratch import scratch
from rumpel.harness.start import Start, Words, make_start
from rumpel.harness.vm import Vm

if TYPE_CHECKING:
    from rumpel.harness.warm import WarmPool

_images = Images()


def boot(composition: str, *, timeout: float | None = None, **words: Unpack[Words]) -> Vm:
    """Build a composition where it is not up to date, boot it and wait until it is ready, for at most `timeout` seconds
    (else as the composition says). `words` are those of `rumpel.harness.start.Words`: kernel, memory, env, ...

    The machine's volumes are its own: fresh, and gone with it. So is everything else, however this process ends.

    Raises UsageError, ModelError, ResolveError, SourceError, BuildError for what cannot be built; HostError,
    VolumeError for what this machine lacks; MachineError, with the evidence, for a machine that did not become ready.
    """
    start = make_start(composition, **words)
    return ready(launch_image(_images.find(start.wanted), start), timeout)


def launch(composition: str, **words: Unpack[Words]) -> Vm:
    """As `boot`, but returns once QEMU was started; `vm.wait_ready` waits for the rest. Raises what `boot` does."""
    start = make_start(composition, **words)
    return launch_image(_images.find(start.wanted), start)


def pool(composition: str, *, size: int = 4, timeout: float | None = None, **words: Unpack[Words]) -> WarmPool:
    """Boot a composition once, as `boot` does, and keep `size` copies of it running: one is there when it is asked for,
    and another one takes its place in the background.

    Raises UsageError for a size below 1, for `ports` (two machines cannot have one port), and for a composition that
    is ready when its program has ended; and what `boot` raises.
    """
    from rumpel.harness.warm import WarmPool

    start = make_start(composition, **words)
    return WarmPool(_images.find(start.wanted), start, size=size, timeout=timeout)


def launch_image(image: Bootable, start: Start, *, scale: float = 1.0) -> Vm:
    """Start an image that is there already; every timeout is multiplied by `scale`."""
    return Vm(image, start, scratch().new(start.name or image.plan.composition), scale=scale)


def ready(vm: Vm, timeout: float | None = None) -> Vm:
    """Wait until `vm` is ready; on any failure it is gone. Where the error names its files they stay until this process
    ends."""
    try:
        vm.wait_ready(timeout)
    except MachineError:
        vm.end()
        raise
    except BaseException:
        vm.close()
        raise
    return vm
