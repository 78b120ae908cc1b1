"""What an emulator is built from is what the machines and drivers of the project name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.errors import ModelError, ResolveError
from rumpel.model.lock import Lock, load_lock
from rumpel.model.project import Project
from rumpel.resolve.emulator import plan_emulator

ROOT = Path(__file__).parents[3]


def test_every_device_of_a_driver_and_every_machine_names_its_symbols() -> None:
    project = Project([ROOT])
    for name in project.names("driver"):
        device = project.driver(name).device
        assert device is None or device.kconfig, name
    assert all(project.machine(name).kconfig for name in project.names("machine"))


def test_symbols_are_those_of_all_parts_sorted() -> None:
    project = Project([ROOT])
    plan = plan_emulator(project, "qemu", load_lock(ROOT / "rumpel.lock"))
    assert list(plan.symbols) == sorted(set(plan.symbols))
    assert {"ISA_DEBUG", "MICROVM", "Q35", "VIRTIO_BLK", "VIRTIO_NET", "VIRTIO_RNG"} <= set(plan.symbols)
    assert [source.name for source in plan.sources] == ["libslirp", "qemu"]


def test_a_driver_of_a_project_adds_its_symbol_and_changes_the_digest(tmp_path: Path) -> None:
    lock = load_lock(ROOT / "rumpel.lock")
    folder = tmp_path / "hal/drivers/nvme"
    folder.mkdir(parents=True)
    (folder / "driver.yaml").write_text(
        "schema: 1\nname: nvme\nsummary: x\nprovides: [block]\nneeds: ['bus:pci']\n"
        "device: {backend: none, models: {'bus:pci-host': nvme}, kconfig: [NVME_PCI]}\n"
        "kernels: {debian: {modules: [nvme]}}\n"
    )
    mine = plan_emulator(Project([tmp_path, ROOT]), "qemu", lock)
    own = plan_emulator(Project([ROOT]), "qemu", lock)
    assert set(mine.symbols) - set(own.symbols) == {"NVME_PCI"}
    assert mine.digest != own.digest
    assert plan_emulator(Project([ROOT]), "qemu", lock).digest == own.digest


def test_a_source_that_is_not_pinned_is_named() -> None:
    with pytest.raises(ResolveError) as caught:
        plan_emulator(Project([ROOT]), "qemu", Lock())
    assert "the source 'qemu' of emulator 'qemu' is not in the lock file." in str(caught.value)
    assert caught.value.hint == "Run `rumpel lock --update libslirp` and `rumpel lock --update qemu`."


def test_what_is_laid_into_the_source_and_changed_is_part_of_the_digest(tmp_path: Path) -> None:
    folder = tmp_path / "hal/emulators/qemu"
    folder.mkdir(parents=True)
    for name in ("emulator.yaml", "liveness.h"):
        (folder / name).write_text((ROOT / "hal/emulators/qemu" / name).read_text())
    lock = load_lock(ROOT / "rumpel.lock")
    own = plan_emulator(Project([ROOT]), "qemu", lock)
    assert plan_emulator(Project([tmp_path, ROOT]), "qemu", lock).digest == own.digest
    (folder / "liveness.h").write_text("/* another one */\n")
    assert plan_emulator(Project([tmp_path, ROOT]), "qemu", lock).digest != own.digest


def test_a_file_that_is_to_be_laid_into_the_source_must_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "hal/emulators/qemu"
    folder.mkdir(parents=True)
    (folder / "emulator.yaml").write_text((ROOT / "hal/emulators/qemu/emulator.yaml").read_text())
    with pytest.raises(ModelError) as caught:
        plan_emulator(Project([tmp_path, ROOT]), "qemu", load_lock(ROOT / "rumpel.lock"))
    assert f"there is no file 'liveness.h' in '{folder}'." in str(caught.value)
