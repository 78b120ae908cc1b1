"""`rumpel debug`, with a real GDB: symbols of kernel and program wherever they are, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pytest

from rumpel.debug.session import find_gdb
from rumpel.errors import HostError

pytestmark = [pytest.mark.boot]

ROOT = Path(__file__).resolve().parents[2]
# What is asked where the program begins.
INTO = ("-nx", "-batch", "-ex", "bt", "-ex", "info source")
MAIN = r"main \(argc=3, argv=0x[0-9a-f]+\) at "  # the composition's own arguments are two
# A function of the kernel that ends the program, and how a backtrace shows it, with lines where the kernel has them.
IN_KERNEL = {
    "nano": ("hal_exit", r"program_exit \(.*\) at .*kernels/nano/src/program\.c:\d+"),
    "linux": ("do_exit", r"do_exit \(\)"),
    "debian": ("do_exit", r"do_exit \(\)"),
}


def debug(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rumpel", "--project", str(ROOT), "debug", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def put_before_qemu(monkeypatch: pytest.MonkeyPatch, folder: Path, line: str) -> None:
    """From now on, whenever a QEMU for a GDB is started the shell first runs `line`."""
    qemu = shutil.which("qemu-system-x86_64")
    first = folder / "qemu-system-x86_64"
    first.write_text(f'#!/bin/sh\ncase " $* " in *" -gdb "*) {line} ;; esac\nexec {qemu} "$@"\n')
    first.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("RUMPEL_QEMU", "system")


def test_gdb_waits_for_a_qemu_that_is_slow_to_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_before_qemu(monkeypatch, tmp_path, "sleep 2")
    done = debug("hello", "--kernel", "nano", "--", *INTO)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^#0 .*{MAIN}", done.stdout, re.MULTILINE), done.stdout


def test_a_qemu_that_cannot_begin_is_an_error_before_gdb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_before_qemu(monkeypatch, tmp_path, "echo 'no such thing' >&2; exit 1")
    done = debug("hello", "--kernel", "nano", "--", "-nx", "-batch", "-ex", "echo GDB\\n")
    assert done.returncode == 5
    assert done.stdout == ""
    assert "rumpel: QEMU ended at once with status 1.\n" in done.stderr
    assert "no such thing" in done.stderr


@pytest.mark.parametrize("kernel", ["nano", "linux", "debian"])
def test_gdb_stops_in_the_programs_main_and_in_the_kernel_by_their_names(kernel: str, tmp_path: Path) -> None:
    function, frame = IN_KERNEL[kernel]
    log = tmp_path / "gdb.log"  # on standard output the guest's words may come in the middle of GDB's
    done = debug(
        "hello", "--kernel", kernel, "--", *INTO, "-ex", f"set logging file {log}", "-ex", "set logging enabled on",
        "-ex", f"break {function}", "-ex", "continue", "-ex", "bt 3", "-ex", "delete", "-ex", "continue",
    )  # fmt: skip
    said = done.stdout
    assert re.search(r"rumpel: The program 'hello' is at 0x[0-9a-f]{9,12}000\.", said), said + done.stderr
    assert re.search(rf"^#0 .*{MAIN}.*components/hello/hello\.c:\d+$", said, re.MULTILINE), said
    assert f"Located in {ROOT}/components/hello/hello.c" in said
    logged = log.read_text()
    assert re.search(rf"^Breakpoint \d, .*{function} \(.*\)", logged, re.MULTILINE), logged
    assert re.search(frame, logged), logged
    assert "Hello from Rumpel." in said
    assert "The program ended with status 0." in done.stderr


def test_gdb_prints_arguments_locals_and_structs_of_the_kernel_and_the_program(tmp_path: Path) -> None:
    log = tmp_path / "gdb.log"
    done = debug(
        "hello", "--kernel", "nano", "--argument=--status", "--argument=3", "--", "-nx", "-batch",
        "-ex", f"set logging file {log}", "-ex", "set logging enabled on",
        "-ex", "print argv[2]", "-ex", "break parse_status", "-ex", "continue", "-ex", "finish", "-ex", "next",
        "-ex", "info locals", "-ex", "break program_exit", "-ex", "continue",
        "-ex", "print process.hostname", "-ex", "ptype struct process", "-ex", "print process.threads",
    )  # fmt: skip
    said = log.read_text()
    assert re.search(r'^\$1 = 0x[0-9a-f]+ "3"$', said, re.MULTILINE), said + done.stderr
    assert re.search(r"^i = 1\nstatus = \d$", said, re.MULTILINE), said
    assert "program_exit (status=3) at " in said
    assert '$2 = "hello"' in said
    assert re.search(r"^type = struct process \{$", said, re.MULTILINE), said
    assert "$3 = 1\n" in said


def test_a_breakpoint_set_before_the_kernel_runs_is_met_in_the_program() -> None:
    done = debug(
        "hello", "--kernel", "nano", "--machine", "q35", "--stop-at", "reset", "--argument=--status", "--argument=3",
        "--", "-nx", "-batch", "-ex", "break kernel_main", "-ex", "break components/hello/hello.c:main",
        "-ex", "continue", "-ex", "continue", "-ex", "continue",
    )  # fmt: skip
    assert re.search(r"^Breakpoint 1, kernel_main \(\) at .*main\.c:\d+", done.stdout, re.MULTILINE), done.stdout
    assert re.search(rf"^Breakpoint 2, {MAIN}components/hello", done.stdout, re.MULTILINE), done.stdout
    assert "The program ended with status 3." in done.stderr


def test_both_commands_can_be_pasted(tmp_path: Path) -> None:
    done = debug("hello", "--kernel", "nano", "--print-command", "--", "-nx", "-batch", "-ex", "bt", "-ex", "continue")
    machine, gdb = done.stdout.splitlines()
    with (tmp_path / "console").open("wb") as console:
        running = subprocess.Popen(["sh", "-c", machine], stdin=subprocess.DEVNULL, stdout=console)
        try:
            socket = re.search(r"path=(\S*gdb\.sock)", machine)
            assert socket is not None
            deadline = time.monotonic() + 60
            while not Path(socket[1]).exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            seen = subprocess.run(["sh", "-c", gdb], capture_output=True, text=True, timeout=120, check=False)
            assert running.wait(60) == 1
        finally:
            running.kill()
            running.wait()
    assert re.search(rf"{MAIN}components/hello/hello\.c", seen.stdout), seen.stdout
    assert b"Hello from Rumpel." in (tmp_path / "console").read_bytes()


def test_the_machine_ends_with_gdb_and_interrupting_stops_the_guest_only() -> None:
    words = ["debug", "web", "--kernel", "nano", "--", "-nx", "-q"]
    child = pexpect.spawn(
        sys.executable, ["-m", "rumpel", "--project", str(ROOT), *words], encoding="utf-8", timeout=120,
        env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    try:
        child.expect(r"main \(.*\) at .*components/web/")
        child.expect_exact("(gdb) ")
        child.sendline("continue")
        child.expect("listening on port 80")
        child.sendintr()
        child.expect(r"received signal SIGINT")
        child.expect_exact("(gdb) ")
        qemu = _child_named("qemu-system", child.pid)
        child.sendline("quit")
        child.expect(pexpect.EOF)
        child.wait()
    finally:
        child.close(force=True)
    assert child.exitstatus == 0
    assert not Path(f"/proc/{qemu}").exists()


def test_a_signal_ends_gdb_and_the_machine() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "rumpel", "--project", str(ROOT), "debug", "hello", "--kernel", "nano", "--",
         "-nx", "-q", "-ex", "python import time; print('waiting', flush=True); time.sleep(600)"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert any("waiting" in line for line in process.stdout)
        qemu, gdb = _child_named("qemu-system", process.pid), _child_named("gdb", process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
    assert not any(Path(f"/proc/{pid}").exists() for pid in (qemu, gdb))


def test_without_gdb_nothing_is_started_and_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        find_gdb()
    assert str(caught.value) == (
        "GDB is not installed: there is no program 'gdb'.\n"
        "Install it, as root: apt-get install --no-install-recommends gdb"
    )


def _child_named(name: str, parent: int) -> int:
    """The pid of a descendant of `parent` whose program's name begins with `name`."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = status.read_text().partition(" (")
        except OSError:
            continue
        program, _, fields = rest.rpartition(") ")
        if program.startswith(name) and int(fields.split()[1]) == parent:
            return int(pid)
    raise AssertionError(f"no {name} below {parent}")
