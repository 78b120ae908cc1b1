"""Checked trees -> the typed parts. Only called on trees without problems: every key has its type here."""

from __future__ import annotations

from typing import Any, cast

from rumpel.errors import Location
from rumpel.model.document import Entry, Mapping, Scalar, Sequence
from rumpel.model.lock import SOURCE_KINDS
from rumpel.model.package_lock import LockedModule
from rumpel.model.parts import (
    READY_KINDS,
    Component,
    Composition,
    CSpec,
    DeviceSpec,
    Driver,
    Emulator,
    FileSpec,
    HostPort,
    Kernel,
    KernelGroup,
    KernelMachine,
    Machine,
    ModuleSpec,
    Origin,
    PackagesSpec,
    PortSpec,
    PrepareSpec,
    ReadySpec,
    Realisation,
    SourceChange,
    SourceSpec,
    VolumeSpec,
    Word,
)
from rumpel.model.size import mebibytes


def component(root: Mapping, origin: Origin, modules: tuple[LockedModule, ...] = ()) -> Component:
    """`component.yaml`, checked, as its type. `modules` is what its package-lock.json says."""
    return Component(
        name=_text(root, "name"),
        summary=_text(root, "summary"),
        license=_text(root, "license"),
        kind=cast(Any, _text(root, "kind")),
        role=cast(Any, _text(root, "role")),
        origin=origin,
        needs=_words(root, "needs"),
        provides=_texts(root, "provides"),
        libraries=_words(root, "libraries"),
        sources=_sources(root, origin) + tuple(module.source for module in modules),
        c=_c(root),
        packages=_packages(root, modules),
        files=tuple(_file(item) for item in _items(root, "files")),
        runtime=_word(root, "runtime") if "runtime" in root.entries else None,
        bytecode=cast(Any, _text(root, "bytecode")),
        entry=_text(root, "entry"),
        arguments=_texts(root, "arguments"),
        environment=_pairs(root, "environment"),
        ports=tuple(_port(entry) for entry in _entries(root, "ports")),
        ready=_ready(root),
    )


def driver(root: Mapping, origin: Origin) -> Driver:
    """`driver.yaml`, checked, as its type."""
    device = root.get("device")
    return Driver(
        name=_text(root, "name"),
        summary=_text(root, "summary"),
        origin=origin,
        provides=_texts(root, "provides"),
        needs=_words(root, "needs"),
        matches=_texts(root, "matches"),
        device=DeviceSpec(
            backend=cast(Any, _text(device, "backend")),
            models=_pairs(device, "models"),
            properties=_pairs(device, "properties"),
            kconfig=_texts(device, "kconfig"),
        )
        if isinstance(device, Mapping)
        else None,
        kernels=tuple(_realisation(entry.key, _mapping(entry)) for entry in _entries(root, "kernels")),
    )


def machine(root: Mapping, origin: Origin) -> Machine:
    """`machine.yaml`, checked, as its type."""
    qemu = cast(Mapping, root.get("qemu"))
    return Machine(
        name=_text(root, "name"),
        summary=_text(root, "summary"),
        architecture=cast(Any, _text(root, "architecture")),
        origin=origin,
        provides=_texts(root, "provides"),
        qemu_machine=_text(qemu, "machine"),
        qemu_options=_pairs(qemu, "options"),
        firmware=_text(qemu, "firmware"),
        kernels=tuple(
            KernelMachine(
                kernel=entry.key,
                options=_pairs(_mapping(entry), "options"),
                firmware=_text(_mapping(entry), "firmware"),
                firmware_sources=_texts(_mapping(entry), "firmware_sources"),
            )
            for entry in _entries(qemu, "kernels")
        ),
        kconfig=_texts(qemu, "kconfig"),
    )


def emulator(root: Mapping, origin: Origin) -> Emulator:
    """`emulator.yaml`, checked, as its type."""
    return Emulator(
        name=_text(root, "name"),
        summary=_text(root, "summary"),
        origin=origin,
        target=cast(Any, _text(root, "target")),
        sources=_sources(root, origin),
        kconfig=_texts(root, "kconfig"),
        files=_pairs(root, "files"),
        changes=tuple(_change(cast(Mapping, item)) for item in _items(root, "changes")),
    )


def _change(root: Mapping) -> SourceChange:
    return SourceChange(*(_text(root, key) for key in ("file", "because", "after", "old", "new")))


