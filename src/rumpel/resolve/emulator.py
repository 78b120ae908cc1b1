"""What an emulator is built from: the sources that the lock file pins, and the symbols of every machine and driver.

Unlike a plan it is of no one composition: an emulator that is built once runs all compositions of the parts here.
"""

from __future__ import annotations

import hashlib

import msgspec

from rumpel.model.lock import Lock
from rumpel.model.parts import SourceChange
from rumpel.model.project import Project
from rumpel.resolve.pins import pinned_sources
from rumpel.resolve.plan import Frozen, Source


class EmulatorPlan(Frozen, frozen=True):
    """An emulator: QEMU's `target`, its Kconfig `symbols` without `CONFIG_`, sorted, its `sources`, by name, and what
    is done to QEMU's before it is built: `files`, path and text, are laid into it, and it is changed, in order."""

    name: str
    target: str
    symbols: tuple[str, ...]
    sources: tuple[Source, ...]
    files: tuple[tuple[str, str], ...] = ()
    changes: tuple[SourceChange, ...] = ()

    @property
    def digest(self) -> str:
        """Changes exactly where what it is built from does; 64 hexadecimal digits."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    def source(self, name: str) -> Source:
        """The source called `name`."""
        return next(source for source in self.sources if source.name == name)


def plan_emulator(project: Project, name: str, lock: Lock) -> EmulatorPlan:
    """The emulator `name` for all parts of `project`. Raises ModelError, UsageError (there is none of that name) and
    ResolveError (a source is not pinned)."""
    emulator = project.emulator(name)
    drivers = [project.driver(each) for each in project.names("driver")]
    machines = [project.machine(each) for each in project.names("machine")]
    symbols = {*emulator.kconfig}
    symbols.update(symbol for driver in drivers if driver.device is not None for symbol in driver.device.kconfig)
    symbols.update(symbol for machine in machines for symbol in machine.kconfig)
    return EmulatorPlan(
        name=emulator.name,
        target=emulator.target,
        symbols=tuple(sorted(symbols)),
        sources=pinned_sources([(f"emulator '{name}'", emulator.sources)], lock),
        files=tuple(
            (path, project.locate(f"{emulator.origin.directory}/{name}").read_text("utf-8"))
            for path, name in emulator.files
        ),
        changes=emulator.changes,
    )
