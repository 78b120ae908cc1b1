"""Which QEMU is taken: what is asked for, what there is, and the words where it cannot be had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rumpel.build.emulators import Built, folder_of, forget_built, program_of, write_built
from rumpel.errors import HostError
from rumpel.machine.emulator import asked_qemu, candidates, find_qemu, models_of
from rumpel.resolve.plan import PLAN_SCHEMA, Device, Kernel, Machine, Plan, Ready, Settings

SYSTEM = shutil.which("qemu-system-x86_64")
NET = Device(driver="virtio-net", model="virtio-net-device", backend="net-user")


def plan_with(*devices: Device, machine: str = "microvm") -> Plan:
    return Plan(
        schema=PLAN_SCHEMA, composition="x", summary="", machine=Machine(name=machine, qemu_machine=machine),
        kernel=Kernel(name="floor", recipe="nano", directory="", summary=""), drivers=(), devices=devices,
        components=(), settings=Settings(), ports=(), ready=Ready(kind="exit"), volumes=(), sources=(), reasons=(),
        capabilities=(),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RUMPEL_QEMU", raising=False)


@pytest.fixture
def own() -> str:
    """An emulator as `rumpel qemu build` leaves it, one machine and three devices; its program is empty."""
    built = Built(
        program="digest/qemu-system-x86_64", plan="digest", version="7.2", sha256="0" * 64, size=0,
        machines=("microvm",), devices=("isa-debug-exit", "isa-serial", "virtio-net-device"),
    )  # fmt: skip
    program = folder_of() / built.program
    program.parent.mkdir(parents=True)
    program.touch()
    write_built(built)
    return str(program_of(built))


def test_without_one_of_its_own_rumpel_takes_the_systems() -> None:
    assert find_qemu("", plan_with(NET)) == find_qemu("auto") == find_qemu("system") == SYSTEM


def test_its_own_is_taken_where_it_has_every_device(own: str) -> None:
    assert find_qemu("", plan_with(NET)) == own
    assert find_qemu("own", plan_with()) == own
    assert candidates("") == (own, SYSTEM)


def test_a_machine_with_another_device_falls_to_the_systems(own: str) -> None:
    nvme = Device(driver="nvme", model="nvme", backend="none")
    assert find_qemu("", plan_with(NET, nvme)) == SYSTEM
    assert find_qemu("", plan_with(machine="q35")) == SYSTEM


def test_asking_for_its_own_names_what_it_lacks(own: str) -> None:
    nvme = Device(driver="nvme", model="nvme", backend="none")
    with pytest.raises(HostError) as caught:
        find_qemu("own", plan_with(NET, nvme, machine="q35"))
    assert str(caught.value) == (
        "Rumpel's own QEMU has no 'q35' and no 'nvme'.\n"
        "Name what it needs under 'kconfig' of its driver or machine, and run `rumpel qemu build`; "
        "'--qemu system' takes Debian's."
    )


def test_asking_for_its_own_before_it_is_built_says_how(own: str) -> None:
    forget_built()
    with pytest.raises(HostError) as caught:
        find_qemu("own", plan_with())
    assert str(caught.value) == (
        "Rumpel's own QEMU was asked for, but it is not built yet.\n"
        "`rumpel qemu build` builds it, once, in some minutes; '--qemu system' takes Debian's."
    )


def test_a_description_without_its_program_counts_as_none(own: str) -> None:
    Path(own).unlink()
    assert find_qemu("") == SYSTEM


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 9}'])
def test_a_damaged_description_counts_as_none(own: str, content: bytes) -> None:
    (folder_of() / "built.json").write_bytes(content)
    assert find_qemu("") == SYSTEM


def test_the_setting_says_what_no_option_says(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMPEL_QEMU", "system")
    assert find_qemu("", plan_with()) == SYSTEM
    assert find_qemu("own", plan_with()) == own
    assert candidates("") == (SYSTEM,)


def test_only_its_own_is_a_candidate_where_the_system_has_none(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert candidates("") == candidates("auto") == (own,)
    forget_built()
    with pytest.raises(HostError, match="QEMU is not installed: there is no program 'qemu-system-x86_64'"):
        candidates("")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the working directory."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "my-qemu"
    program.write_text("")
    program.chmod(0o755)
    return program


def test_any_other_word_is_a_program(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_qemu(str(mine)) == str(mine)
    monkeypatch.setenv("PATH", str(mine.parent))
    assert find_qemu("my-qemu") == str(mine)


def test_a_relative_path_means_the_same_in_another_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_qemu("./my-qemu") == asked_qemu("./my-qemu") == str(mine)
    monkeypatch.setenv("RUMPEL_QEMU", "./my-qemu")
    assert find_qemu("") == asked_qemu("") == str(mine)
    assert (asked_qemu("own"), asked_qemu("my-qemu")) == ("own", "my-qemu")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("no-such-qemu", "'no-such-qemu' was asked for as QEMU, but there is no such program."),
        ("./none", "'{here}/none' was asked for as QEMU, but there is no such program."),
        ("./notes", "'{here}/notes' was asked for as QEMU, but it is no program."),
    ],
)
def test_a_program_that_is_not_there_is_named_in_full(mine: Path, asked: str, said: str) -> None:
    (mine.parent / "notes").write_text("")
    with pytest.raises(HostError) as caught:
        find_qemu(asked)
    assert str(caught.value) == (
        f"{said.format(here=mine.parent)}\n"
        "'--qemu' and RUMPEL_QEMU take 'own', 'system', or the name or path of a program."
    )


def test_every_machine_is_started_with_a_console_and_a_way_out() -> None:
    assert models_of(plan_with(NET)) == ("isa-debug-exit", "isa-serial", "virtio-net-device")
