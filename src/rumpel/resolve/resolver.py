"""A composition and its parts -> the plan. Reads only through the project; writes nothing, fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rumpel.errors import ModelError, Problem, ResolveError, UsageError
from rumpel.model import parts
from rumpel.model.lock import Lock
from rumpel.model.names import quoted, suggestion
from rumpel.model.project import Project
from rumpel.model.size import size_text
from rumpel.resolve.linking import Linked, link
from rumpel.resolve.modalias import overlap
from rumpel.resolve.needs import Need, Needs, needs_of, unsaid_calls, unsaid_linking
from rumpel.resolve.network import network6_problem, network_problem, plain6
from rumpel.resolve.pins import Uses, pinned_sources
from rumpel.resolve.plan import (
    PLAN_SCHEMA,
    CBuild,
    Component,
    Device,
    Driver,
    FileEntry,
    GroupFiles,
    Kernel,
    Machine,
    NodeModule,
    Packages,
    Plan,
    Port,
    Prepare,
    Ready,
    Reason,
    Settings,
    Source,
    Volume,
)
from rumpel.resolve.root import choose_root


@dataclass(frozen=True)
class Overrides:
    """What the command line or a caller says in place of the composition. None and empty: what the file says.

    `memory` is in MiB; `variables` and `ports` are pairs of a name and its value, the host's port.
    """

    kernel: str | None = None
    machine: str | None = None
    memory: int | None = None
    cpus: int | None = None
    variables: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, int], ...] = ()


def resolve(project: Project, name: str, lock: Lock, overrides: Overrides | None = None) -> Plan:
    """Resolve the composition called `name`. Raises ModelError, ResolveError, and UsageError for a wrong override."""
    return _Resolution(project, name, lock, overrides or Overrides()).plan()


class _Resolution:
    def __init__(self, project: Project, name: str, lock: Lock, overrides: Overrides) -> None:
        self.project = project
        self.lock = lock
        self.overrides = overrides
        self.composition = project.composition(name, dict(overrides.variables))
        self.kernel = self._kernel()
        self.machine = self._machine()
        self.linked: Linked = link(project, self.composition).with_sysroot(project, self.kernel)
        self.needs = Needs(project, self.composition, self.kernel, self.machine, self.linked.all)

    def plan(self) -> Plan:
        self._check_kernel_on_machine()
        self._satisfy_needs()
        self.root = choose_root(self.composition, self.kernel, self.linked.all, self.lock, self.needs)
        self._check_devices_have_one_driver()
        ports = self._ports()
        return Plan(
            schema=PLAN_SCHEMA,
            composition=self.composition.name,
            summary=self.composition.summary,
            machine=self._plan_machine(),
            kernel=self._plan_kernel(),
            drivers=tuple(self._plan_driver(driver) for driver in self.needs.drivers),
            devices=self._devices(),
            components=tuple(self._plan_component(part) for part in self.linked.all),
            settings=self._settings(),
            ports=ports,
            ready=self._ready(ports),
            volumes=tuple(_volume(volume) for volume in self.composition.volumes),
            sources=self._sources(),
            root=self.root,
            reasons=self._reasons(),
            capabilities=tuple(
                (capability, "/".join(provider)) for capability, provider in sorted(self.needs.used.items())
            ),
            variables=tuple(sorted(self.composition.variables)),
            inputs=self._inputs(),
        )

    def _kernel(self) -> parts.Kernel:
        if self.overrides.kernel is not None:
            return self.project.kernel(self.overrides.kernel)
        word = self.composition.kernel
        return self.project.kernel(word.text, word.location)

    def _machine(self) -> parts.Machine:
        if self.overrides.machine is not None:
            return self.project.machine(self.overrides.machine)
        word = self.composition.machine
        return self.project.machine(word.text, word.location)

    def _check_kernel_on_machine(self) -> None:
        machines = [word.text for word in self.kernel.machines]
        if self.machine.name not in machines:
            raise ResolveError(
                f"{self.composition.machine.location}: kernel '{self.kernel.name}' does not boot on machine "
                f"'{self.machine.name}'; machines that it boots on: {', '.join(machines)}.",
                hint="Choose one of them: 'machine:' in the composition, or --machine.",
                parts=[f"kernel/{self.kernel.name}", f"machine/{self.machine.name}"],
            )

    def _satisfy_needs(self) -> None:
        composition = self.composition
        by = ("composition", composition.name)
        for word in composition.drivers:
            self.needs.include(word, composition.name)
        self.needs.satisfy(Need("console", by, composition.location, "every machine has a console"))
        for part in self.linked.all:
            needs = needs_of("component", part.name, part.needs)
            needs += [
                Need("net", ("component", part.name), port.location, f"it listens on port '{port.name}'")
                for port in part.ports
            ]
            needs += unsaid_linking(part, self.kernel)
            needs += unsaid_calls(part, self.kernel)
            for need in needs:
                if need.capability == "volume" and not composition.volumes:
                    raise ResolveError(
                        f"{need.sentence}, but the composition '{composition.name}' has no volume.",
                        hint="Add one: 'volumes: {data: {mount: /data, size: 64M}}'.",
                        parts=[f"component/{part.name}", f"composition/{composition.name}"],
                    )
                self.needs.satisfy(need)
        for volume in composition.volumes:
            self.needs.satisfy(Need("volume", by, volume.location, f"it has the volume '{volume.name}'"))
        if composition.address6 != "auto" and "net" in self.needs.used:
            at = composition.network_at or composition.location
            self.needs.satisfy(Need("ipv6", by, at, f"its IPv6 address is '{composition.address6}'"))

    def _check_devices_have_one_driver(self) -> None:
        drivers = self.needs.drivers
        for index, first in enumerate(drivers):
            for second in drivers[index + 1 :]:
                for pattern in first.matches:
                    other = next((each for each in second.matches if overlap(pattern, each)), None)
                    if other is not None:
                        raise ResolveError(
                            f"{second.origin.location}: the drivers '{first.name}' and '{second.name}' both drive the "
                            f"device '{pattern}'{f' ({other})' if other != pattern else ''}.",
                            hint=self._way_out_of_two_drivers(first, second),
                            parts=[f"driver/{first.name}", f"driver/{second.name}"],
                        )

    def _way_out_of_two_drivers(self, first: parts.Driver, second: parts.Driver) -> str:
        named = {word.text for word in self.composition.drivers}
        removable = [driver.name for driver in (first, second) if driver.name in named]
        if removable:
            return f"Remove {quoted(removable, 'or')} from the composition's 'drivers'."
        return "Make the 'matches' of one of them narrower."

    def _plan_machine(self) -> Machine:
        machine = self.machine
        own = next((each for each in machine.kernels if each.kernel == self.kernel.name), None)
        options = dict(machine.qemu_options)
        if own is not None:
            options.update(own.options)
        cpus = self.overrides.cpus
        return Machine(
            name=machine.name,
            qemu_machine=machine.qemu_machine,
            qemu_options=tuple(options.items()),
            firmware=(own.firmware if own is not None else "") or machine.firmware,
            firmware_sources=tuple(
                f"{machine.origin.directory}/{name}" for name in (own.firmware_sources if own is not None else ())
            ),
            memory=self._memory(),
            cpus=self.composition.cpus if cpus is None else cpus,
        )

    def _memory(self) -> int:
        memory = self.composition.memory if self.overrides.memory is None else self.overrides.memory
        if memory < self.kernel.memory:
            said_at = None if self.overrides.memory is not None else self.composition.memory_at
            raise ResolveError(
                f"{said_at or self.composition.location}: {size_text(memory)} of memory is too little: the kernel "
                f"'{self.kernel.name}' does not start a program in less than {size_text(self.kernel.memory)}.",
                hint="Give the composition more 'memory', or choose a smaller kernel.",
                parts=[f"composition/{self.composition.name}", f"kernel/{self.kernel.name}"],
            )
        return memory

    def _plan_kernel(self) -> Kernel:
        kernel = self.kernel
        words = dict(kernel.command_line)
        groups = [group.realisation for group in self.needs.groups]
        left_out = {group.name for group in kernel.optional} - {group.name for group in self.needs.groups}
        return Kernel(
            name=kernel.name,
            recipe=kernel.recipe,
            directory=kernel.origin.directory,
            summary=kernel.summary,
            command_line=words.get("common", ()) + words.get(self.machine.name, ()),
            command_line_tcg=words.get("tcg", ()),
            sources=tuple(source.name for source in self._kernel_sources()),
            groups=tuple(group.name for group in self.needs.groups),
            modules=_flat(group.modules for group in groups),
            kconfig=_flat(group.kconfig for group in groups),
            group_sources=_flat(group.sources for group in groups),
            group_include=_flat(group.include for group in self.needs.groups),
            group_files=tuple(
                GroupFiles(source=group.source.text, files=group.source_files, include=group.source_include)
                for group in self.needs.groups
                if group.source is not None
            ),
            files=tuple(name for name in kernel.files if name.endswith((".c", ".S"))),
            platform=self.project.platform_sources() if kernel.recipe == "nano" else (),
            init=self.project.init_sources() if kernel.init else (),
            memory=kernel.memory,
            calls=tuple(call for call in kernel.calls if call[0] not in left_out),
            left_out=tuple(call for call in kernel.calls if call[0] in left_out),
        )

    def _kernel_sources(self) -> tuple[parts.SourceSpec, ...]:
        """The kernel's sources, without those that only optional parts name which are not in this plan."""
        kernel = self.kernel
        known = [source.name for source in kernel.sources]
        optional = {group.source.text for group in kernel.optional if group.source is not None}
        for group in kernel.optional:
            if group.source is not None and group.source.text not in known:
                hint = suggestion(group.source.text, known, "Sources")
                message = f"the part '{group.name}' names the unknown source '{group.source.text}'."
                raise ModelError([Problem(group.source.location, message, hint)])
        wanted = {group.source.text for group in self.needs.groups if group.source is not None}
        return tuple(source for source in kernel.sources if source.name not in optional - wanted)

    def _plan_driver(self, driver: parts.Driver) -> Driver:
        own = driver.realisation(self.kernel.name) or parts.Realisation(self.kernel.name)
        return Driver(
            name=driver.name,
            directory=driver.origin.directory,
            summary=driver.summary,
            provides=driver.provides,
            builtin=own.builtin,
            modules=own.modules,
            kconfig=own.kconfig,
            sources=own.sources,
        )

    def _devices(self) -> tuple[Device, ...]:
        devices: list[Device] = []
        disks_placed = False
        for driver in self.needs.drivers:
            spec = driver.device
            if spec is None:
                continue
            model = self._model(driver, spec)
            if spec.backend != "volume":
                devices.append(
                    Device(driver=driver.name, model=model, properties=spec.properties, backend=spec.backend)
                )
            elif not disks_placed:
                # A second block driver, named by the composition, has no disks: they hang on the first.
                disks_placed = True
                if self.root.kind == "disk":
                    properties = (*spec.properties, ("serial", self.root.serial))
                    devices.append(Device(driver=driver.name, model=model, properties=properties, backend="root"))
                devices += [
                    Device(
                        driver=driver.name,
                        model=model,
                        properties=(*spec.properties, ("serial", volume.name)),
                        backend="volume",
                        volume=volume.name,
                    )
                    for volume in self.composition.volumes
                ]
        return tuple(devices)

    def _model(self, driver: parts.Driver, spec: parts.DeviceSpec) -> str:
        buses = self.needs.buses(driver)
        for bus, model in spec.models:
            if bus in buses:
                return model
        known = quoted([bus for bus, _ in spec.models], "or")
        raise ResolveError(
            f"{driver.origin.location}: driver '{driver.name}' has a QEMU model for {known} only; on machine "
            f"'{self.machine.name}' it rests on {quoted(sorted(buses)) or 'no bus'}.",
            hint="Add the model under 'device.models' of the driver.",
            parts=[f"driver/{driver.name}", f"machine/{self.machine.name}"],
        )

    def _plan_component(self, part: parts.Component) -> Component:
        return Component(
            name=part.name,
            kind=part.kind,
            role=part.role,
            directory=part.origin.directory,
            summary=part.summary,
            license=part.license,
            libraries=self.linked.libraries_of(part),
            headers=self.linked.headers_of(part),
            sources=tuple(source.name for source in part.sources),
            c=_c_build(part.c) if part.c is not None else None,
            packages=_packages(part.packages) if part.packages is not None else None,
            files=tuple(FileEntry(source=each.source, target=each.target, mode=each.mode) for each in part.files),
            entry=part.entry,
            runtime=part.runtime.text if part.runtime is not None else "",
            bytecode=part.bytecode,
            arguments=part.arguments if part.role == "runtime" else (),
        )

    def _settings(self) -> Settings:
        composition = self.composition
        environment: dict[str, str] = {}
        said_by: dict[str, str] = {}
        for part in self.linked.all:
            for name, value in part.environment:
                if environment.setdefault(name, value) != value and name not in dict(composition.environment):
                    raise ResolveError(
                        f"{part.origin.location}: the components '{said_by[name]}' and '{part.name}' set the variable "
                        f"'{name}' to different values: '{environment[name]}' and '{value}'.",
                        hint="Say which one holds under the composition's 'environment'.",
                        parts=[f"component/{said_by[name]}", f"component/{part.name}"],
                    )
                said_by.setdefault(name, part.name)
        environment.update(composition.environment)
        problem = network_problem(composition.address, composition.gateway, composition.nameserver)
        fixed = (composition.gateway, composition.nameserver) != (Settings().gateway, Settings().nameserver)
        if composition.address == "dhcp" and fixed:
            problem = "With the address 'dhcp' the gateway and the name server are what the DHCP server says."
        problem = problem or network6_problem(composition.address6, composition.gateway6, composition.nameserver6)
        if problem:
            raise ResolveError(
                f"{composition.network_at or composition.location}: {problem}",
                hint="Correct 'network' in the composition.",
                parts=[f"composition/{composition.name}"],
            )
        return Settings(
            arguments=self.linked.program.arguments + composition.arguments,
            environment=tuple(sorted(environment.items())),
            hostname=composition.hostname or composition.name.replace(".", "-").replace("+", "-")[:63],
            address=composition.address,
            gateway=composition.gateway,
            nameserver=composition.nameserver,
            address6=plain6(composition.address6),
            gateway6=plain6(composition.gateway6),
            nameserver6=plain6(composition.nameserver6),
        )

    def _ports(self) -> tuple[Port, ...]:
        owners: dict[str, tuple[parts.Component, parts.PortSpec]] = {}
        for part in self.linked.all:
            for port in part.ports:
                for other, same in owners.values():
                    if port.name == same.name or (port.port, port.protocol) == (same.port, same.protocol):
                        raise ResolveError(
                            f"{port.location}: the components '{other.name}' and '{part.name}' both listen on "
                            f"port '{same.name}' ({same.port}/{same.protocol}).",
                            hint="Leave one of them out of the composition.",
                            parts=[f"component/{other.name}", f"component/{part.name}"],
                        )
                owners[port.name] = (part, port)
        host = self._host_ports(set(owners))
        return tuple(
            Port(name=port.name, port=port.port, protocol=port.protocol, host=host.get(port.name, 0))
            for _, port in owners.values()
        )

    def _host_ports(self, known: set[str]) -> dict[str, int]:
        problems = [
            Problem(each.location, f"there is no port '{each.name}'.", suggestion(each.name, known, "Ports"))
            for each in self.composition.ports
            if each.name not in known
        ]
        if problems:
            raise ModelError(problems)
        host = {each.name: each.host for each in self.composition.ports}
        for name, port in self.overrides.ports:
            if name not in known:
                raise UsageError(
                    f"the composition '{self.composition.name}' has no port '{name}'.",
                    hint=suggestion(name, known, "Ports"),
                )
            host[name] = port
        asked = [port for port in host.values() if port]
        for port in asked:
            if asked.count(port) > 1:
                names = sorted(name for name, each in host.items() if each == port)
                raise UsageError(f"the host's port {port} is asked for by {quoted(names)}.", hint="Take another.")
        return host

    def _ready(self, ports: tuple[Port, ...]) -> Ready:
        spec = self.composition.ready or self.linked.program.ready
        if spec is None:
            raise AssertionError("the schema asks every program for 'ready'")
        known = [port.name for port in ports]
        if spec.port and spec.port not in known:
            hint = suggestion(spec.port, known, "Ports")
            raise ModelError([Problem(spec.location, f"'ready' names the unknown port '{spec.port}'.", hint)])
        return Ready(kind=spec.kind, console=spec.console, port=spec.port, path=spec.path, timeout=float(spec.timeout))

    def _sources(self) -> tuple[Source, ...]:
        users: list[Uses] = [
            (f"kernel '{self.kernel.name}'", self._kernel_sources()),
            *((f"component '{part.name}'", part.sources) for part in self.linked.all),
        ]
        return pinned_sources(users, self.lock)

    def _reasons(self) -> tuple[Reason, ...]:
        by = f"composition/{self.composition.name}"
        reasons = [
            _chosen("machine", self.machine.name, by, self.overrides.machine),
            _chosen("kernel", self.kernel.name, by, self.overrides.kernel),
            *self.linked.reasons,
            *self.needs.reasons,
        ]
        return tuple(dict.fromkeys(reasons))

    def _inputs(self) -> tuple[tuple[str, str], ...]:
        origins = [
            *self.composition.files,
            self.kernel.origin,
            self.machine.origin,
            *(driver.origin for driver in self.needs.drivers),
            *(part.origin for part in self.linked.all),
        ]
        return tuple(sorted((origin.path, origin.sha256) for origin in origins))


