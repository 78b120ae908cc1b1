"""The accelerator is decided by what a guest was seen to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.errors import HostError
from rumpel.machine import accelerator
from rumpel.machine.accelerator import choose_accelerator, counting_guest, probe
from rumpel.machine.emulator import find_qemu
from rumpel.places import accelerator_file

pytestmark = pytest.mark.boot

QEMU = find_qemu("qemu-system-x86_64")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def a_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device file that can be opened, so that the choice goes on to the probe wherever the test runs."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "_DEVICE", device)
    return device


def qemu_that(tmp_path: Path, under_kvm: str) -> str:
    """A QEMU that is the real one under TCG and does `under_kvm` (shell) where KVM is asked for."""
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\ncase "$*" in *"-accel kvm"*) {under_kvm};; *) exec {QEMU} "$@";; esac\n')
    program.chmod(0o755)
    return str(program)


def test_counting_guest_counts_to_its_end_under_tcg(tmp_path: Path) -> None:
    guest = tmp_path / "guest"
    guest.write_bytes(counting_guest())
    pace = accelerator._pace(QEMU, "tcg", guest)
    assert pace.seconds is not None and pace.seconds > 0
    assert pace.said == ""


def test_kvm_that_never_lets_a_guest_begin_loses(tmp_path: Path, a_kvm: Path) -> None:
    choice = choose_accelerator("auto", qemu_that(tmp_path, "exec sleep 60"))
    assert choice.name == "tcg"
    assert re.fullmatch(r"/dev/kvm exists, but a guest ran \d+ times slower than under TCG; using TCG\.", choice.reason)


def test_kvm_that_crawls_loses_with_its_ratio(tmp_path: Path, a_kvm: Path) -> None:
    crawl = "i=0; while [ $i -lt 40 ]; do printf .; sleep 0.1; i=$((i+1)); done"
    choice = choose_accelerator("auto", qemu_that(tmp_path, crawl))
    assert choice.name == "tcg"
    assert " times slower than under TCG; using TCG." in choice.reason


def test_kvm_that_refuses_loses_with_qemus_words(tmp_path: Path, a_kvm: Path) -> None:
    choice = choose_accelerator(
        "auto", qemu_that(tmp_path, "echo 'failed to initialize kvm: No such device' >&2; exit 1")
    )
    assert choice.name == "tcg"
    assert choice.reason == (
        "/dev/kvm exists, but a guest did not run under KVM (failed to initialize kvm: No such device); using TCG."
    )


def test_kvm_that_is_faster_wins(tmp_path: Path, a_kvm: Path) -> None:
    choice = choose_accelerator("auto", qemu_that(tmp_path, "head -c 1024 /dev/zero"))
    assert (choice.name, choice.reason) == ("kvm", "A guest ran faster under KVM than under TCG; using KVM.")


def test_result_is_kept_until_qemu_changes(tmp_path: Path, a_kvm: Path) -> None:
    qemu = qemu_that(tmp_path, "echo x >> " + str(tmp_path / "probes") + "; exit 1")
    first = choose_accelerator("auto", qemu)
    assert choose_accelerator("auto", qemu) == first
    assert (tmp_path / "probes").read_text() == "x\n"
    os.utime(qemu, ns=(1, 1))
    choose_accelerator("auto", qemu)
    assert (tmp_path / "probes").read_text() == "x\nx\n"


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": 1}', json.dumps({"name": "warp"}).encode()])
def test_damaged_cache_is_measured_anew(tmp_path: Path, a_kvm: Path, content: bytes) -> None:
    accelerator_file().parent.mkdir(parents=True)
    accelerator_file().write_bytes(content)
    assert choose_accelerator("auto", qemu_that(tmp_path, "exit 1")).name == "tcg"
    assert json.loads(accelerator_file().read_bytes())["results"][0]["name"] == "tcg"


def test_machine_without_kvm_uses_tcg_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "_DEVICE", tmp_path / "none")
    assert choose_accelerator("auto", QEMU).reason == "This machine has no /dev/kvm; using TCG."
    with pytest.raises(HostError) as caught:
        choose_accelerator("kvm", QEMU)
    assert str(caught.value) == (
        "The accelerator 'kvm' was asked for, but this machine has no /dev/kvm.\nUse '--accel tcg'."
    )


def test_kvm_that_this_user_may_not_open_is_named() -> None:
    device = "/proc/1/mem"  # closed to everybody but root
    program = (
        "import os; from rumpel.machine import accelerator; from pathlib import Path; os.setuid(65534);"
        f"accelerator._DEVICE = Path({device!r}); print(accelerator._closed())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, check=False
    )
    assert done.stdout.decode() == "/dev/kvm cannot be opened (Permission denied)\n", done.stderr


def test_real_probe_decides_one_way_or_the_other() -> None:
    """Wherever this runs: an answer, with its reason."""
    choice = probe(QEMU)
    assert choice.reason.endswith(f"using {choice.name.upper()}.")
