"""QEMU lives exactly as long as its owner, and an owner's death leaves nothing in the way of the next."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.boot.conftest import Boot, PlanFactory

from rumpel.errors import HostError, InstanceError, MachineError
from rumpel.machine import process as starting
from rumpel.machine.detached import Job, start_detached
from rumpel.machine.emulator import find_qemu
from rumpel.machine.guard import NOT_STARTED, OWNER_GONE, guard_file, guard_program
from rumpel.machine.instance import Image, Options, launch
from rumpel.machine.process import Process, start_time_of
from rumpel.machine.registry import find_instance, stop_instance
from rumpel.resolve.plan import Plan, Ready

pytestmark = pytest.mark.boot

TCG = Options(accelerator="tcg")
Owner = Callable[[Plan], tuple["subprocess.Popen[bytes]", int]]


@pytest.fixture
def owner(floor: Image) -> Iterator[Owner]:
    """Starts a machine in a process of its own; returns that process and QEMU's pid."""
    owners: list[subprocess.Popen[bytes]] = []

    def owner(plan: Plan) -> tuple[subprocess.Popen[bytes], int]:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("owner.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        )  # fmt: skip
        owners.append(process)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(Job(plan=plan, image=floor, options=TCG)))
        process.stdin.close()
        return process, int(process.stdout.readline())

    yield owner
    for process in owners:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def ends(pid: int, seconds: float = 20) -> bool:
    """Whether the process ends in time. Works for one that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV])
def test_qemu_dies_with_its_owner_whatever_kills_it(owner: Owner, plan_of: PlanFactory, number: int) -> None:
    process, qemu = owner(plan_of("deaf"))
    assert start_time_of(qemu) > 0
    process.send_signal(number)
    assert ends(qemu)


def test_name_of_a_killed_owner_is_free_and_its_console_is_kept(owner: Owner, plan_of: PlanFactory, boot: Boot) -> None:
    process, qemu = owner(plan_of("deaf"))
    process.kill()
    assert ends(qemu)
    process.wait()
    assert find_instance("floor").state == "dead"
    instance = boot(plan_of("stop"))
    instance.wait_ready()
    assert (instance.directory / "console.log.1").read_bytes() == b"READY\n"


def test_qemu_does_not_start_for_an_owner_that_is_gone(tmp_path: Path) -> None:
    """The owner may die between the fork and the signal being set: then the child ends by itself."""
    from rumpel.machine.process import _GUARD

    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _GUARD, "1", "touch", str(tmp_path / "started")],
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 125
    assert not (tmp_path / "started").exists()


def guarded(tmp_path: Path, owner: int, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Runs `command` behind a guard that takes this process for its owner where `owner` is its number."""
    program = tmp_path / "guard"
    program.write_bytes(guard_program(owner, 77))
    program.chmod(0o755)
    return subprocess.run([str(program), *command], capture_output=True, timeout=30, check=False)


def test_guard_becomes_the_program_with_its_arguments_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_OWNER", "kept")
    done = guarded(tmp_path, os.getpid(), "/bin/sh", "-c", 'echo "$0 $1 $OF_THE_OWNER"; exit 3', "first", "")
    assert (done.returncode, done.stdout) == (3, b"first  kept\n")


def test_guard_asks_for_the_owners_end_and_closes_its_own_file(tmp_path: Path) -> None:
    look = (
        "import ctypes, os; number = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(number)); "
        "print(number.value, os.path.exists('/proc/self/fd/77'))"
    )
    with open("/dev/null") as other:  # noqa: PTH123
        os.dup2(other.fileno(), 77, inheritable=True)
    try:
        program = tmp_path / "guard"
        program.write_bytes(guard_program(os.getpid(), 77))
        program.chmod(0o755)
        command = [str(program), sys.executable, "-c", look]
        done = subprocess.run(command, capture_output=True, pass_fds=(77,), timeout=30, check=False)
    finally:
        os.close(77)
    assert done.stdout == f"{int(signal.SIGKILL)} False\n".encode()


def test_guard_does_not_start_for_an_owner_that_is_gone(tmp_path: Path) -> None:
    done = guarded(tmp_path, 1, "/usr/bin/touch", str(tmp_path / "started"))
    assert (done.returncode, done.stdout, done.stderr) == (OWNER_GONE, b"", b"")
    assert not (tmp_path / "started").exists()


def test_guard_says_which_program_could_not_be_started_and_why(tmp_path: Path) -> None:
    done = guarded(tmp_path, os.getpid(), "/no/such/program", "and", "its arguments")
    said = f"QEMU could not be started, error {errno.ENOENT}: /no/such/program\n"
    assert (done.returncode, done.stderr) == (NOT_STARTED, said.encode())
    said = f"QEMU could not be started, error {errno.EACCES}: {tmp_path}\n"
    assert guarded(tmp_path, os.getpid(), str(tmp_path)).stderr == said.encode()


def test_guard_in_memory_can_be_run() -> None:
    descriptor = guard_file(os.getpid())
    assert descriptor is not None
    try:
        command = [f"/proc/self/fd/{descriptor}", "/bin/sh", "-c", "exit 3"]
        assert subprocess.run(command, pass_fds=(descriptor,), timeout=30, check=False).returncode == 3
    finally:
        os.close(descriptor)


def test_guard_that_cannot_be_written_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, mode: int) -> None:
        raise OSError(errno.EPERM, "refused")

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "fchmod", refuse)
    assert guard_file(os.getpid()) is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_machines_are_started_behind_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_current", [])
    monkeypatch.setenv("PATH", "")  # no setpriv, no shell
    process = Process(["/bin/sh", "-c", "exit 3"], descriptors=(), stderr=tmp_path / "stderr")
    assert process.reap() == 3


