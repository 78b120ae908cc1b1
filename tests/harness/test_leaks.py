"""A runner that is killed at any moment leaves no process and no file. RUMPEL_LEAK_ROUNDS says how often to try."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.harness.leak_project import ROOT, write_project

from rumpel.harness import scratch

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROUNDS = int(os.environ.get("RUMPEL_LEAK_ROUNDS", "10"))
LONGEST = 14.0  # seconds until a runner is killed
PATIENCE = 20.0  # seconds until nothing may be left


def of_run(temporary: Path) -> list[str]:
    """The processes that name the run's temporary folder in their words or their surroundings."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            around = (process / "environ").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if words and (str(temporary) in words or f"TMPDIR={temporary}" in around):
            found.append(f"{process.name}: {words[:200]}")
    return found


def left(temporary: Path) -> list[str]:
    # os.walk passes over what is removed meanwhile.
    paths = [str(Path(at) / name) for at, folders, files in os.walk(temporary) for name in (*folders, *files)]
    return of_run(temporary) + [path for path in paths if "pytest-of-" not in path]


def until_a_machine_runs(temporary: Path, runner: subprocess.Popen[bytes]) -> None:
    while not any("qemu-system" in line for line in of_run(temporary)):
        assert runner.poll() is None, "the runner ended without a machine"
        time.sleep(0.05)


@pytest.mark.timeout(ROUNDS * (2 * LONGEST + PATIENCE) + 120)
@pytest.mark.parametrize("processes", [0, 2])
def test_nothing_is_left_of_a_runner_that_was_killed(tmp_path: Path, processes: int) -> None:
    project = write_project(tmp_path / "project")
    chance = random.Random(ROUNDS + processes)
    machines = 0
    for number in range(ROUNDS if processes == 0 else max(1, ROUNDS // 5)):
        temporary = tmp_path / f"tmp{number}"
        temporary.mkdir()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "rumpel.harness.plugin", "-p", "no:cacheprovider"]
        command += ["--rumpel-accel=tcg", *([f"-n{processes}"] if processes else [])]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)}
        runner = subprocess.Popen(
            command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if number % 2 == 0:  # while a machine runs, at some moment of its life
            until_a_machine_runs(temporary, runner)
            time.sleep(chance.uniform(0, 2))
        else:
            time.sleep(chance.uniform(0.2, LONGEST))
        machines += sum("qemu-system" in line for line in of_run(temporary))
        runner.send_signal(signal.SIGKILL)
        assert runner.wait() == -signal.SIGKILL
        deadline = time.monotonic() + PATIENCE
        while left(temporary) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left(temporary) == []
    assert machines > 0  # else it was never killed while one ran


def test_an_interrupted_runner_leaves_nothing(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "rumpel.harness.plugin", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)}
    runner = subprocess.Popen(
        [*command, "--rumpel-accel=tcg"], cwd=project, env=environment, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not any("qemu-system" in line for line in of_run(temporary)) and time.monotonic() < deadline:
        time.sleep(0.05)
    runner.send_signal(signal.SIGINT)
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 2, output
    assert left(temporary) == []


def test_the_folder_of_a_process_that_died_with_its_watcher_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old = tmp_path / f"{scratch.PREFIX}{os.getuid()}-old"
    fresh = tmp_path / f"{scratch.PREFIX}{os.getuid()}-fresh"
    kept = tmp_path / f"{scratch.PREFIX}{os.getuid()}-kept"
    for folder in (old, fresh, kept):
        folder.mkdir()
    (kept / ".kept").touch()
    now = time.time()
    monkeypatch.setattr("rumpel.harness.scratch.time.time", lambda: now + 3600)
    held = scratch.Scratch()
    try:
        assert not old.exists()
        assert not fresh.exists()  # an hour later it is old too
        assert kept.exists()
        monkeypatch.setattr("rumpel.harness.scratch.time.time", lambda: now)
        fresh.mkdir()
        scratch.Scratch().close()
        assert fresh.exists()  # it may be about to be locked
        assert held.root.exists()
    finally:
        held.close()
    assert not held.root.exists()
