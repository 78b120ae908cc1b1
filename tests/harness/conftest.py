"""Machines of the harness for its own tests: the floor guest, which starts in a moment, and the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.boot.conftest import PlanFactory, floor, plan_of

from rumpel.harness.api import boot, launch_image
from rumpel.harness.images import Bootable, Wanted
from rumpel.harness.start import Start
from rumpel.harness.vm import Vm
from rumpel.machine.emulator import find_qemu
from rumpel.machine.instance import Image

__all__ = ["floor", "plan_of"]

ROOT = Path(__file__).resolve().parents[2]

Guest = Callable[..., Vm]


@pytest.fixture
def first_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's QEMU by another path, which RUMPEL_QEMU names."""
    first = tmp_path / "first"
    first.symlink_to(find_qemu("system"))
    monkeypatch.setenv("RUMPEL_QEMU", str(first))
    return first


@pytest.fixture
def guest(floor: Image, plan_of: PlanFactory) -> Iterator[Guest]:
    """`guest("status=3", ready=...)`: a floor guest that was started, closed after the test."""
    machines: list[Vm] = []

    def guest(*words: str, scale: float = 1.0, **plan: object) -> Vm:
        start = Start(wanted=Wanted(composition="floor", project=str(ROOT)), accelerator="tcg", name="floor")
        machines.append(launch_image(Bootable(plan_of(*words, **plan), floor), start, scale=scale))
        return machines[-1]

    yield guest
    for machine in machines:
        machine.close()


@pytest.fixture(scope="module", params=["microvm", "q35"])
def database(request: pytest.FixtureRequest) -> Iterator[Vm]:
    """The composition sqlite-web, ready, with a snapshot 'ready'."""
    with boot("sqlite-web", machine=request.param, accel="tcg", project=ROOT) as machine:
        machine.snapshot("ready")
        yield machine


@pytest.fixture
def vm(database: Vm) -> Vm:
    """The database as it was when it became ready."""
    database.restore("ready")
    return database
