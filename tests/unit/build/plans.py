"""A small plan, as tests of the build's pieces need one."""

from __future__ import annotations

from rumpel.resolve.plan import (
    CBuild,
    Component,
    Device,
    Kernel,
    Machine,
    Plan,
    Ready,
    Settings,
    Source,
    SourceFile,
    Volume,
)


def small_plan() -> Plan:
    """One program, one network device, one volume."""
    return Plan(
        schema=1,
        composition="web",
        summary="",
        machine=Machine(name="microvm", qemu_machine="microvm"),
        kernel=Kernel(name="debian", recipe="debian", directory="kernels/debian", summary="", sources=("linux",)),
        drivers=(),
        devices=(Device(driver="virtio-net", model="virtio-net-device", backend="net-user"),),
        components=(
            Component(
                name="web",
                kind="c",
                role="program",
                directory="components/web",
                summary="",
                license="",
                c=CBuild(sources=("main.c",)),
                entry="/bin/web",
            ),
        ),
        settings=Settings(arguments=("--flag",), environment=(("LIMIT", "10"),)),
        ports=(),
        ready=Ready(kind="exit"),
        volumes=(Volume(name="data", mount="/data", size=8, serial="data"),),
        sources=(source("linux"),),
        reasons=(),
        capabilities=(),
    )


def source(name: str) -> Source:
    """A pinned source of one file."""
    return Source(
        name=name,
        kind="deb",
        package=name,
        version="1",
        files=(SourceFile(name=f"{name}.deb", sha256="0" * 64, size=1),),
    )