def kernel(root: Mapping, origin: Origin) -> Kernel:
    """`kernel.yaml`, checked, as its type."""
    return Kernel(
        name=_text(root, "name"),
        summary=_text(root, "summary"),
        recipe=cast(Any, _text(root, "recipe")),
        origin=origin,
        provides=_texts(root, "provides"),
        machines=_words(root, "machines"),
        command_line=tuple(
            (entry.key, tuple(_item_text(item) for item in _list(entry.value)))
            for entry in _entries(root, "command_line")
        ),
        optional=tuple(
            KernelGroup(
                name=entry.key,
                because=_text(_mapping(entry), "because"),
                needs=_words(_mapping(entry), "needs"),
                realisation=_realisation(_text(root, "name"), _mapping(entry)),
                include=_texts(_mapping(entry), "include"),
                source=_word(_mapping(entry), "source") if _mapping(entry).get("source") is not None else None,
                source_files=_texts(_mapping(entry), "source_files"),
                source_include=_texts(_mapping(entry), "source_include"),
            )
            for entry in _entries(root, "optional")
        ),
        sources=_sources(root, origin),
        init=_flag(root, "init"),
        files=_texts(root, "files"),
        memory=mebibytes(_text(root, "memory")) if root.get("memory") is not None else 0,
        calls=_pairs(root, "calls"),
    )


def composition(root: Mapping, files: tuple[Origin, ...]) -> Composition:
    """A composition, merged with what it extends, its variables replaced, checked, as its type."""
    network = root.get("network")
    settings = network if isinstance(network, Mapping) else Mapping({}, root.location)
    return Composition(
        name=_text(root, "name"),
        summary=_text(root, "summary"),
        files=files,
        kernel=_word(root, "kernel"),
        machine=_word(root, "machine"),
        components=_words(root, "components"),
        root=cast(Any, _text(root, "root", "auto")),
        memory=mebibytes(_text(root, "memory", "128M")),
        cpus=int(_number(root, "cpus", 1)),
        drivers=_words(root, "drivers"),
        arguments=_texts(root, "arguments"),
        environment=_pairs(root, "environment"),
        hostname=_text(root, "hostname"),
        address=_text(settings, "address", "10.0.2.15/24"),
        gateway=_text(settings, "gateway", "10.0.2.2"),
        nameserver=_text(settings, "nameserver", "10.0.2.3"),
        address6=_text(settings, "address6", "auto"),
        gateway6=_text(settings, "gateway6"),
        nameserver6=_text(settings, "nameserver6"),
        volumes=tuple(_volume(entry) for entry in _entries(root, "volumes")),
        ports=tuple(
            HostPort(entry.key, int(_number(_mapping(entry), "host", 0)), entry.location)
            for entry in _entries(root, "ports")
        ),
        ready=_ready(root),
        variables=_pairs(root, "variables"),
        memory_at=_location(root, "memory"),
        network_at=_location(root, "network"),
    )


def _location(root: Mapping, key: str) -> Location | None:
    value = root.get(key)
    return None if value is None else value.location


def _sources(root: Mapping, origin: Origin) -> tuple[SourceSpec, ...]:
    return tuple(_source(entry, origin) for entry in _entries(root, "sources"))


def _source(entry: Entry, origin: Origin) -> SourceSpec:
    spec = _mapping(entry)
    kind = next(kind for kind in SOURCE_KINDS if kind in spec.entries)
    package = _text(spec, kind)
    return SourceSpec(
        name=entry.key,
        kind=kind,
        package=f"{origin.directory}/{package}" if kind == "file" else package,
        location=entry.location,
        follow=_text(spec, "follow"),
        release=_text(spec, "release"),
        version=_text(spec, "version"),
    )


def _packages(root: Mapping, modules: tuple[LockedModule, ...]) -> PackagesSpec | None:
    kind = _text(root, "kind")
    if kind not in ("deb", "npm", "pypi"):
        return None
    spec = root.get(kind)
    if not isinstance(spec, Mapping):
        return PackagesSpec()
    return PackagesSpec(
        program=_text(spec, "program"),
        files=_texts(spec, "files"),
        without=_texts(spec, "except"),
        libraries=_texts(spec, "libraries"),
        folder=_text(spec, "folder"),
        modules=tuple(ModuleSpec(source=module.source.name, path=module.path) for module in modules),
        static=_flag(spec, "static"),
    )


