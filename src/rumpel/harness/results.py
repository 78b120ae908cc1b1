"""What a test leaves of its machines: files to look at, and the text of its failure."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import Evidence, MachineError, printable
from rumpel.harness.pool import Lease
from rumpel.harness.vm import Vm
from rumpel.machine.failure import last_lines

_LOGS = ("console.log", "qmp.log", "qemu.log")
_TAIL = 60  # lines
_LONGEST_NAME = 120
_END = 5.0  # seconds


@dataclass(frozen=True)
class Result:
    """One machine of a test: its name, the folder with its files, the text for a person. `command` is what it was
    started with, as its errors tell it; `end` is one sentence about a crash, else empty."""

    name: str
    folder: Path
    text: str
    command: str
    end: str


def folder_for(test: str, home: Path) -> Path:
    """A folder below `home` for the test with pytest's id `test`; the same id gives the same folder."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", test).strip("-.")
    return home / words[-_LONGEST_NAME:].lstrip("-.")


def write_result(lease: Lease, folder: Path, name: str) -> Result:
    """Write a machine's logs, its command line and, where it crashed, the report into `folder`, in place of an older
    run's; `name` tells it from the test's others. The command line can be pasted: what it names is kept beside it."""
    vm = lease.vm
    if vm.exit_status is not None:  # QEMU is about to end, and says how
        vm.instance.running.wait_end(_END)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for log in (vm.folder / each for each in _LOGS):
        if log.exists():
            shutil.copyfile(log, folder / log.name)
    kept = str(folder.absolute())
    command = vm.instance.command.replace(str(vm.folder), kept)
    (folder / "command.sh").write_text(f"#!/bin/sh\nexec {command}\n")
    (folder / "command.sh").chmod(0o755)
    settings = vm.folder / "settings"
    if settings.exists():
        shutil.copy2(settings, folder / "settings")
    if (vm.folder / "volumes").is_dir():  # as they were at the first boot; sparse, as they are
        subprocess.run(["cp", "-r", "--sparse=always", str(vm.folder / "volumes"), str(folder)], check=False)
    crash = crash_report(vm)
    if crash:
        (folder / "crash.txt").write_text(crash.replace(str(vm.folder), kept))
    return Result(name, folder, _text(lease, folder, command), vm.instance.command, crash.partition("\n")[0])


def keep_recording(vm: Vm, folder: Path) -> None:
    """End a recorded machine, and put its recording into `folder`, which holds the rest of what is kept of it."""
    recording = vm.recording
    vm.end()
    if recording is None or not recording.is_dir():
        return
    target = folder / recording.name
    shutil.rmtree(target, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        recording.rename(target)
    except OSError:  # on another file system
        subprocess.run(["cp", "-r", "--sparse=always", str(recording), str(target)], check=False)


def crash_report(vm: Vm) -> str:
    """How the machine came to its end, where that was not its program's; else empty."""
    report = vm.instance.running.report
    if not (vm.ended or report.failure or report.panic):
        return ""
    try:
        vm.watch()
    except MachineError as error:
        if vm.exit_status is not None:
            return ""
        return f"{error}\n{_statuses(error.evidence)}\n"
    return ""


def _statuses(evidence: Evidence) -> str:
    guest = "none" if evidence.guest_status is None else str(evidence.guest_status)
    qemu = "it still runs" if evidence.qemu_status is None else str(evidence.qemu_status)
    return f"QEMU's exit status: {qemu}\nThe program's exit status: {guest}"


def _text(lease: Lease, folder: Path, command: str) -> str:
    """What the section of a failed test says: all that the error of a machine would, each once, and its files."""
    instance = lease.vm.instance
    evidence = instance.failed("").evidence
    lines = instance.console.text(lease.began).splitlines()
    shown = last_lines(lines, _TAIL)
    left_out = f" (its last {len(shown)} lines of {len(lines)})" if len(shown) < len(lines) else ""
    console = printable(instance.with_names("\n".join(shown))).splitlines()
    said = printable(evidence.stderr).strip()
    parts = [f"The console during this test{left_out}:", *(f"    {line}" for line in console or ["(nothing)"])]
    if said:
        parts += ["QEMU said:", *(f"    {line}" for line in said.splitlines()[-20:])]
    parts += [_statuses(evidence)]
    if lease.vm.recording is not None:
        parts += ["To run it again, the same in every instruction, also in GDB (--debug), once the test is over:"]
        parts += [f"    rumpel replay {shlex.quote(str(folder / lease.vm.recording.name))}"]
    parts += [f"Files: {folder}", "To start it by hand:", f"    {command}"]
    return "\n".join(parts)
