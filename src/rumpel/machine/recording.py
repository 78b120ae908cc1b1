"""A machine's whole run in a folder, from which it is run again without the world that it ran in.

    begin_recording(...)                        # before the start: copies of the image and of the volumes
    finish_recording(...)                       # after the end: the console, how it ended
    with launch_replay(load_recording(folder), work) as instance:
        instance.wait()

QEMU writes down what comes from outside - packets, characters, random numbers, clocks, when a disk was done - and at
which instruction; everything else follows from the image (QEMU `docs/system/replay.rst`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rumpel.errors import HostError, InstanceError, UsageError
from rumpel.machine.command import Counted, Launch
from rumpel.machine.running import Running
from rumpel.resolve.plan import Frozen, Plan

RECORDING_SCHEMA = 1
_DESCRIPTION, _ENDING = "recording.json", "ending.json"
_LOG, _CONSOLE, _SETTINGS = "events.rr", "console.log", "settings"


class Recording(Frozen, frozen=True):
    """What was started: `plan` as it ran, `memory` in MiB and `cpus`, `qemu` its version, `begun` seconds since 1970.
    The image's files are in the folder `image`; `rootfs` and `disk` are empty where it has none."""

    schema: int
    plan: Plan
    memory: int
    cpus: int
    seed: int | None
    rootfs: str
    disk: str
    project: str
    qemu: str
    begun: float


class Ending(Frozen, frozen=True):
    """How it ended: the program's status, QEMU's, what the end was where the program did not come to its own (a
    sentence), and the console's SHA-256 and size in bytes. `whole`: QEMU ended in order, so nothing of the log is
    missing."""

    status: int | None
    qemu_status: int | None
    failure: str
    console: str
    size: int
    whole: bool


class Recorded(Frozen, frozen=True):
    """A recording that can be replayed. `ending` None: the machine still runs, or its owner was killed."""

    folder: str
    recording: Recording
    ending: Ending | None

    @property
    def console(self) -> Path:
        return Path(self.folder) / _CONSOLE

    def image(self, name: str) -> str:
        """The absolute path of a file of the image; empty for an empty name."""
        return str(Path(self.folder) / "image" / name) if name else ""


def begin_recording(folder: Path, plan: Plan, how: Launch, seed: int | None, settings: bytes, project: str) -> Counted:
    """Make `folder`, which must not be there or be empty, and put into it all that a replay starts from.

    Files of the image are linked, as builds never change a file in place, or copied; volumes are copied without their
    holes. Raises UsageError where the folder is taken, or the
    plan has a console whose input QEMU does not record; OSError where it cannot be written.
    """
    console = next((device for device in plan.devices if device.backend == "console"), None)
    if console is not None:
        raise UsageError(
            f"A run of '{plan.composition}' cannot be recorded: its console is on the driver '{console.driver}', and "
            "QEMU records what is typed on serial ports alone.",
            hint=f"Take '{console.driver}' out of the composition's 'drivers'.",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"The recording cannot be put into '{folder}': there is something already.",
            hint="Name a folder that is not there yet.",
        )
    image = folder / "image"
    image.mkdir(parents=True)
    folder.chmod(0o700)
    _link(Path(how.kernel), image / "kernel")
    for name in filter(None, (how.rootfs, how.disk, how.firmware)):
        _link(Path(name), image / Path(name).name)
    for file in sorted((Path(how.kernel).parent / "debug").glob("*")):
        (image / "debug").mkdir(exist_ok=True)
        if file.name != "bzImage":  # the kernel once more
            _link(file, image / "debug" / file.name)
    (folder / _SETTINGS).write_bytes(settings)
    _copy_volumes(how.volumes, folder / "volumes")
    recording = Recording(
        schema=RECORDING_SCHEMA, plan=plan, memory=how.memory or plan.machine.memory,
        cpus=how.cpus or plan.machine.cpus, seed=seed, rootfs=Path(how.rootfs).name, disk=Path(how.disk).name,
        project=project, qemu=qemu_version(how.qemu), begun=time.time(),
    )  # fmt: skip
    (folder / _DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(recording), indent=2) + b"\n")
    return Counted("record", seed, str(folder / _LOG))


