"""What goes wrong on the command line, as a person meets it: exact words, exit statuses, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]

LAUNCHER = ROOT / "rumpel"
MIB = 1 << 20
USING = re.compile(r"^.*; using (TCG|KVM)\.\n", re.MULTILINE)


def rumpel(*words: str, project: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher; no error of a person's may show a traceback."""
    place = {"RUMPEL_PROJECT": str(project)} if project is not None else {}
    done = subprocess.run(
        [LAUNCHER, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd=ROOT,
        env={**os.environ, **place, **environment},
        timeout=500,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Standard error without the steps of a build and without the line about the accelerator."""
    lines = [
        line
        for line in done.stderr.splitlines(keepends=True)
        if not re.match(r"\[ *\d+/\d+\] |fetching |Another build ", line)
    ]
    return USING.sub("", "".join(lines))


def nothing_runs() -> bool:
    rows: list[object] = json.loads(rumpel("ps", "--json").stdout)
    return rows == []


@contextlib.contextmanager
def foreground(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`rumpel run WORDS`, and where it answers."""
    with subprocess.Popen(
        [LAUNCHER, "run", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            heard = ""
            for line in process.stderr:
                heard += line
                found = re.search(r"answers at (http://127\.0\.0\.1:\d+) ", line)
                if found:
                    yield process, found[1]
                    return
            pytest.fail(f"it never answered:\n{heard}")
        finally:
            process.kill()


def qemu_of(name: str) -> int:
    (row,) = (row for row in json.loads(rumpel("ps", "--json").stdout) if row["name"] == name)
    assert isinstance(row["qemu"], int)
    return row["qemu"]


def ends(pid: int, timeout: float = 10) -> bool:
    """Whether a process that is not our child ends in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def query(url: str, sql: str) -> list[list[object]]:
    body = json.dumps({"sql": sql}).encode()
    request = urllib.request.Request(url + "/api/query", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        rows: list[list[object]] = json.load(answer)["rows"]
    return rows


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one's own beside Rumpel's parts."""
    folder = tmp_path / "project"
    (folder / "compositions").mkdir(parents=True)
    return folder


def test_a_port_in_use_is_named_with_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        done = rumpel("run", "sqlite-web", "-p", f"{number}:http")
    name = Path("/proc/self/comm").read_text().strip()
    assert said(done) == (
        f"rumpel: The port {number} was asked for, but it is in use by '{name}' (pid {os.getpid()}).\n"
        "Stop that program, choose another port with '-p HOST:NAME', or leave it out to let QEMU choose one.\n"
    )
    assert done.returncode == 4
    assert nothing_runs()


def test_no_disk_space_for_a_volume_is_said_before_anything_starts(project: Path, own_state: Path) -> None:
    disk = os.statvfs(own_state)
    larger = disk.f_blocks * disk.f_frsize // MIB + 1024
    (project / "compositions/vast.yaml").write_text(
        f"schema: 1\nname: vast\nextends: sqlite-web\nvolumes: {{data: {{mount: /data, size: {larger}M}}}}\n"
    )
    done = rumpel("run", "vast", project=project)
    folder = own_state / "volumes/vast"
    assert re.fullmatch(
        rf"rumpel: There is no disk space for the volume 'data': it needs {larger} MiB, and \d+ MiB are free in "
        rf"'{re.escape(str(folder))}'\.\n"
        r"Free some space, give the volume a smaller 'size', or set RUMPEL_STATE to a folder on another disk\.\n",
        said(done),
    ), done.stderr
    assert done.returncode == 4
    assert list(folder.iterdir()) == []


def test_a_missing_qemu_is_said_with_the_line_that_brings_it(tmp_path: Path) -> None:
    assert rumpel("build", "hello").returncode == 0
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if not program.name.startswith("qemu-system") and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    done = rumpel("run", "hello", PATH=str(programs), RUMPEL_QEMU="system")
    assert done.stderr == (
        "rumpel: QEMU is not installed: there is no program 'qemu-system-x86_64'.\n"
        "Install it with: apt-get install qemu-system-x86\n"
    )
    assert done.returncode == 4


def test_a_qemu_that_ends_at_once_is_shown_with_its_own_words(project: Path) -> None:
    shutil.copytree(ROOT / "hal/machines/microvm", project / "hal/machines/strange")
    text = (ROOT / "hal/machines/microvm/machine.yaml").read_text()
    text = text.replace("name: microvm", "name: strange").replace(
        'options: {isa-serial: "off"}', "options: {warp: fast}"
    )
    (project / "hal/machines/strange/machine.yaml").write_text(text)
    shelter = project / "kernels/debian"
    shelter.parent.mkdir()
    kernel = (ROOT / "kernels/debian/kernel.yaml").read_text()
    shelter.mkdir()
    (shelter / "kernel.yaml").write_text(
        kernel.replace("machines: [microvm, q35]", "machines: [microvm, q35, strange]")
    )
    (project / "compositions/odd.yaml").write_text("schema: 1\nname: odd\nextends: hello\nmachine: strange\n")
    done = rumpel("run", "odd", project=project)
    assert said(done).startswith("rumpel: QEMU ended at once with status 1.\nQEMU said:\n    "), done.stderr
    assert re.search(r"^    qemu-system-x86_64: .*Property .*\.warp' not found$", done.stderr, re.MULTILINE)
    assert done.returncode == 5
    assert nothing_runs()


def test_a_guest_that_panics_is_said_with_the_consoles_end(probe_project: Path, own_state: Path) -> None:
    done = rumpel("run", "probe", "--", "panic", project=probe_project)
    assert said(done).startswith(
        "rumpel: The guest's kernel panicked: sysrq triggered crash.\nThe console ended with:\n    ["
    ), done.stderr
    assert "Kernel panic - not syncing: sysrq triggered crash" in done.stdout
    assert done.stderr.endswith(f"The whole console is in {own_state}/instances/probe/console.log.\n")
    assert done.returncode == 5


def test_a_console_that_was_streamed_to_the_same_place_is_not_shown_again(probe_project: Path) -> None:
    done = subprocess.run(
        [LAUNCHER, "run", "probe", "--", "panic"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", cwd=ROOT, timeout=500, check=False,
        env={**os.environ, "RUMPEL_PROJECT": str(probe_project)},
    )  # fmt: skip
    assert done.stdout.count("Kernel panic - not syncing: sysrq triggered crash") == 1, done.stdout
    assert "rumpel: The guest's kernel panicked: sysrq triggered crash.\nTo start it by hand:\n" in done.stdout
    assert "The console ended with" not in done.stdout
    assert done.returncode == 5


def test_a_guest_that_never_becomes_ready_is_said_with_the_consoles_end(probe_project: Path, own_state: Path) -> None:
    done = rumpel("run", "probe", "--ready-timeout", "25", "--", "wait", project=probe_project)
    assert said(done).startswith(
        "rumpel: The machine 'probe' was not ready within 25 s: no line of the console matched '^probe: ready$'.\n"
        "The console ended with:\n"
        "    probe: waiting for nothing\n"
    ), done.stderr
    assert done.stderr.endswith(f"The whole console is in {own_state}/instances/probe/console.log.\n")
    assert done.returncode == 5
    assert nothing_runs()


def test_a_program_that_a_signal_ends_gives_run_its_status(probe_project: Path) -> None:
    done = rumpel("run", "probe", "--", "segfault", project=probe_project)
    assert said(done).startswith("The program ended with status 139"), done.stderr
    assert "rumpel: The program was killed by signal 11 (Segmentation fault)." in done.stdout
    assert done.returncode == 139


def test_a_second_run_of_a_name_is_refused_and_the_first_goes_on() -> None:
    with foreground("sqlite-web") as (process, url):
        qemu = qemu_of("sqlite-web")
        done = rumpel("run", "sqlite-web")
        assert re.fullmatch(
            rf"rumpel: An instance named 'sqlite-web' is already running \(QEMU pid {qemu}, since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)\.\n"
            r"Stop it with 'rumpel stop sqlite-web' or choose another name with '--name'\.\n",
            said(done),
        ), done.stderr
        assert done.returncode == 4
        assert query(url, "SELECT 1") == [[1]]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_a_volume_in_use_is_refused_and_nothing_is_lost(own_state: Path) -> None:
    line = rumpel("run", "sqlite-web", "--print-command").stdout
    by_hand = subprocess.Popen(shlex.split(line), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert by_hand.stdout is not None
        assert "web: listening on port 80\n" in iter(by_hand.stdout.readline, "")
        done = rumpel("run", "sqlite-web")
        assert said(done) == (
            f"rumpel: The volume 'data' is in use by another instance: {own_state}/volumes/sqlite-web/data.ext4.\n"
            "Stop that instance ('rumpel ps' lists what runs); nothing was changed.\n"
        )
        assert done.returncode == 4
        assert by_hand.poll() is None
    finally:
        by_hand.kill()
        by_hand.communicate()
    with foreground("sqlite-web") as (process, url):
        assert query(url, "PRAGMA integrity_check") == [["ok"]]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_run_killed_by_sigkill_takes_qemu_along_and_the_next_run_finds_everything() -> None:
    with foreground("sqlite-web") as (process, url):
        qemu = qemu_of("sqlite-web")
        query(url, "CREATE TABLE t(x)")
        query(url, "INSERT INTO t VALUES ('kept')")
        process.kill()
        assert ends(qemu)
    (row,) = json.loads(rumpel("ps", "--all", "--json").stdout)
    assert (row["name"], row["state"]) == ("sqlite-web", "dead")
    with foreground("sqlite-web") as (process, url):
        assert query(url, "SELECT x FROM t") == [["kept"]]
        assert query(url, "PRAGMA integrity_check") == [["ok"]]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
