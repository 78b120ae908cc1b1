"""Measures resets: machines taken back to a snapshot of theirs, in turn, and asked for `/` after each.

    rumpel python bench/reset.py sqlite-web/debian sqlite-web/linux web/nano -n 20 --output reset.json

A subject is COMPOSITION/KERNEL. Subjects are alternated, one reset each in turn, so that what disturbs the machine
disturbs all alike. `wall` is the whole of `vm.restore`, `cpu` what QEMU used for it, `ours` what this process used,
`first` the time of the first answer after it and `first_cpu` QEMU's for that (it translates the guest's code anew), in
seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import msgspec

import rumpel
from rumpel.machine.emulator import find_qemu
from rumpel.machine.recording import qemu_version


class Reset(msgspec.Struct, frozen=True):
    """One reset, in seconds."""

    wall: float
    cpu: float
    ours: float
    first: float
    first_cpu: float


class Figures(msgspec.Struct, frozen=True):
    """A subject's memory (MiB) and its resets' smallest, median and largest values, by name."""

    name: str
    memory: int
    smallest: dict[str, float]
    median: dict[str, float]
    largest: dict[str, float]


class Report(msgspec.Struct, frozen=True):
    """What is written. `load` is the host's before and after."""

    qemu: str
    host: str
    cpus: int
    load: tuple[float, float]
    resets: int
    subjects: list[Figures]


def once(vm: rumpel.Vm) -> Reset:
    """One reset."""
    cpu, ours, begun = vm.stats().cpu, time.process_time(), time.monotonic()
    vm.restore("ready")
    restored, cpu_restored, ours_restored = time.monotonic(), vm.stats().cpu, time.process_time()
    assert vm.http().get("/").status_code == 200
    answered = time.monotonic()
    return Reset(
        restored - begun, cpu_restored - cpu, ours_restored - ours, answered - restored, vm.stats().cpu - cpu_restored
    )


def figures(name: str, memory: int, resets: list[Reset]) -> Figures:
    columns = {field: sorted(getattr(each, field) for each in resets) for field in Reset.__struct_fields__}
    return Figures(
        name, memory,
        {field: round(values[0], 4) for field, values in columns.items()},
        {field: round(statistics.median(values), 4) for field, values in columns.items()},
        {field: round(values[-1], 4) for field, values in columns.items()},
    )  # fmt: skip


def measure(names: list[str], count: int) -> list[Figures]:
    """`count` resets of each subject, alternated, behind one of each that only warms the host's caches."""
    resets: dict[str, list[Reset]] = {name: [] for name in names}
    with contextlib.ExitStack() as running:
        machines = {}
        for name in names:
            composition, _, kernel = name.partition("/")
            machines[name] = running.enter_context(rumpel.boot(composition, kernel=kernel, accel="tcg"))
            machines[name].snapshot("ready")
            once(machines[name])
        for _ in range(count):
            for name, vm in machines.items():
                resets[name].append(once(vm))
        return [figures(name, vm.plan.machine.memory, resets[name]) for name, vm in machines.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subjects", nargs="+", metavar="COMPOSITION/KERNEL")
    parser.add_argument("-n", type=int, default=20, help="resets of each subject (20)")
    parser.add_argument("--output", type=Path, help="where the JSON goes; else to standard output")
    asked = parser.parse_args()
    if asked.n < 1 or len(set(asked.subjects)) < len(asked.subjects):
        parser.error("name each subject once, and at least one reset")
    load = os.getloadavg()[0]
    measured = measure(asked.subjects, asked.n)
    report = Report(
        qemu_version(find_qemu("")),
        platform.platform(),
        os.cpu_count() or 1,
        (load, os.getloadavg()[0]),
        asked.n,
        measured,
    )
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if asked.output is None:
        sys.stdout.buffer.write(encoded)
    else:
        asked.output.write_bytes(encoded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
