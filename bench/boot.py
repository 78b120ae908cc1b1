"""Measures starts: from the start of QEMU to a console line and to readiness, CPU time, memory, image sizes.

    rumpel python bench/boot.py floor build/web/debian-microvm build/web/linux-microvm -n 10 --output boot.json
    rumpel python bench/boot.py --line 'READY' --command 'qemu-system-x86_64 ... -chardev stdio,id=c ...'

A subject is the folder of a built image, the word `floor` (the guest in bench/floor: what QEMU itself costs), or a
whole command line (`--command`, may be repeated) whose standard output is the console. Subjects are alternated, one
run each in turn, so that what disturbs the machine disturbs all alike. The figures are medians; `ratio` compares each
subject with the first. Times are in seconds of the wall clock since the start of QEMU, CPU times in seconds of QEMU's
user and system time, memory in bytes.
"""

from __future__ import annotations

import argparse
import os
import platform
import selectors
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent / "floor"))
from build import build_floor  # the script beside it; bench is no package
from rumpel.build.manifest import load_manifest
from rumpel.machine.emulator import find_qemu
from rumpel.machine.instance import Image, Options, image_of, launch
from rumpel.machine.process import usage_of
from rumpel.machine.recording import qemu_version
from rumpel.resolve.plan import PLAN_SCHEMA, Kernel, Machine, Plan, Ready, Settings

ROOT = Path(__file__).parent.parent
QUIET_IDLE = 0.9


class Run(msgspec.Struct, frozen=True):
    """One start. `marks`: seconds to `console` (first byte), `start`, `line`, `ready`, `end`, as far as it came;
    `cpu` and `resident` when it was ready, `cpu_line` at the line (0: none was asked for), `cpu_end` after its end."""

    marks: dict[str, float]
    cpu: float
    cpu_end: float
    resident: int
    cpu_line: float = 0.0


class Figures(msgspec.Struct, frozen=True):
    """A subject's files in bytes, its runs, their medians by name, and these over the first subject's."""

    name: str
    sizes: dict[str, int]
    runs: list[Run]
    median: dict[str, float]
    ratio: dict[str, float]


class Report(msgspec.Struct, frozen=True):
    """What is written. `idle` is the share of the processors that was idle just before (1: all)."""

    qemu: str
    host: str
    cpus: int
    idle: float
    runs: int
    subjects: list[Figures]


@dataclass(frozen=True)
class Subject:
    """Something to start: `once` starts it, waits until it is ready, ends it."""

    name: str
    sizes: dict[str, int]
    once: Callable[[], Run]


def image_subject(folder: Path, line: str, options: Options) -> Subject:
    """A built image; its readiness is what its plan declares."""
    manifest = load_manifest(folder / "manifest.json")
    plan = Plan.from_json((folder / manifest.plan.path).read_bytes())
    image = image_of(manifest, folder, ROOT)
    sizes = {"kernel": manifest.kernel.size, "rootfs": manifest.rootfs.size}
    return Subject(f"{folder.parent.name}/{folder.name}", sizes, lambda: once(plan, image, line, options))


def floor_subject(folder: Path, options: Options) -> Subject:
    """QEMU's own cost: a guest that says READY and leaves."""
    kernel = build_floor(folder / "floor")
    plan = Plan(
        schema=PLAN_SCHEMA, composition="floor", summary="", drivers=(), devices=(), components=(), ports=(),
        machine=Machine(
            name="microvm", qemu_machine="microvm", qemu_options=(("acpi", "off"), ("isa-serial", "off")), memory=16
        ),
        kernel=Kernel(name="floor", recipe="nano", directory="bench/floor", summary="", command_line=("stop",)),
        settings=Settings(), ready=Ready(kind="console", console="^READY$"), volumes=(), sources=(), reasons=(),
        capabilities=(),
    )  # fmt: skip
    image = Image(kernel=str(kernel))
    return Subject("floor", {"kernel": kernel.stat().st_size}, lambda: once(plan, image, "^READY$", options))


def once(plan: Plan, image: Image, line: str, options: Options) -> Run:
    """One start of an image, in an instance of its own."""
    unique = msgspec.structs.replace(options, name=f"bench-{os.getpid()}")
    cpu_line = 0.0
    with launch(plan, image, unique) as instance:
        if line:
            instance.wait_for_console(line, 120)
            instance.mark("line")
            cpu_line = instance.stats().cpu
        instance.wait_ready()
        ready = instance.stats()
        instance.stop()
        ended = instance.stats()
    return Run(dict(ended.marks), ready.cpu, ended.cpu, ready.resident, cpu_line)


def command_subject(command: str, line: str) -> Subject:
    """A whole command line: ready when its standard output holds `line`; without one, when it has ended."""
    words = shlex.split(command)
    name = next((Path(words[at + 1]).name for at, word in enumerate(words[:-1]) if word == "-kernel"), words[0])
    return Subject(f"command {name}", {}, lambda: once_command(words, line))


