"""Recordings run again, the same in every byte; and what a seed makes the same. With real machines."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rumpel
from rumpel.errors import HostError, UsageError
from rumpel.machine.recording import load_recording, replay_launch
from rumpel.machine.replay import check_debugging, check_replay, launch_replay, wait_for_replay

pytestmark = [pytest.mark.boot]

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rumpel", "--project", str(ROOT), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 'hello' on nano, which ended with status 3."""
    folder = tmp_path_factory.mktemp("hello") / "recording"
    done = command("run", "hello", "--kernel", "nano", "--record", str(folder), "--", "--status", "3")
    assert done.returncode == 3, done.stderr
    assert "Hello from Rumpel." in done.stdout
    told = re.sub(r"\(\d+\.\d MiB\)", "(SIZE)", done.stderr)
    assert told.endswith(f"Recorded in {folder} (SIZE); 'rumpel replay {folder}' runs it again.\n")
    return folder


def test_a_replay_has_the_console_and_the_status_of_the_run_and_leaves_the_recording_as_it_is(hello: Path) -> None:
    before = digests(hello)
    done = command("replay", str(hello))
    assert done.stdout.encode() == (hello / "console.log").read_bytes()
    assert (done.returncode, done.stderr) == (3, "The program ended with status 3, as it was recorded.\n")
    assert digests(hello) == before


def test_gdb_goes_back_in_a_replay(hello: Path, tmp_path: Path) -> None:
    log = tmp_path / "gdb.log"  # on standard output the guest's words may come in the middle of GDB's
    done = command(
        "replay", "--debug", str(hello), "--", "-nx", "-batch",
        "-ex", f"set logging file {log}", "-ex", "set logging enabled on", "-ex", "break program_start",
        "-ex", "break program_exit", "-ex", "continue", "-ex", "reverse-continue", "-ex", "bt 1",
    )  # fmt: skip
    assert "Temporary breakpoint 1, main (argc=3, argv=" in done.stdout, done.stdout + done.stderr
    stops = re.findall(r"^Breakpoint \d, (\w+) \(", log.read_text(), re.MULTILINE)
    assert stops == ["program_exit", "program_start"], done.stdout + done.stderr


def test_a_replay_that_is_another_run_is_an_error(hello: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", str(hello), str(other)], check=True)
    ending = json.loads((other / "ending.json").read_text())
    (other / "ending.json").write_text(json.dumps({**ending, "status": 4}))
    done = command("replay", str(other))
    assert done.returncode == 5
    first = "rumpel: The replay of 'hello' is not what was recorded: its program's status is 3, the recorded one 4.\n"
    assert done.stderr.startswith(first)


def test_what_is_there_is_never_taken_for_a_recording(hello: Path) -> None:
    before = digests(hello)
    done = command("run", "hello", "--kernel", "nano", "--record", str(hello))
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"rumpel: The recording cannot be put into '{hello}': there is something already.\n"
        "Name a folder that is not there yet.\n"
    )
    assert digests(hello) == before


def test_only_the_same_qemu_runs_a_recording_again(hello: Path, tmp_path: Path) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_text("#!/bin/sh\necho 'QEMU emulator version 3.2.1 (other)'\n")
    qemu.chmod(0o755)
    with pytest.raises(HostError, match=r"was made by QEMU .*, but here is QEMU 3\.2\.1 \(other\): only the same one"):
        replay_launch(load_recording(hello), str(qemu))


