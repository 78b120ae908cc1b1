"""The emulators that were built on this machine: where they are, and what they can emulate.

`~/.cache/rumpel/emulators/NAME/built.json` describes the one that counts; it is replaced in one step.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

from rumpel import places
from rumpel.resolve.plan import Frozen

BUILT_SCHEMA = 1
QEMU = "qemu"  # the emulator's name, as its folder is called


class Built(Frozen, frozen=True, kw_only=True):
    """A built emulator. `program` is relative to the folder of this description; `plan` the digest of the plan that it
    was built from; `version` as it says it itself; `size` in bytes; `machines` and `devices` are its models."""

    schema: int = BUILT_SCHEMA
    program: str
    plan: str
    version: str
    sha256: str
    size: int
    machines: tuple[str, ...]
    devices: tuple[str, ...]

    def lacks(self, machine: str, devices: tuple[str, ...]) -> tuple[str, ...]:
        """Which of the models it cannot emulate."""
        return (*({machine} - set(self.machines)), *sorted(set(devices) - set(self.devices)))


def folder_of(name: str = QEMU) -> Path:
    """Where the emulator `name` is kept."""
    return places.emulators_dir() / name


def built_emulator(name: str = QEMU) -> Built | None:
    """The emulator that was built; None where there is none, not all of its program, or one of another Rumpel."""
    try:
        found = msgspec.json.decode((folder_of(name) / "built.json").read_bytes(), type=Built)
    except (OSError, msgspec.MsgspecError):
        return None
    try:
        whole = program_of(found, name).stat().st_size == found.size
    except OSError:
        return None
    return found if found.schema == BUILT_SCHEMA and whole else None


def program_of(built: Built, name: str = QEMU) -> Path:
    """The program of a built emulator; an absolute path."""
    return folder_of(name) / built.program


def write_built(built: Built, name: str = QEMU) -> None:
    """Make `built` the one that counts."""
    folder = folder_of(name)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".built.", delete=False) as fresh:
        fresh.write(msgspec.json.format(msgspec.json.encode(built), indent=2) + b"\n")
    write_back(Path(fresh.name))
    Path(fresh.name).chmod(0o644)
    Path(fresh.name).replace(folder / "built.json")


def write_back(path: Path) -> None:
    """Wait until the file's content is on the disk: a name that it gets then never stands for less."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def forget_built(name: str = QEMU) -> None:
    """Take it out of use; its program may still run."""
    with contextlib.suppress(FileNotFoundError):
        (folder_of(name) / "built.json").unlink()
