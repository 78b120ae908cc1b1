"""Measures density: how many machines of a composition run in so much memory, and how long each takes to start.

    rumpel python bench/density.py web --kernel nano --budget 4G --output density.json
    rumpel python bench/density.py web --kernel debian --budget 4G --how boot

`copy` (the default) starts them from a pool (`rumpel.pool`), `boot` boots each. Machines are started one after the
other, each is asked for `/` once, until together they have the budget; then all are asked again. Memory is the
proportional set size of all QEMUs (proc_pid_smaps(5): a page that n processes map counts an nth for each), with the
whole of the pool's shared memory where there is one, mapped or not. Start is from the start of QEMU until the machine
is ready, `first` the time of its first answer after that, in seconds of the wall clock.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

import rumpel
from rumpel.harness.start import mebibytes
from rumpel.machine.emulator import find_qemu
from rumpel.machine.recording import qemu_version

MIB = 1 << 20
LOOK_EVERY = 10  # machines
MOST = 2000


class Memory(msgspec.Struct, frozen=True):
    """Bytes of all QEMUs: resident, proportional, and of that anonymous (their own), of files, of shared memory."""

    resident: int
    proportional: int
    own: int
    files: int
    shared: int


class Report(msgspec.Struct, frozen=True):
    """What is written. `load` is the host's before and after; `original` the pool's shared memory, `total` what counts
    against the budget, `each` that for one machine, bytes. `start`, `first`, `cpu`: percentiles by number, seconds."""

    qemu: str
    host: str
    cpus: int
    load: tuple[float, float]
    composition: str
    how: str
    budget: int
    machines: int
    memory: Memory
    original: int
    total: int
    each: int
    start: dict[str, float]
    first: dict[str, float]
    cpu: dict[str, float]


def memory_of(pids: list[int]) -> Memory:
    sums: dict[str, int] = {}
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        for name, value in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE):
            sums[name] = sums.get(name, 0) + int(value) * 1024
    return Memory(sums["Rss"], sums["Pss"], sums["Pss_Anon"], sums["Pss_File"], sums["Pss_Shmem"])


def total_of(memory: Memory, original: int) -> int:
    return memory.proportional - memory.shared + max(memory.shared, original)


def percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    named = {"min": min(values), "50": cuts[49], "90": cuts[89], "99": cuts[98], "max": max(values)}
    return {name: round(value, 4) for name, value in named.items()}


@contextlib.contextmanager
def machines(how: str, composition: str, kernel: str) -> Iterator[tuple[Iterator[rumpel.Vm], rumpel.WarmPool | None]]:
    if how == "boot":
        yield (rumpel.boot(composition, kernel=kernel, accel="tcg") for _ in range(MOST)), None
        return
    with rumpel.pool(composition, size=1, kernel=kernel, accel="tcg") as pool:

        def taken() -> Iterator[rumpel.Vm]:
            for _ in range(MOST):
                pool.wait_warm()
                yield pool.take()

        yield taken(), pool


def measure(how: str, composition: str, kernel: str, budget: int) -> Report:
    load = os.getloadavg()[0]
    start, first, cpu = [], [], []
    with machines(how, composition, kernel) as (source, pool), contextlib.ExitStack() as running:
        vms: list[rumpel.Vm] = []
        for vm in source:
            vms.append(running.enter_context(vm))
            begun = time.monotonic()
            assert vm.http().get("/").status_code == 200
            first.append(time.monotonic() - begun)
            stats = vm.stats()
            start.append(stats.marks["ready"])
            cpu.append(stats.cpu)
            if len(vms) % LOOK_EVERY:
                continue
            memory = memory_of([each.instance.pid for each in vms])
            original = pool.shared if pool is not None else 0
            print(f"{len(vms)} machines: {total_of(memory, original) // MIB} MiB", file=sys.stderr)
            if total_of(memory, original) * (len(vms) + LOOK_EVERY) / len(vms) > budget:
                break
        for vm in vms:
            assert vm.http().get("/").status_code == 200
        memory = memory_of([each.instance.pid for each in vms])
        total = total_of(memory, original)
    return Report(
        qemu_version(find_qemu("")), platform.platform(), os.cpu_count() or 1, (load, os.getloadavg()[0]),
        f"{composition} ({kernel})", how, budget, len(vms), memory, original, total, total // len(vms),
        percentiles(start), percentiles(first), percentiles(cpu),
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("composition")
    parser.add_argument("--kernel", default="nano")
    parser.add_argument("--budget", default="4G", help="memory of all machines together (4G)")
    parser.add_argument("--how", choices=("copy", "boot"), default="copy")
    parser.add_argument("--output", type=Path, help="where the JSON goes; else to standard output")
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = measure(asked.how, asked.composition, asked.kernel, mebibytes(asked.budget) * MIB)
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if asked.output is None:
        sys.stdout.buffer.write(encoded)
    else:
        asked.output.write_bytes(encoded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
