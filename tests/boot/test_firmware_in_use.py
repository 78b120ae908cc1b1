"""A machine with a firmware of its own starts by the one in its image, in whichever way it is started."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

import rumpel
from rumpel.build.api import BuildOptions, build
from rumpel.build.manifest import Manifest
from rumpel.machine.detached import start_detached
from rumpel.machine.instance import Image, Options, image_of
from rumpel.machine.recording import load_recording
from rumpel.machine.registry import stop_instance
from rumpel.machine.replay import launch_replay
from rumpel.resolve.plan import Plan

pytestmark = [pytest.mark.boot, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]


class Built(msgspec.Struct):
    manifest: Manifest
    image: Image
    plan: Plan
    firmware: str


@pytest.fixture(scope="module")
def web() -> Built:
    """The composition 'web' on nano and microvm, which has a firmware of its own."""
    manifest = build("web", BuildOptions(project=ROOT, kernel="nano", machine="microvm"))
    folder = ROOT / manifest.directory
    assert manifest.firmware is not None
    plan = Plan.from_json((folder / manifest.plan.path).read_bytes())
    return Built(manifest, image_of(manifest, folder, ROOT), plan, str(folder / manifest.firmware.path))


def firmware_of(words: Sequence[str]) -> list[str]:
    return [value for option, value in itertools.pairwise(words) if option == "-bios"]


def running(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def test_the_manifest_names_the_firmware_where_the_machine_has_its_own(web: Built) -> None:
    assert web.manifest.firmware is not None
    assert (web.manifest.firmware.path, web.manifest.firmware.size) == ("firmware", 64 << 10)
    assert Path(web.firmware).stat().st_size == 64 << 10
    assert web.image.firmware == web.firmware
    assert build("web", BuildOptions(project=ROOT, kernel="nano", machine="q35")).firmware is None


def test_the_printed_line_names_the_firmware_of_the_image(web: Built) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", "--project", str(ROOT), "run", "web", "--kernel", "nano",
         "--machine", "microvm", "--print-command"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    assert firmware_of(shlex.split(done.stdout)) == [web.firmware]


def test_a_run_its_recording_and_the_replay_start_by_the_firmware_of_the_image(web: Built, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    with rumpel.boot("web", project=ROOT, kernel="nano", machine="microvm", record=folder) as vm:
        assert firmware_of(running(vm.instance.pid)) == [web.firmware]
    recorded = load_recording(folder)
    kept = recorded.image("firmware")
    assert Path(kept).is_relative_to(folder)
    assert Path(kept).read_bytes() == Path(web.firmware).read_bytes()
    # It waits for a GDB, so that it does not end before it is looked at.
    with launch_replay(recorded, tmp_path / "work", debugger=str(tmp_path / "gdb")) as instance:
        assert instance.qmp("query-status")["running"] is False
        assert firmware_of(running(instance.pid)) == [kept]


def test_a_detached_machine_starts_by_the_firmware_of_the_image(web: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # its owner works in another folder
    here = msgspec.structs.replace(web.image, firmware=str(Path(web.firmware).relative_to(ROOT)))
    seen = start_detached(web.plan, here, Options(accelerator="tcg"))
    try:
        assert firmware_of(running(seen.record.qemu)) == [web.firmware]
    finally:
        assert stop_instance("web", timeout=30) == "asked"
