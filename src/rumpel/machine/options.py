"""What is started, and how one start differs from its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rumpel.machine.accelerator import Asked
from rumpel.resolve.plan import Frozen
from rumpel.resolve.settings import StartSettings

if TYPE_CHECKING:
    from rumpel.build.manifest import Manifest


class Image(Frozen, frozen=True, kw_only=True):
    """The files of a built image, absolute paths. `rootfs` is the archive that the kernel starts with, `disk` the root
    filesystem where that is on one; `firmware` the machine's, where it is not QEMU's own; `project` is the root that a
    plan's relative paths start from."""

    kernel: str
    rootfs: str = ""
    disk: str = ""
    project: str = ""
    firmware: str = ""


def image_of(manifest: Manifest, directory: Path, project: Path) -> Image:
    """The image that `manifest` describes; `directory` is the image's folder, `project` the project's root."""
    where = directory.absolute()
    return Image(
        kernel=str(where / manifest.kernel.path),
        rootfs=str(where / (manifest.rootfs if manifest.initramfs is None else manifest.initramfs).path),
        disk="" if manifest.initramfs is None else str(where / manifest.rootfs.path),
        project=str(project.absolute()),
        firmware="" if manifest.firmware is None else str(where / manifest.firmware.path),
    )


class Options(Frozen, frozen=True, kw_only=True):
    """How one start differs from the plan. Empty and 0 leave what the plan says.

    `name`: the instance's name (the composition's); `ports`: host port by port name (0: QEMU chooses); `memory` in
    MiB; `volumes`: a folder for the volumes' images instead of the one in the state folder; `ready_timeout` and
    `stop_timeout` in seconds; `qemu`: QEMU's program, or `own`, `system`, `auto` (see
    `rumpel.machine.emulator`). `directory`: a folder for the instance instead of the one in the
    state folder; nobody else finds it by its name. `scratch`: a folder; what the machine writes to volumes is kept
    there and not in their images, and its state can be saved. `layers`: by a volume's name the files that its contents
    are in, instead of an image of the instance's own: an image, and qcow2 files above it. `halted`: it waits for QMP
    `cont`. `debugger`: the path of a Unix socket for a GDB, for which it waits. `seed`: random numbers and clocks are
    the same at each start with the same one. `record`: a folder, made by the start, from which it can be replayed.
    """

    name: str = ""
    ports: tuple[tuple[str, int], ...] = ()
    settings: StartSettings = StartSettings()
    memory: int = 0
    cpus: int = 0
    volumes: str = ""
    accelerator: Asked = "auto"
    ready_timeout: float = 0.0
    stop_timeout: float = 10.0
    qemu: str = ""
    directory: str = ""
    scratch: str = ""
    layers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    halted: bool = False
    debugger: str = ""
    seed: int | None = None
    record: str = ""