def _chosen(kind: str, name: str, composition: str, override: str | None) -> Reason:
    if override is None:
        return Reason(part=f"{kind}/{name}", by=composition, because="the composition names it")
    return Reason(part=f"{kind}/{name}", by=f"override/{kind}", because="it was asked for in its place")


def _c_build(spec: parts.CSpec) -> CBuild:
    prepare = spec.prepare
    return CBuild(
        sources=spec.sources,
        include=spec.include,
        source_files=spec.source_files,
        source_include=spec.source_include,
        flags=spec.flags,
        defines=spec.defines,
        prepare=None if prepare is None else Prepare(commands=prepare.commands, outputs=prepare.outputs),
        sysroot=spec.sysroot,
    )


def _packages(spec: parts.PackagesSpec) -> Packages:
    return Packages(
        program=spec.program,
        files=spec.files,
        without=spec.without,
        libraries=spec.libraries,
        folder=spec.folder,
        modules=tuple(NodeModule(source=each.source, path=each.path) for each in spec.modules),
    )


def _volume(spec: parts.VolumeSpec) -> Volume:
    return Volume(
        name=spec.name,
        mount=spec.mount,
        size=spec.size,
        files=f"compositions/{spec.files}" if spec.files else "",
        read_only=spec.read_only,
        serial=spec.name,
    )


def _flat(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for words in lists for word in words))
