"""What is said of Rumpel's own QEMU: whether it is what a build would give now."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rumpel.build.emulator import linked_versions, plan_digest
from rumpel.build.emulators import QEMU, Built, folder_of, write_built
from rumpel.cli.bootstrap import EMULATOR, missing_packages, required_packages
from rumpel.cli.qemu import shown_qemu
from rumpel.model.lock import Lock, load_lock
from rumpel.model.project import Project
from rumpel.resolve.emulator import plan_emulator
from rumpel.sources import Store
from rumpel.sources.substitutions import remember, standing_in

ROOT = Path(__file__).resolve().parents[3]
LIBRARIES = required_packages(ROOT, EMULATOR)
pytestmark = pytest.mark.skipif(bool(missing_packages(LIBRARIES)), reason="what QEMU is built with is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lock() -> Lock:
    return load_lock(ROOT / "rumpel.lock")


def built_from(lock: Lock, linked: tuple[str, ...] = ()) -> None:
    """Its description, as a build of these pins leaves it; its program is empty."""
    digest = plan_digest(plan_emulator(Project([ROOT]), QEMU, lock), linked or linked_versions(LIBRARIES))
    program = folder_of() / "digest/qemu-system-x86_64"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch()
    write_built(
        Built(
            program="digest/qemu-system-x86_64", plan=digest, version="7.2", sha256="0" * 64, size=0, machines=(),
            devices=(),
        )
    )  # fmt: skip


def test_it_is_current_where_a_build_would_give_the_same(lock: Lock) -> None:
    assert shown_qemu().state == "missing"
    built_from(lock)
    assert shown_qemu().state == "current"


def test_it_is_outdated_where_a_library_that_is_linked_in_has_another_version(lock: Lock) -> None:
    now = linked_versions(LIBRARIES)
    assert any(each.startswith("libglib2.0-dev ") for each in now)
    built_from(lock, tuple("libglib2.0-dev 2.0" if each.startswith("libglib2.0-dev ") else each for each in now))
    assert shown_qemu().state == "outdated"


def test_it_is_current_where_another_version_stood_in_for_a_pin_that_is_gone(lock: Lock) -> None:
    pinned = lock.get("qemu")
    assert pinned is not None
    newest = msgspec.structs.replace(pinned, version=f"{pinned.version}+1")
    remember(pinned, standing_in(newest, pinned), Store())
    built_from(lock)
    assert shown_qemu().state == "outdated"
    built_from(lock.replace(standing_in(newest, pinned)))
    assert shown_qemu().state == "current"