def test_a_recording_of_another_version_is_refused(hello: Path, tmp_path: Path) -> None:
    description = json.loads((hello / "recording.json").read_text())
    (tmp_path / "recording.json").write_text(json.dumps({**description, "schema": 7}))
    done = command("replay", str(tmp_path))
    says = f"The recording in '{tmp_path}' is of version 7; this Rumpel replays version 1.\nRecord it again.\n"
    assert (done.returncode, done.stderr) == (2, f"rumpel: {says}")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["replay", "/nonexistent"], "There is no recording in '/nonexistent': 'recording.json': No such file or "
         "directory.\nMake one with 'rumpel run --record DIR COMPOSITION'.\n"),
        (["replay", ".", "--", "-batch"], "Words for GDB need '--debug'.\nWrite: rumpel replay --debug . -- ...\n"),
        (["run", "hello", "--kernel", "nano", "--seed", "1", "--accel", "kvm"],
         "KVM cannot count the guest's instructions, which recordings and seeds need.\n"
         "Leave the accelerator out, or choose 'tcg'.\n"),
        (["run", "hello", "--kernel", "nano", "--record", "/nonexistent/x", "--secret", "a=/etc/hostname"],
         "A recording would hold the secrets.\nLeave out '--secret', or do without the recording.\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_or_replayed_is_said(words: list[str], says: str) -> None:
    done = command(*words)
    assert (done.returncode, done.stderr[-len(f"rumpel: {says}") :]) == (2, f"rumpel: {says}")


@pytest.mark.documents("Vm.faults", UsageError)
@pytest.mark.documents("Vm.pause", UsageError)
@pytest.mark.documents("Vm.reset", UsageError)
@pytest.mark.documents("Vm.power_on", UsageError)
@pytest.mark.parametrize(("kernel", "machine"), [("debian", "microvm"), ("linux", "q35")])
def test_requests_random_numbers_and_disks_are_the_same_in_a_replay(kernel: str, machine: str, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    with rumpel.boot("sqlite-web", kernel=kernel, machine=machine, record=folder, project=ROOT) as vm:
        client = vm.http()
        for statement in ("create table t (x)", "insert into t values (hex(randomblob(16))) returning x"):
            answer = client.post("/api/query", json={"sql": statement}).json()
        with pytest.raises(
            UsageError, match=r"is recorded: it cannot be saved, as a replay would not be\.\nBoot it with"
        ):
            vm.snapshot("now")
        with pytest.raises(UsageError, match="it cannot be broken on purpose"):
            _ = vm.faults
        with pytest.raises(UsageError, match="it cannot be paused"):
            vm.pause()
        with pytest.raises(UsageError, match="it cannot be reset"):
            vm.reset()
        with pytest.raises(UsageError, match="it cannot be started again"):
            vm.power_on()
    drawn = str(answer["rows"][0][0]).encode()
    recorded = load_recording(folder)
    assert recorded.ending is not None and recorded.ending.whole
    assert len(drawn) == 32
    assert drawn not in (folder / "volumes/data.ext4").read_bytes()
    work = tmp_path / "work"
    with launch_replay(recorded, work) as instance:
        wait_for_replay(instance)
        check_replay(recorded, instance)
    assert drawn in (work / "disks/data.qcow2").read_bytes()
    with pytest.raises(UsageError, match=r"QEMU cannot halt a replay that writes to a volume.*'data'"):
        check_debugging(recorded)


def test_a_stop_is_part_of_the_recording(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    with rumpel.boot("web", kernel="nano", machine="q35", record=folder, project=ROOT) as vm:
        assert vm.http().get("/").status_code == 200
        assert vm.stop() == "asked"
    done = command("replay", str(folder))
    assert (done.returncode, done.stderr) == (0, "The program ended with status 0, as it was recorded.\n")
    assert done.stdout == "web: listening on port 80\n"


def test_a_seed_gives_the_same_random_numbers_at_each_start_and_another_one_others() -> None:
    """The program's address is the first that is drawn by chance."""

    def address(seed: str) -> str:
        done = command("debug", "hello", "--kernel", "nano", "--seed", seed, "--", "-nx", "-batch")
        found = re.search(r"The program 'hello' is at (0x[0-9a-f]+)", done.stdout)
        assert found is not None, done.stdout + done.stderr
        return found[1]

    first = address("7")
    assert address("7") == first
    assert address("8") != first


TESTS = f"""
import pytest

WHERE = {{"project": {str(ROOT)!r}, "kernel": "nano"}}

@pytest.mark.composition("web", **WHERE)
def test_passes(vm):
    assert vm.recording is not None

@pytest.mark.composition("web", **WHERE)
def test_fails(vm):
    assert vm.http().get("/").status_code == 404

@pytest.mark.composition("web", record=False, **WHERE)
def test_is_not_recorded(vm):
    vm.faults.network_down()
    assert vm.recording is None
"""


def test_the_plugin_keeps_the_recordings_of_failed_tests_and_says_how_to_run_them_again(tmp_path: Path) -> None:
    (tmp_path / "test_recorded.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "rumpel.harness.plugin", "-p", "no:cacheprovider", "-q",
         "--rootdir", str(tmp_path), "--rumpel-record=failed", "--rumpel-seed=5", "test_recorded.py"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    (recording,) = (tmp_path / "rumpel-logs").glob("*/*/recording")
    assert "test_fails" in str(recording)
    assert f"    rumpel replay {recording}\n" in done.stdout
    assert "    pytest test_recorded.py::test_fails --rumpel-seed=5\n" in done.stdout
    again = command("replay", str(recording))
    assert again.returncode == 0
    assert again.stderr == "The recording ends here: the machine was stopped.\n"
    assert again.stdout == "web: listening on port 80\n"