def unexecutable_guard(owner: int) -> int:
    """As where memory may not be executed."""
    descriptor = guard_file(owner)
    assert descriptor is not None
    os.fchmod(descriptor, 0)
    return descriptor


def test_a_guard_that_may_not_be_executed_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_current", [])
    monkeypatch.setattr(starting, "guard_file", lambda owner: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HostError, match="The program 'setpriv'"):
        Process(["/bin/sh", "-c", "exit 3"], descriptors=(), stderr=tmp_path / "stderr")
    monkeypatch.undo()
    monkeypatch.setattr(starting, "_current", [])
    monkeypatch.setattr(starting, "guard_file", unexecutable_guard)
    process = Process(["/bin/sh", "-c", "exit 3"], descriptors=(), stderr=tmp_path / "stderr")
    assert process.reap() == 3


def test_a_process_that_cannot_be_started_is_an_error_and_the_guard_stays(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"The process of '/bin/sh' could not be started: Argument list too long\."):
        Process(["/bin/sh", "-c", "x" * (1 << 18)], descriptors=(), stderr=tmp_path / "stderr")
    assert starting._current[0]._guard is not None


def test_without_a_guard_machines_die_with_their_owner_all_the_same(
    plan_of: PlanFactory, boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_current", [])
    monkeypatch.setattr(starting, "guard_file", lambda owner: None)
    instance = boot(plan_of("deaf"))
    instance.wait_ready()
    assert os.getpgid(instance.pid) == instance.pid
    fields = Path(f"/proc/{instance.pid}/cmdline").read_bytes().split(b"\0")
    assert Path(fields[0].decode()).name == "qemu-system-x86_64"


def test_process_reports_what_it_used(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "exit 3"], descriptors=(), stderr=tmp_path / "stderr")
    assert process.reap() == 3
    assert process.usage().resident > 0


def test_detached_machine_goes_on_after_the_command_and_stops_by_name(plan_of: PlanFactory, floor: Image) -> None:
    seen = start_detached(plan_of("stop", "status=4", net=True), floor, TCG)
    try:
        assert seen.state == "ready"
        assert seen.record.urls["http"].startswith("http://127.0.0.1:")
        assert os.getsid(seen.record.owner) == seen.record.owner != os.getsid(0)
        with pytest.raises(InstanceError):
            launch(plan_of("stop"), floor, TCG)
    finally:
        assert stop_instance("floor", timeout=30) == "asked"
    assert find_instance("floor").state == "ended"
    assert find_instance("floor").record.status == 4
    assert ends(seen.record.owner)
    assert ends(seen.record.qemu)


def test_detached_machine_ends_in_order_when_its_owner_is_told_to(plan_of: PlanFactory, floor: Image) -> None:
    seen = start_detached(plan_of("stop", "status=4"), floor, TCG)
    os.kill(seen.record.owner, signal.SIGTERM)
    assert ends(seen.record.owner)
    assert find_instance("floor").record.status == 4


@pytest.mark.parametrize("by_setting", [False, True])
def test_detached_machine_runs_on_the_program_that_a_relative_path_names(
    plan_of: PlanFactory, floor: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_setting: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").symlink_to(find_qemu("system"))
    options = Options(accelerator="tcg", qemu="" if by_setting else "./mine")
    if by_setting:
        monkeypatch.setenv("RUMPEL_QEMU", "./mine")
    seen = start_detached(plan_of("stop"), floor, options)
    try:
        assert Path(f"/proc/{seen.record.qemu}/cmdline").read_bytes().split(b"\0")[0] == bytes(tmp_path / "mine")
    finally:
        stop_instance("floor", timeout=30)


def test_detached_failure_comes_back_as_it_was(plan_of: PlanFactory, floor: Image) -> None:
    with pytest.raises(MachineError) as caught:
        start_detached(plan_of("fail", ready=Ready(kind="console", console="never")), floor, TCG)
    assert caught.value.message == "The guest could not run the program: there is no program at '/bin/none'."
    assert caught.value.evidence.console == "READY"
    assert caught.value.evidence.qemu_status == 1
    with pytest.raises(HostError) as host:
        start_detached(plan_of(), floor, Options(accelerator="tcg", qemu="qemu-system-none"))
    assert host.value.message == "'qemu-system-none' was asked for as QEMU, but there is no such program."


def test_stop_by_name_passes_over_an_owner_that_hangs(plan_of: PlanFactory, floor: Image) -> None:
    seen = start_detached(plan_of("deaf"), floor, TCG)
    os.kill(seen.record.owner, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert stop_instance("floor", timeout=0.1, grace=0.5) == "killed"
        assert time.monotonic() - begun < 60
        assert ends(seen.record.qemu)
    finally:
        os.kill(seen.record.owner, signal.SIGCONT)
    assert ends(seen.record.owner)


def test_detached_machine_is_kept_where_a_relative_folder_of_this_command_means(
    plan_of: PlanFactory, floor: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUMPEL_STATE", "a state")
    seen = start_detached(plan_of("stop", "status=4"), floor, TCG)
    assert seen.directory.parent == tmp_path / "a state/instances"
    assert stop_instance(seen.record.name) == "asked"


def test_detached_machine_that_this_computer_refuses_is_told_in_a_sentence(
    plan_of: PlanFactory, floor: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RUMPEL_STATE", str(tmp_path / "file/state"))
    with pytest.raises(HostError, match=r"The machine could not be started: '.*/file/state/instances/.*': Not a dir"):
        start_detached(plan_of("stop", "status=4"), floor, TCG)