def once_command(words: Sequence[str], line: str) -> Run:
    """One start of a command."""
    import re

    wanted = re.compile(line.encode(), re.MULTILINE) if line else None
    begun = time.monotonic()
    marks: dict[str, float] = {}
    text = b""
    cpu, resident = 0.0, 0
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while "line" not in marks and selector.select(max(0.0, begun + 120 - time.monotonic())):
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            marks.setdefault("console", time.monotonic() - begun)
            text += data
            if wanted is not None and wanted.search(text):
                marks["line"] = marks["ready"] = time.monotonic() - begun
                now = usage_of(process.pid)
                cpu, resident = now.cpu, now.resident
    if wanted is not None and "line" not in marks:
        process.kill()
        process.wait()
        raise SystemExit(f"'{line}' did not come; the output ended with:\n{text[-2000:].decode(errors='replace')}")
    if wanted is not None:
        process.kill()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    process.stdout.close()
    marks["end"] = time.monotonic() - begun
    total = used.ru_utime + used.ru_stime
    return Run(marks, cpu or total, total, resident or used.ru_maxrss * 1024)


def idle_share(seconds: float = 1.0) -> float:
    """The share of all processors' time that was idle during `seconds` (proc(5), /proc/stat)."""

    def times() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return fields[3] + fields[4], sum(fields)

    idle, total = times()
    time.sleep(seconds)
    more_idle, more_total = times()
    return (more_idle - idle) / max(1, more_total - total)


def figures(subject: Subject, runs: list[Run], first: dict[str, float]) -> Figures:
    names = sorted(set.intersection(*(set(run.marks) for run in runs)))
    median = {name: statistics.median(run.marks[name] for run in runs) for name in names}
    for name in ("cpu", "cpu_line", "cpu_end", "resident"):
        median[name] = statistics.median(getattr(run, name) for run in runs)
    median = {name: round(value, 6) for name, value in median.items()}
    ratio = {name: round(value / first[name], 4) for name, value in median.items() if first.get(name)}
    return Figures(subject.name, subject.sizes, runs, median, ratio)


def measure(subjects: Sequence[Subject], count: int) -> list[Figures]:
    """`count` runs of each subject, alternated, behind one of each that only warms the host's caches."""
    runs: dict[str, list[Run]] = {subject.name: [] for subject in subjects}
    for subject in subjects:
        subject.once()
    for number in range(count):
        for subject in subjects:
            runs[subject.name].append(subject.once())
            print(f"{number + 1}/{count} {subject.name}: {_shown(runs[subject.name][-1])}", file=sys.stderr)
    measured: list[Figures] = []
    for subject in subjects:
        first = measured[0].median if measured else {}
        measured.append(figures(subject, runs[subject.name], first))
    return measured


def _shown(run: Run) -> str:
    times = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in sorted(run.marks.items()))
    return f"{times}; {run.cpu * 1000:.0f} ms of CPU, {run.resident >> 20} MiB"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="the folder of a built image, or 'floor'")
    parser.add_argument("--command", action="append", default=[], help="a command line; its output is the console")
    parser.add_argument("--line", default="", help="a regular expression for a line of the console")
    parser.add_argument("-n", type=int, default=10, help="runs of each subject (10)")
    parser.add_argument("--accel", choices=("tcg", "kvm", "auto"), default="tcg")
    parser.add_argument("--memory", type=int, default=0, help="MiB in place of the plan's")
    parser.add_argument("--noisy", action="store_true", help="measure although the machine is busy")
    parser.add_argument("--output", type=Path, help="where the JSON goes; else to standard output")
    asked = parser.parse_args()
    options = Options(accelerator=asked.accel, memory=asked.memory)
    with tempfile.TemporaryDirectory(prefix="rumpel-bench-") as folder:
        os.environ["RUMPEL_STATE"] = folder
        subjects = [
            floor_subject(Path(folder), options) if name == "floor" else image_subject(Path(name), asked.line, options)
            for name in asked.subjects
        ] + [command_subject(command, asked.line) for command in asked.command]
        if not subjects or asked.n < 1 or len({subject.name for subject in subjects}) < len(subjects):
            parser.error("name at least one subject, each once, and at least one run")
        idle = idle_share()
        if idle < QUIET_IDLE and not asked.noisy:
            print(f"The machine is busy: {idle:.0%} idle. Wait until it is quiet, or add --noisy.", file=sys.stderr)
            return 1
        measured = measure(subjects, asked.n)
    report = Report(
        qemu_version(find_qemu("")), platform.platform(), os.cpu_count() or 1, round(idle, 3), asked.n, measured
    )
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if asked.output is None:
        sys.stdout.buffer.write(encoded)
    else:
        asked.output.write_bytes(encoded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
