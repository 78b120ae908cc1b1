"""The plan: a composition fully resolved. Pure data; every later room reads it and decides nothing twice.

The JSON form is stable: keys sorted, two spaces of indentation, one newline at the end; the same input gives the
same bytes. `PLAN_SCHEMA` counts its versions.
"""

from __future__ import annotations

from typing import Literal

import msgspec

PLAN_SCHEMA = 1

Role = Literal["program", "runtime", "library", "files"]
SourceKind = Literal["deb", "deb-src", "npm", "pypi", "file"]


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all plan records: immutable, keyword-only, strict when decoded."""


class Reason(Frozen, frozen=True):
    """Why a part is in the plan: `part` ("kind/name") is there `because` (a sentence's end), for `by` ("kind/name").

    A kernel's optional part is "group/NAME". A part has one reason for each that asked for it.
    """

    part: str
    by: str
    because: str


class Source(Frozen, frozen=True):
    """One pinned thing to fetch. `name` is the lock file's entry, `digest` the SHA-256 of the file in the store.

    A source of several files (a Debian source package: .dsc, .orig, .debian) lists each in `files`.
    `pinned_version` is set where the pinned version was gone and `version` was taken instead.
    """

    name: str
    kind: SourceKind
    package: str
    version: str
    files: tuple[SourceFile, ...]
    pinned_version: str | None = None


class SourceFile(Frozen, frozen=True):
    """One file of a source: its name as the registry has it, its SHA-256 (hexadecimal), its size in bytes."""

    name: str
    sha256: str
    size: int


class Prepare(Frozen, frozen=True):
    """How a source is made ready: `commands` run in a copy of the unpacked source; `outputs` must exist after."""

    commands: tuple[tuple[str, ...], ...]
    outputs: tuple[str, ...]


class CBuild(Frozen, frozen=True):
    """How a component of kind `c` is compiled. Paths are relative to the component's folder (`sources`, `include`),
    or to its unpacked source package (`source_files`, `source_include`). `sysroot`: the source package is the C
    library itself, its headers, archives and start files, against which programs are linked."""

    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    source_files: tuple[str, ...] = ()
    source_include: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    prepare: Prepare | None = None
    sysroot: bool = False


class NodeModule(Frozen, frozen=True):
    """One npm package of a component: the source that holds it, and its path below the component's folder."""

    source: str
    path: str


class Packages(Frozen, frozen=True):
    """What a component of kind `deb`, `npm` or `pypi` takes from its packages beside its entry and the shared libraries
    that it needs. `program` is the entry's path in its npm package; `files` and `without` are patterns (`*`: any
    characters but "/", `**`: any), of absolute paths in Debian's packages, of names in a package for the others;
    `libraries` are shared libraries loaded at run time; `folder` gets `modules`, or Python's packages."""

    program: str = ""
    files: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    folder: str = ""
    modules: tuple[NodeModule, ...] = ()


class FileEntry(Frozen, frozen=True):
    """A file or folder put into the root filesystem: `source` relative to the component's folder, `target` absolute."""

    source: str
    target: str
    mode: int = 0o644


class Port(Frozen, frozen=True):
    """A port the program listens on in the guest. `host` is the loopback port asked for; 0: QEMU chooses."""

    name: str
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    host: int = 0


class Ready(Frozen, frozen=True):
    """When the machine counts as ready: exactly one of `console` (a regular expression that a line of the console
    matches), `port` (a port's name: it accepts a connection), `http` (path on the port: answers with 2xx or 3xx)."""

    kind: Literal["console", "port", "http", "exit"]
    console: str = ""
    port: str = ""
    path: str = ""
    timeout: float = 60.0


class Component(Frozen, frozen=True):
    """One component, resolved. `directory` is its folder, relative to the project root that holds it."""

    name: str
    kind: Literal["c", "files", "deb", "npm", "pypi"]
    role: Role
    directory: str
    summary: str
    license: str
    libraries: tuple[str, ...] = ()  # names of library components linked in, dependencies after their users
    headers: tuple[str, ...] = ()  # names of components whose headers it may use; the same in every composition
    sources: tuple[str, ...] = ()  # names into Plan.sources
    c: CBuild | None = None
    packages: Packages | None = None
    files: tuple[FileEntry, ...] = ()
    entry: str = ""  # absolute path of the program in the guest
    runtime: str = ""  # the name of the component of role `runtime` that runs the entry
    bytecode: Literal["", "python"] = ""  # of a runtime: what is compiled for it when the image is built
    arguments: tuple[str, ...] = ()  # of a runtime: they stand before the path of the program that it runs


class Driver(Frozen, frozen=True):
    """One driver, with how the chosen kernel realises it (only that kernel's field is filled)."""

    name: str
    directory: str
    summary: str
    provides: tuple[str, ...] = ()
    builtin: bool = False
    modules: tuple[str, ...] = ()
    kconfig: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class Device(Frozen, frozen=True):
    """One QEMU device: `-device model,properties` and what stands behind it."""

    driver: str
    model: str
    properties: tuple[tuple[str, str], ...] = ()
    # root: the root filesystem's disk; console: a port to the machine's console
    backend: Literal["none", "net-user", "volume", "rng", "root", "console"] = "none"
    volume: str = ""


class GroupFiles(Frozen, frozen=True):
    """C files of a fetched source that an optional part of the kernel compiles. `files` and `include` are relative to
    the unpacked source `source` (a name into Plan.sources)."""

    source: str
    files: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


class Kernel(Frozen, frozen=True):
    """The guest kernel. `recipe` names the builder; `command_line` are its own words for this machine."""

    name: str
    recipe: Literal["debian", "linux", "nano"]
    directory: str
    summary: str
    command_line: tuple[str, ...] = ()
    command_line_tcg: tuple[str, ...] = ()  # more words, where QEMU translates the guest's code
    sources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # optional parts that the plan's capabilities switch on
    modules: tuple[str, ...] = ()  # of those parts, loaded after the drivers' modules
    kconfig: tuple[str, ...] = ()  # of those parts
    group_sources: tuple[str, ...] = ()  # of those parts, relative to the kernel's folder
    group_include: tuple[str, ...] = ()  # of those parts, relative to the kernel's folder
    group_files: tuple[GroupFiles, ...] = ()  # of those parts, from fetched sources
    files: tuple[str, ...] = ()  # always compiled, relative to the kernel's folder
    platform: tuple[str, ...] = ()  # sources of the HAL's platform, relative to the project root
    init: tuple[str, ...] = ()  # sources of the init program, relative to the project root; empty: none
    memory: int = 0  # MiB: with less it does not start a program; 0: not known
    calls: tuple[tuple[str, str], ...] = ()  # the groups of system calls that are linked, and what they are for
    left_out: tuple[tuple[str, str], ...] = ()  # those that are not: nothing needs them


class Machine(Frozen, frozen=True):
    """The machine: QEMU's -M value as name and options, the firmware file, memory in MiB, number of CPUs.

    `firmware_sources`: it is built of these, relative to the project root, and part of the image.
    """

    name: str
    qemu_machine: str
    qemu_options: tuple[tuple[str, str], ...] = ()
    firmware: str = ""
    firmware_sources: tuple[str, ...] = ()
    memory: int = 128
    cpus: int = 1


class Volume(Frozen, frozen=True):
    """A persistent volume: an ext4 image of `size` MiB, mounted at `mount`, seeded from `files` when created."""

    name: str
    mount: str
    size: int
    files: str = ""
    read_only: bool = False
    serial: str = ""  # the virtio-blk serial by which the guest finds it


class Root(Frozen, frozen=True):
    """Where the root filesystem is: in memory (an initramfs), or on a compressed read-only disk that the guest finds
    by its virtio serial. `because` ends "it is there because ..."; `packages` is the size in bytes of the packages
    that files are taken from, as they are fetched (compressed)."""

    kind: Literal["memory", "disk"] = "memory"
    because: str = ""
    packages: int = 0
    serial: str = ""


class Settings(Frozen, frozen=True):
    """The defaults of what may change at start. Written into the root filesystem, overridden at start."""

    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    hostname: str = "rumpel"
    address: str = "10.0.2.15/24"
    gateway: str = "10.0.2.2"
    nameserver: str = "10.0.2.3"
    address6: str = "auto"
    gateway6: str = ""
    nameserver6: str = ""


class Plan(Frozen, frozen=True):
    """A composition fully resolved. `inputs` are the description files read, with their SHA-256."""

    schema: int
    composition: str
    summary: str
    machine: Machine
    kernel: Kernel
    drivers: tuple[Driver, ...]  # in load order: what is needed stands before who needs it
    devices: tuple[Device, ...]
    components: tuple[Component, ...]  # the program first
    settings: Settings
    ports: tuple[Port, ...]
    ready: Ready
    volumes: tuple[Volume, ...]
    sources: tuple[Source, ...]
    reasons: tuple[Reason, ...]
    capabilities: tuple[tuple[str, str], ...]  # capability, the part that provides it
    root: Root = Root()
    variables: tuple[tuple[str, str], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> bytes:
        """The stable JSON form."""
        encoded = msgspec.json.encode(msgspec.to_builtins(self), order="sorted")
        return msgspec.json.format(encoded, indent=2) + b"\n"

    @staticmethod
    def from_json(data: bytes) -> Plan:
        """Decode the JSON form; raises msgspec.ValidationError where it is not a plan of this version."""
        return msgspec.json.decode(data, type=Plan)