def finish_recording(folder: Path, directory: Path, running: Running, failure: str) -> None:
    """Add how the machine ended; `directory` is the instance's. A folder that is gone meanwhile is no error."""
    console = directory / "console.log"
    with contextlib.suppress(OSError):
        shutil.copyfile(console, folder / _CONSOLE)
        content = console.read_bytes()
        status = running.process.status
        ending = Ending(
            status=running.report.status, qemu_status=status, failure=failure,
            console=hashlib.sha256(content).hexdigest(), size=len(content), whole=status is not None and status >= 0,
        )  # fmt: skip
        (folder / _ENDING).write_bytes(msgspec.json.format(msgspec.json.encode(ending), indent=2) + b"\n")


def load_recording(folder: Path) -> Recorded:
    """Raises UsageError where `folder` holds no recording of this version."""
    path = folder / _DESCRIPTION
    try:
        recording = msgspec.json.decode(path.read_bytes(), type=Recording)
        ending = folder / _ENDING
        ended = msgspec.json.decode(ending.read_bytes(), type=Ending) if ending.exists() else None
    except OSError as error:
        raise UsageError(
            f"There is no recording in '{folder}': '{path.name}': {os.strerror(error.errno or 0)}.",
            hint="Make one with 'rumpel run --record DIR COMPOSITION'.",
        ) from error
    except msgspec.DecodeError as error:
        raise UsageError(
            f"The recording in '{folder}' is not one of version {RECORDING_SCHEMA}: {error}.", hint="Record it again."
        ) from error
    if recording.schema != RECORDING_SCHEMA:
        raise UsageError(
            f"The recording in '{folder}' is of version {recording.schema}; this Rumpel replays version "
            f"{RECORDING_SCHEMA}.",
            hint="Record it again.",
        )
    if not (folder / _LOG).exists():
        raise UsageError(f"The recording in '{folder}' has lost its '{_LOG}'.", hint="Record it again.")
    return Recorded(folder=str(folder.absolute()), recording=recording, ending=ended)


def replay_launch(recorded: Recorded, qemu: str) -> Launch:
    """How QEMU runs it again, without a place for what it writes. Raises HostError where this is another QEMU, and
    InstanceError where the machine still runs."""
    folder, recording = Path(recorded.folder), recorded.recording
    version = qemu_version(qemu)
    if version != recording.qemu:
        raise HostError(
            f"The recording in '{folder}' was made by QEMU {recording.qemu}, but here is QEMU {version}: only the same "
            "one can run it again.",
            hint="Install that version, or record the run again.",
        )
    if recorded.ending is None and not (folder / _LOG).stat().st_size:
        raise InstanceError(
            f"The recording in '{folder}' is empty: its machine still runs, or was killed with its owner.",
            hint="Stop the machine first; QEMU writes the log at its end.",
        )
    volumes = {volume.name: str(folder / "volumes" / f"{volume.name}.ext4") for volume in recording.plan.volumes}
    return Launch(
        kernel=recorded.image("kernel"), rootfs=recorded.image(recording.rootfs), disk=recorded.image(recording.disk),
        firmware=recorded.image("firmware") if recording.plan.machine.firmware_sources else "",
        settings=str(folder / _SETTINGS), qemu=qemu, memory=recording.memory, cpus=recording.cpus, volumes=volumes,
        counted=Counted("replay", recording.seed, str(folder / _LOG)),
    )  # fmt: skip


def is_finished(folder: Path) -> bool:
    """Whether a recording is there whose machine has ended."""
    return (folder / _ENDING).exists()


def size_of(folder: Path) -> int:
    """What a recording takes of the disk, in bytes; files that it shares with a build's are counted once each."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def qemu_version(qemu: str) -> str:
    """As QEMU says it: "7.2.22 (Debian 1:7.2+dfsg-7)". Raises HostError where the program cannot be run."""
    try:
        said = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        raise HostError(
            f"QEMU's program '{qemu}' cannot be run: {error.strerror}.",
            hint="'--qemu' takes another one; `rumpel qemu build` builds Rumpel's own anew.",
        ) from error
    return said.splitlines()[0].removeprefix("QEMU emulator version ") if said else "of no version"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError:
        shutil.copyfile(source, target)


def _copy_volumes(volumes: Mapping[str, str], folder: Path) -> None:
    for name, path in volumes.items():
        folder.mkdir(exist_ok=True)
        copied = ["cp", "--sparse=always", "--reflink=auto", "--", path, str(folder / f"{name}.ext4")]
        done = subprocess.run(copied, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise HostError(
                f"The volume '{name}' could not be copied into the recording: {done.stderr.strip()}",
                hint="Check the space on the disk and the permissions there.",
            )