def _c(root: Mapping) -> CSpec | None:
    spec = root.get("c")
    if not isinstance(spec, Mapping):
        return None
    prepare = spec.get("prepare")
    return CSpec(
        sysroot=_flag(spec, "sysroot"),
        sources=_texts(spec, "sources"),
        include=_texts(spec, "include"),
        source_files=_texts(spec, "source_files"),
        source_include=_texts(spec, "source_include"),
        flags=_texts(spec, "flags"),
        defines=_pairs(spec, "defines"),
        prepare=PrepareSpec(
            commands=tuple(
                tuple(_item_text(word) for word in _list(command)) for command in _list(prepare.get("commands"))
            ),
            outputs=_texts(prepare, "outputs"),
        )
        if isinstance(prepare, Mapping)
        else None,
    )


def _file(item: object) -> FileSpec:
    spec = cast(Mapping, item)
    return FileSpec(_text(spec, "source"), _text(spec, "target"), int(_text(spec, "mode", "0644"), 8))


def _port(entry: Entry) -> PortSpec:
    spec = _mapping(entry)
    return PortSpec(
        name=entry.key,
        port=int(_number(spec, "port", 0)),
        protocol=cast(Any, _text(spec, "protocol", "tcp")),
        location=entry.location,
    )


def _ready(root: Mapping) -> ReadySpec | None:
    spec = root.get("ready")
    if not isinstance(spec, Mapping):
        return None
    kind = next(kind for kind in READY_KINDS if kind in spec.entries)
    http = spec.get("http")
    return ReadySpec(
        kind=kind,
        location=spec.location,
        console=_text(spec, "console"),
        port=_text(http, "port") if isinstance(http, Mapping) else _text(spec, "port"),
        path=_text(http, "path", "/") if isinstance(http, Mapping) else "",
        timeout=float(_number(spec, "timeout", 60)),
    )


def _realisation(kernel_name: str, spec: Mapping) -> Realisation:
    return Realisation(
        kernel=kernel_name,
        builtin=_flag(spec, "builtin"),
        modules=_texts(spec, "modules"),
        kconfig=_texts(spec, "kconfig"),
        sources=_texts(spec, "sources"),
    )


def _volume(entry: Entry) -> VolumeSpec:
    spec = _mapping(entry)
    return VolumeSpec(
        name=entry.key,
        mount=_text(spec, "mount"),
        size=mebibytes(_text(spec, "size")),
        files=_text(spec, "files"),
        read_only=_flag(spec, "read_only"),
        location=entry.location,
    )


def _text(root: Mapping, key: str, default: str = "") -> str:
    value = root.get(key)
    return value.text if isinstance(value, Scalar) else default


def _number(root: Mapping, key: str, default: float) -> float:
    value = root.get(key)
    return value.value if isinstance(value, Scalar) and isinstance(value.value, (int, float)) else default


def _flag(root: Mapping, key: str) -> bool:
    value = root.get(key)
    return isinstance(value, Scalar) and value.value is True


def _word(root: Mapping, key: str) -> Word:
    value = cast(Scalar, root.get(key))
    return Word(value.text, value.location)


def _words(root: Mapping, key: str) -> tuple[Word, ...]:
    return tuple(Word(_item_text(item), _item_location(item)) for item in _items(root, key))


def _texts(root: Mapping, key: str) -> tuple[str, ...]:
    return tuple(_item_text(item) for item in _items(root, key))


def _pairs(root: Mapping, key: str) -> tuple[tuple[str, str], ...]:
    return tuple((entry.key, _item_text(entry.value)) for entry in _entries(root, key))


def _items(root: Mapping, key: str) -> tuple[object, ...]:
    return _list(root.get(key))


def _list(value: object) -> tuple[object, ...]:
    return value.items if isinstance(value, Sequence) else ()


def _entries(root: Mapping, key: str) -> tuple[Entry, ...]:
    value = root.get(key)
    return tuple(value.entries.values()) if isinstance(value, Mapping) else ()


def _mapping(entry: Entry) -> Mapping:
    return cast(Mapping, entry.value)


def _item_text(item: object) -> str:
    return cast(Scalar, item).text


def _item_location(item: object) -> Location:
    return cast(Scalar, item).location
