"""What the end of a machine means, in words, and the evidence that goes with it."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from rumpel.errors import Evidence
from rumpel.machine.console import Console
from rumpel.machine.running import Running
from rumpel.machine.symbols import with_names

# What Linux writes at a panic: kernel/panic.c.
_PANIC = re.compile(r"Kernel panic - not syncing: (.*\S)")
# Where a report begins: of Linux's panic, of nano's crash or its program's.
_REPORT = re.compile(_PANIC.pattern + r"|^The kernel (?:crashed|stops)\. |^The program's registers:$")
# A report (registers, the modules, a call trace) has 30 to 80 lines.
_REPORT_LINES = 120
_LINES = 30
_RESET = "it reset or switched off the machine, as a kernel does after a panic"
_REASONS = {
    "guest-reset": "it reset the machine, as a kernel does after a panic or a triple fault",
    "guest-panic": "its kernel reported a panic",
    "guest-shutdown": "it switched the machine off without saying how its program fared",
}


def end_message(running: Running) -> str:
    """One sentence for an end at which the program's exit status was not reported."""
    report, status = running.report, running.process.status
    if report.failure:
        return f"The guest could not run the program: {report.failure.rstrip('.')}."
    if report.panic:
        return f"The guest's kernel panicked: {report.panic.rstrip('.')}."
    if status is not None and status < 0:
        return f"QEMU was ended by signal {-status} ({_signal_name(-status)})."
    reason = next((str(event.data.get("reason")) for event in running.events if event.name == "SHUTDOWN"), "")
    # Before the next question: QEMU also says on its standard error that it was told, maybe before the guest ran.
    if reason == "host-signal":
        return "QEMU was told to end by a signal from outside."
    if running.stderr().strip() and not _guest_ran(running):
        return f"QEMU ended at once with status {status}."
    panic = _PANIC.findall(running.console.tail(400))
    if panic:
        return f"The guest's kernel panicked: {panic[-1].rstrip('.')}."
    if status is not None and status % 2:  # the exit port was written: QEMU's status is twice the value and one
        return "The guest ended the machine without saying how its program fared."
    return f"The guest crashed: {_REASONS.get(reason, _RESET)}."


def console_end(console: Console) -> str:
    """The console's last lines; where the kernel panicked or nano reported a crash, the whole report."""
    return "\n".join(last_lines(console.tail(_REPORT_LINES).splitlines(), _LINES))


def last_lines(lines: Sequence[str], count: int) -> Sequence[str]:
    """The last `count` of a console's lines; more where a report of a crash among them begins earlier."""
    recent = lines[-max(_REPORT_LINES, count) :]
    first = max(0, len(recent) - count)
    begin = next((number for number, line in enumerate(recent) if _REPORT.search(line)), first)
    return recent[min(begin, first) :]


def evidence_of(running: Running, command: str, directory: Path, debug: Path) -> Evidence:
    """`directory` is the instance's; `debug` holds the image's programs with their symbols."""
    files = tuple(path for name in ("console.log", "qemu.log", "qmp.log") if (path := directory / name).exists())
    return Evidence(
        console=with_names(console_end(running.console), debug), stderr=running.stderr()[-4000:], command=command,
        qemu_status=running.process.status, guest_status=running.report.status, files=files,
    )  # fmt: skip


def hint_for(evidence: Evidence) -> str:
    console = next((path for path in evidence.files if path.name == "console.log"), None)
    return f"The whole console is in {console}." if console is not None else ""


def _guest_ran(running: Running) -> bool:
    return "console" in running.marks or running.report.started


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
