"""Rumpel's own QEMU: built from the pinned sources, with the devices that parts name, one file that runs machines."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.build.emulator import PROGRAM, build_emulator, linked_versions, plan_digest
from rumpel.build.emulators import QEMU, Built, built_emulator, program_of
from rumpel.build.plans import unpacker
from rumpel.build.step import Workspace
from rumpel.cli.bootstrap import EMULATOR, required_packages
from rumpel.errors import BuildError
from rumpel.model.lock import load_lock
from rumpel.model.project import Project
from rumpel.resolve.emulator import EmulatorPlan, plan_emulator

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def rumpel(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**os.environ, **environment}, timeout=1700, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plan() -> EmulatorPlan:
    return plan_emulator(Project([ROOT]), QEMU, load_lock(ROOT / "rumpel.lock"))


@pytest.fixture(scope="module")
def own(plan: EmulatorPlan) -> Built:
    """Built where it was not yet; by the sources that stood in for those that are gone from the archive, if so."""
    done = rumpel("qemu", "build")
    assert done.returncode == 0, done.stderr
    built = built_emulator()
    assert built is not None
    if " is gone from the archive" not in done.stderr:
        assert built.plan == plan_digest(plan, linked_versions(required_packages(ROOT, EMULATOR)))
    assert json.loads(rumpel("qemu", "--json").stdout)["state"] == "current"
    return built


def test_it_is_one_static_file_of_which_the_description_tells_the_truth(own: Built) -> None:
    program = program_of(own)
    content = program.read_bytes()
    assert (program.name, len(content)) == (PROGRAM, own.size)
    assert hashlib.sha256(content).hexdigest() == own.sha256
    listing = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in listing
    assert "DYN" in listing.splitlines()[1]  # wherever it is loaded
    assert str(Path.home()).encode() not in content
    assert str(ROOT).encode() not in content


def test_it_has_every_device_and_machine_that_a_part_names_and_few_others(own: Built) -> None:
    project = Project([ROOT])
    drivers = [project.driver(name) for name in project.names("driver")]
    models = {model for driver in drivers if driver.device is not None for _, model in driver.device.models}
    assert models <= set(own.devices)
    assert {project.machine(name).qemu_machine for name in project.names("machine")} <= set(own.machines)
    system = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, check=True)
    assert len(own.devices) * 2 < system.stdout.count('name "')


def test_a_second_build_has_nothing_to_do(own: Built) -> None:
    before = program_of(own).stat()
    done = rumpel("qemu", "build", "--offline")
    assert done.returncode == 0
    assert program_of(own).stat() == before
    shown = json.loads(rumpel("qemu", "--json").stdout)
    assert (shown["program"], shown["sha256"]) == (str(program_of(own)), own.sha256)


def test_taken_out_of_use_it_comes_back_without_a_build_of_its_own(own: Built) -> None:
    done = rumpel("qemu", "rm")
    try:
        assert done.stderr == (
            "Rumpel's own QEMU is out of use; machines run on Debian's. `rumpel qemu build` brings it back.\n"
        )
        assert "Rumpel's own QEMU is not built: `rumpel qemu build`.\n" in rumpel("qemu").stdout
    finally:
        assert rumpel("qemu", "build").returncode == 0
    assert built_emulator() == own


@pytest.mark.boot
@pytest.mark.parametrize("machine", ["microvm", "q35"])
@pytest.mark.parametrize("which", ["own", "system"])
def test_both_run_the_same_machine(own: Built, machine: str, which: str) -> None:
    done = rumpel(
        "run", "hello", "--kernel", "nano", "--machine", machine, "--qemu", which, "--accel", "tcg", "--", "A"
    )
    assert done.returncode == 0, done.stderr
    assert "A" in done.stdout
    printed = rumpel("run", "hello", "--kernel", "nano", "--machine", machine, "--qemu", which, "--print-command")
    assert (printed.stdout.split()[0] == str(program_of(own))) == (which == "own")


def test_a_symbol_that_qemu_has_not_is_an_error_that_names_it(
    plan: EmulatorPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = EmulatorPlan(name="wrong", target=plan.target, symbols=(*plan.symbols, "VIRTIO_BLOK"), sources=plan.sources)
    unpack = unpacker()
    monkeypatch.setattr("rumpel.places.emulators_dir", lambda: tmp_path)
    with pytest.raises(BuildError) as caught:
        build_emulator(wrong, Workspace(root=ROOT, unpack=unpack), (), lambda folder: folder)
    assert str(caught.value) == (
        "QEMU has no Kconfig symbol 'VIRTIO_BLOK', which a part names under 'kconfig'.\nDid you mean 'VIRTIO_BLK'?"
    )
    assert built_emulator("wrong") is None
