"""Real machines for tests: the floor guest (`bench/floor`) under QEMU's TCG, in folders of the test's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rumpel.machine.instance import Image, Instance, Options, launch
from rumpel.resolve.plan import PLAN_SCHEMA, Device, Kernel, Machine, Plan, Port, Ready, Settings, Volume

ROOT = Path(__file__).parent.parent.parent

NET = Device(driver="virtio-net", model="virtio-net-device", backend="net-user")
BLOCK = Device(driver="virtio-blk", model="virtio-blk-device", backend="volume", volume="data")
MACHINES = {
    "microvm": Machine(
        name="microvm", qemu_machine="microvm", qemu_options=(("acpi", "off"), ("isa-serial", "off")), memory=16
    ),
    "q35": Machine(name="q35", qemu_machine="q35", qemu_options=(("smbus", "off"), ("sata", "off")), memory=16),
}

PlanFactory = Callable[..., Plan]
Boot = Callable[..., Instance]


@pytest.fixture(scope="session")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The floor guest, compiled for this run."""
    spec = importlib.util.spec_from_file_location("floor_build", ROOT / "bench" / "floor" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("floor")
    return Image(kernel=str(module.build_floor(folder / "floor")), project=str(folder))


@pytest.fixture
def plan_of() -> PlanFactory:
    """A plan for the floor guest: `plan_of("status=3", ready=..., net=True)`; the words are its command line."""

    def plan_of(
        *words: str,
        ready: Ready | None = None,
        machine: str = "microvm",
        net: bool = False,
        volume: Volume | None = None,
        devices: tuple[Device, ...] = (),
    ) -> Plan:
        wanted = (*devices, *((NET,) if net else ()), *((BLOCK,) if volume else ()))
        if machine == "q35":
            wanted = tuple(_on_pci(device) for device in wanted)
        return Plan(
            schema=PLAN_SCHEMA, composition="floor", summary="The floor guest", machine=MACHINES[machine],
            kernel=Kernel(name="floor", recipe="nano", directory="bench/floor", summary="", command_line=words),
            drivers=(), devices=wanted, components=(), settings=Settings(),
            ports=(Port(name="http", port=80),) if net else (),
            ready=ready or Ready(kind="console", console="^READY$", timeout=30),
            volumes=(volume,) if volume else (), sources=(), reasons=(), capabilities=(),
        )  # fmt: skip

    return plan_of


def _on_pci(device: Device) -> Device:
    return Device(
        driver=device.driver,
        model=device.model.replace("-device", "-pci"),
        backend=device.backend,
        volume=device.volume,
    )


@pytest.fixture
def boot(floor: Image) -> Iterator[Boot]:
    """`boot(plan, name="x", ...)` launches a machine that is gone after the test."""
    instances: list[Instance] = []

    def boot(plan: Plan, **options: object) -> Instance:
        instance = launch(plan, floor, Options(**{"accelerator": "tcg", **options}))  # type: ignore[arg-type]
        instances.append(instance)
        return instance

    yield boot
    for instance in instances:
        instance.close()
