"""The typed form of description files. All are immutable; names that lead to other parts keep their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rumpel.errors import Location
from rumpel.model.lock import SourceKind

ReadyKind = Literal["console", "port", "http", "exit"]
READY_KINDS: tuple[ReadyKind, ...] = get_args(ReadyKind)


@dataclass(frozen=True, slots=True)
class Word:
    """A name that stands in a file: the name and its place."""

    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part was read: its folder and its file relative to the root that holds it, and the file's SHA-256."""

    directory: str
    path: str
    sha256: str
    location: Location


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Where a source comes from. `name` is its lock entry, `package` what the registry calls it; of a `file` its path
    relative to the root that holds it."""

    name: str
    kind: SourceKind
    package: str
    location: Location
    follow: str = ""
    release: str = ""
    version: str = ""  # of npm and PyPI: the version, or its first numbers
    integrity: str = ""  # as a package-lock.json says it (Subresource Integrity)

    def same_as(self, other: SourceSpec) -> bool:
        """Whether both mean the same thing to fetch."""
        mine = (self.kind, self.package, self.follow, self.release, self.version)
        return mine == (other.kind, other.package, other.follow, other.release, other.version)


@dataclass(frozen=True, slots=True)
class ReadySpec:
    """When the machine counts as ready; `kind` says which of the fields holds."""

    kind: ReadyKind
    location: Location
    console: str = ""
    port: str = ""
    path: str = ""
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A port that a component listens on."""

    name: str
    port: int
    protocol: Literal["tcp", "udp"]
    location: Location


@dataclass(frozen=True, slots=True)
class HostPort:
    """A composition's wish for a port: `host` is the loopback port; 0: any."""

    name: str
    host: int
    location: Location


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file or folder for the root filesystem."""

    source: str
    target: str
    mode: int


@dataclass(frozen=True, slots=True)
class PrepareSpec:
    """Commands that make an unpacked source package ready, and the files that they must leave."""

    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CSpec:
    """How a component is compiled from C."""

    sysroot: bool = False
    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    source_files: tuple[str, ...] = ()
    source_include: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    prepare: PrepareSpec | None = None


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """One package of a package-lock.json: the name of its source, and its path ("node_modules/a/node_modules/b")."""

    source: str
    path: str


@dataclass(frozen=True, slots=True)
class PackagesSpec:
    """What a component of kind `deb`, `npm` or `pypi` takes from its packages.

    `program` is the program's path in its npm package; `files` and `without` are patterns, `libraries` names of shared
    libraries that nothing names but its code; `folder` gets `modules` or Python's packages. `static`: the program is
    linked statically.
    """

    program: str = ""
    files: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    folder: str = ""
    modules: tuple[ModuleSpec, ...] = ()
    static: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """`components/NAME/component.yaml`."""

    name: str
    summary: str
    license: str
    kind: Literal["c", "files", "deb", "npm", "pypi"]
    role: Literal["program", "runtime", "library", "files"]
    origin: Origin
    needs: tuple[Word, ...] = ()
    provides: tuple[str, ...] = ()
    libraries: tuple[Word, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    c: CSpec | None = None
    packages: PackagesSpec | None = None
    files: tuple[FileSpec, ...] = ()
    runtime: Word | None = None
    bytecode: Literal["", "python"] = ""
    entry: str = ""
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[PortSpec, ...] = ()
    ready: ReadySpec | None = None


@dataclass(frozen=True, slots=True)
class Realisation:
    """How one kernel realises a driver or an optional part of itself."""

    kernel: str
    builtin: bool = False
    modules: tuple[str, ...] = ()
    kconfig: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """The QEMU device of a driver: its model for each bus of a machine."""

    backend: Literal["none", "net-user", "volume", "rng", "console"]
    models: tuple[tuple[str, str], ...]
    properties: tuple[tuple[str, str], ...] = ()
    kconfig: tuple[str, ...] = ()  # QEMU's symbols


@dataclass(frozen=True, slots=True)
class Driver:
    """`hal/drivers/NAME/driver.yaml`."""

    name: str
    summary: str
    origin: Origin
    provides: tuple[str, ...]
    needs: tuple[Word, ...] = ()
    matches: tuple[str, ...] = ()
    device: DeviceSpec | None = None
    kernels: tuple[Realisation, ...] = ()

    def realisation(self, kernel: str) -> Realisation | None:
        """How `kernel` realises this driver; None where it does not."""
        return next((each for each in self.kernels if each.kernel == kernel), None)


@dataclass(frozen=True, slots=True)
class KernelMachine:
    """What differs on a machine for one kernel."""

    kernel: str
    options: tuple[tuple[str, str], ...] = ()
    firmware: str = ""
    firmware_sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """`hal/machines/NAME/machine.yaml`."""

    name: str
    summary: str
    architecture: Literal["x86_64"]
    origin: Origin
    provides: tuple[str, ...]
    qemu_machine: str
    qemu_options: tuple[tuple[str, str], ...] = ()
    firmware: str = ""
    kernels: tuple[KernelMachine, ...] = ()
    kconfig: tuple[str, ...] = ()  # QEMU's symbols


@dataclass(frozen=True, slots=True)
class SourceChange:
    """One of an emulator's `changes`: in `file`, the first `old` behind `after` (empty: of all) becomes `new`."""

    file: str
    because: str
    after: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Emulator:
    """`hal/emulators/NAME/emulator.yaml`."""

    name: str
    summary: str
    origin: Origin
    target: Literal["x86_64-softmmu"]
    sources: tuple[SourceSpec, ...]
    kconfig: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()  # path in QEMU's source, file beside the description
    changes: tuple[SourceChange, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelGroup:
    """An optional part of a kernel; `name` is the capability that it gives and that switches it on."""

    name: str
    because: str
    needs: tuple[Word, ...]
    realisation: Realisation
    include: tuple[str, ...] = ()
    source: Word | None = None  # of the kernel's sources; `source_files` and `source_include` are of it
    source_files: tuple[str, ...] = ()
    source_include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """`kernels/NAME/kernel.yaml`."""

    name: str
    summary: str
    recipe: Literal["debian", "linux", "nano"]
    origin: Origin
    provides: tuple[str, ...]
    machines: tuple[Word, ...]
    command_line: tuple[tuple[str, tuple[str, ...]], ...]
    optional: tuple[KernelGroup, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    init: bool = False
    files: tuple[str, ...] = ()
    memory: int = 0  # MiB: with less it does not start a program; 0: not known
    calls: tuple[tuple[str, str], ...] = ()  # groups of system calls and what they are for; one of an optional part's
    # name comes with that part


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A persistent volume of `size` MiB."""

    name: str
    mount: str
    size: int
    files: str
    read_only: bool
    location: Location


@dataclass(frozen=True, slots=True)
class Composition:
    """`compositions/NAME.yaml`, with what it extends merged in and its variables replaced.

    `memory` is in MiB. `files` are the files it was read from, itself first.
    """

    name: str
    summary: str
    files: tuple[Origin, ...]
    kernel: Word
    machine: Word
    components: tuple[Word, ...]
    root: Literal["auto", "memory", "disk"] = "auto"
    memory: int = 128
    cpus: int = 1
    drivers: tuple[Word, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    address: str = "10.0.2.15/24"
    gateway: str = "10.0.2.2"
    nameserver: str = "10.0.2.3"
    address6: str = "auto"
    gateway6: str = ""
    nameserver6: str = ""
    volumes: tuple[VolumeSpec, ...] = ()
    ports: tuple[HostPort, ...] = ()
    ready: ReadySpec | None = None
    variables: tuple[tuple[str, str], ...] = ()
    memory_at: Location | None = None
    network_at: Location | None = None

    @property
    def location(self) -> Location:
        """The composition's own file."""
        return self.files[0].location
