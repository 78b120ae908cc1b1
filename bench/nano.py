"""Measures the kernel `nano` against slim `linux` with the same program, and holds the figures against their bounds.

    rumpel python bench/nano.py                              # everything, ten starts of each, about eight minutes
    rumpel python bench/nano.py --only start --starts 20     # one part
    rumpel python bench/nano.py --connections 100000 --output nano.json

Builds the composition `web` for both kernels and `hello` for nano, then runs the parts; within each, the subjects take
turns, so that what disturbs the machine disturbs all alike. The figures are medians. `floor` is the guest in
`bench/floor`: what QEMU itself costs. It writes JSON, and a table with what each figure may be to standard error; it
ends with 1 where a figure is not met. A busy machine is refused, unless --noisy is given.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent))
import load

import boot  # the scripts beside this one; bench is no package
from rumpel.build.manifest import load_manifest
from rumpel.errors import UsageError
from rumpel.machine.emulator import find_qemu
from rumpel.machine.instance import Image, Instance, Options, image_of, start
from rumpel.machine.recording import qemu_version
from rumpel.resolve.plan import Plan

ROOT = Path(__file__).parent.parent
PARTS = ("start", "size", "memory", "requests", "download", "connections", "build")
LISTENING = "listening on port"
FILE_SIZE = 100_000_000
FILE_MEMORY = 384  # MiB: Linux has the file twice while it unpacks it
MIB = 1 << 20
SMALL = 6  # MiB in which nano serves
PROGRAM_KEEPS = 4 * 4096  # bytes: musl's allocator keeps a page more or less, and gives groups of four back at times


class Figure(msgspec.Struct, frozen=True):
    """One figure: what was measured, what it may be (`bound`, empty for one that is only told), whether it is so."""

    name: str
    value: str
    bound: str = ""
    met: bool = True


class Report(msgspec.Struct, frozen=True):
    """What is written. `idle` is the share of the processors that was idle just before."""

    qemu: str
    host: str
    cpus: int
    idle: float
    figures: list[Figure]
    starts: list[boot.Figures]
    requests: dict[str, list[load.Rate]]
    downloads: dict[str, list[load.Rate]]
    growth: load.Growth | None


@dataclass(frozen=True)
class Built:
    """A built image."""

    name: str
    folder: Path
    plan: Plan
    image: Image

    @property
    def kernel_size(self) -> int:
        return Path(self.image.kernel).stat().st_size


class Bench:
    """One run: the images, and what was found so far."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self.asked = asked
        self.scratch = scratch
        self.figures: list[Figure] = []
        self.starts: list[boot.Figures] = []
        self.requests: dict[str, list[load.Rate]] = {}
        self.downloads: dict[str, list[load.Rate]] = {}
        self.growth: load.Growth | None = None
        self.nano = built("web", "nano")
        self.both = (self.nano, built("web", "linux"))

    def start(self) -> None:
        """Wall time to the server's line and to the first HTTP 200, CPU time, resident memory."""
        options = Options(accelerator="tcg")
        subjects = [boot.floor_subject(self.scratch, options)]
        subjects += [boot.image_subject(each.folder, LISTENING, options) for each in self.both]
        self.starts = boot.measure(subjects, self.asked.starts)
        floor, nano, linux = (each.median for each in self.starts)
        self.ratio("console READY, of slim linux", nano["line"], linux["line"], 1 / 10)
        cpu = nano["cpu_line"] - floor["cpu_line"]
        self.at_most("console READY, CPU above the floor", cpu * 1000, 20, "ms")
        self.ratio("first HTTP 200, of slim linux", nano["ready"], linux["ready"], 1 / 8)
        over = (nano["resident"] - floor["resident"]) / MIB
        self.at_most("QEMU's resident memory above the floor", over, 12, "MiB")
        for each in self.starts:
            median = each.median
            self.tell(
                f"{each.name}: line, first HTTP 200, CPU at the line, resident",
                f"{median['line'] * 1000:.0f} ms, {median['ready'] * 1000:.0f} ms, {median['cpu_line'] * 1000:.0f} ms, "
                f"{median['resident'] / MIB:.1f} MiB",
            )

    def size(self) -> None:
        self.at_most("kernel of hello, stripped", built("hello", "nano").kernel_size / 1000, 130, "KB")
        self.at_most("kernel of web, stripped", self.nano.kernel_size / 1000, 480, "KB")

    def memory(self) -> None:
        """The least memory in which the page comes ten times."""

        def serves(mebibytes: int) -> bool:
            with contextlib.suppress(UsageError), running(self.nano, memory=mebibytes, ready_timeout=20) as instance:
                return load.connections_at_once(instance, "/", 10) == 10
            return False

        self.at_most("memory in which nano serves web", load.smallest_memory(serves, 32), SMALL, "MiB")

    def requests_a_second(self) -> None:
        for _ in range(self.asked.rounds):
            for each in self.both:
                with running(each) as instance:
                    load.requests(instance, "/", 2)
                    rate = load.requests(instance, "/", self.asked.seconds)
                self.requests.setdefault(each.name, []).append(rate)
                said = f"{rate.rate:.0f} requests/s, {rate.cost * 1e6:.0f} us of CPU each"
                print(f"{each.name}: {said}", file=sys.stderr)
        self.compare("requests a second, of slim linux", self.requests, 2.5)

    def download(self) -> None:
        data = random.Random(1).randbytes(FILE_SIZE)
        digest = hashlib.sha256(data).hexdigest()
        large = []
        for each in self.both:
            rootfs = self.scratch / f"{each.name.replace('/', '-')}.cpio"
            rootfs.write_bytes(load.with_file(Path(each.image.rootfs).read_bytes(), "srv/www/large.bin", data))
            image = msgspec.structs.replace(each.image, rootfs=str(rootfs))
            large.append(Built(each.name, each.folder, each.plan, image))
        for _ in range(self.asked.rounds):
            for each in large:
                with running(each, memory=FILE_MEMORY) as instance:
                    rate = load.download(instance, "/large.bin", FILE_SIZE, digest)
                self.downloads.setdefault(each.name, []).append(rate)
                print(
                    f"{each.name}: {rate.rate / 1e6:.1f} MB/s, {rate.cost * 1e9:.1f} ns of CPU a byte", file=sys.stderr
                )
        self.compare("download of 100 MB, rate of slim linux", self.downloads, 1.0)

    def connections(self) -> None:
        counters = load.counters(self.nano.folder / "debug" / "kernel")
        with running(self.nano) as instance:
            answered = load.connections_at_once(instance, "/", 1000)
            self.figures.append(Figure("connections open at once", str(answered), "1000", answered == 1000))
        with running(self.nano) as instance:
            self.growth = grown = load.opened_and_closed(instance, "/", self.asked.connections, counters)
        name = f"{grown.count} connections opened and closed: memory that the kernel has lost"
        self.figures.append(Figure(name, f"{grown.kernel} bytes", "0", grown.kernel <= 0))
        # Both have a bound: pages of the program's files cost no memory, and would hide as many that the kernel lost.
        name, most = "memory that the program has more", PROGRAM_KEEPS
        self.figures.append(Figure(name, f"{grown.program} bytes", f"at most {most}", grown.program <= most))
        self.tell("of these a second", f"{grown.count / grown.seconds:.0f}")
        over = (grown.resident_after - grown.resident_before) / MIB
        self.tell("QEMU's resident memory grew meanwhile by", f"{over:.1f} MiB")

    def build(self) -> None:
        """The checkout's committed files in a folder of their own; a cache with nothing but the fetched sources."""
        tree, cache = self.scratch / "tree", self.scratch / "cache"
        tree.mkdir()
        packed = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=packed, check=True)
        fetched = Path(os.environ.get("RUMPEL_CACHE", Path.home() / ".cache/rumpel")) / "store"
        shutil.copytree(fetched, cache / "store", copy_function=_link)
        command = [sys.executable, "-m", "SCons", "-j2", "composition=web", "kernel=nano", "offline=1"]
        environment = os.environ | {"RUMPEL_CACHE": str(cache)}
        begun, before = time.monotonic(), os.times()
        subprocess.run(command, cwd=tree, env=environment, check=True, stdout=sys.stderr, timeout=600)
        seconds, after = time.monotonic() - begun, os.times()
        self.at_most("clean build of web for nano, -j2", seconds, 60, "s")
        used = after.children_user + after.children_system - before.children_user - before.children_system
        self.tell("of it CPU time", f"{used:.0f} s")

    def ratio(self, name: str, value: float, other: float, bound: float) -> None:
        met = value <= other * bound
        self.figures.append(Figure(name, f"1/{other / value:.1f}", f"at most 1/{1 / bound:g}", met))

    def at_most(self, name: str, value: float, bound: float, unit: str) -> None:
        self.figures.append(Figure(name, f"{value:.3g} {unit}", f"at most {bound:g} {unit}", value <= bound))

    def compare(self, name: str, rates: dict[str, list[load.Rate]], bound: float) -> None:
        nano, linux = (rates[each.name] for each in self.both)
        rate = statistics.median(r.rate for r in nano) / statistics.median(r.rate for r in linux)
        cost = statistics.median(r.cost for r in linux) / statistics.median(r.cost for r in nano)
        self.figures.append(Figure(name, f"{rate:.2f} times", f"at least {bound:g} times", rate >= bound))
        self.tell("the same by QEMU's CPU time", f"{cost:.2f} times")

    def tell(self, name: str, value: str) -> None:
        self.figures.append(Figure(name, value))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def built(composition: str, kernel: str) -> Built:
    """Builds an image for microvm and loads what describes it."""
    command = [str(ROOT / "rumpel"), "build", composition, "--kernel", kernel, "--machine", "microvm"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    folder = ROOT / "build" / composition / f"{kernel}-microvm"
    manifest = load_manifest(folder / "manifest.json")
    plan = Plan.from_json((folder / manifest.plan.path).read_bytes())
    return Built(f"{composition}/{folder.name}", folder, plan, image_of(manifest, folder, ROOT))


@contextlib.contextmanager
def running(subject: Built, *, memory: int = 0, ready_timeout: float = 0) -> Iterator[Instance]:
    """The image, started and ready, until the end of the block."""
    options = Options(accelerator="tcg", name=f"bench-{os.getpid()}", memory=memory, ready_timeout=ready_timeout)
    with start(subject.plan, subject.image, options) as instance:
        yield instance


def table(figures: Sequence[Figure]) -> str:
    """The figures in columns."""
    rows = [("figure", "measured", "bound", "")]
    rows += [(each.name, each.value, each.bound, "" if each.met else "NOT MET") for each in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="this part; may be repeated")
    parser.add_argument("--starts", type=int, default=10, help="starts of each subject (10)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of requests and downloads (3)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of requests in each round (5)")
    parser.add_argument("--connections", type=int, default=10_000, help="connections opened and closed (10000)")
    parser.add_argument("--noisy", action="store_true", help="measure although the machine is busy")
    parser.add_argument("--output", type=Path, help="where the JSON goes; else to standard output")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    with tempfile.TemporaryDirectory(prefix="rumpel-bench-") as folder:
        os.environ["RUMPEL_STATE"] = folder
        bench = Bench(asked, Path(folder))
        idle = boot.idle_share()
        if idle < boot.QUIET_IDLE and not asked.noisy:
            print(f"The machine is busy: {idle:.0%} idle. Wait until it is quiet, or add --noisy.", file=sys.stderr)
            return 1
        parts: dict[str, Callable[[], None]] = {
            "start": bench.start, "size": bench.size, "memory": bench.memory, "requests": bench.requests_a_second,
            "download": bench.download, "connections": bench.connections, "build": bench.build,
        }  # fmt: skip
        for part in asked.only or PARTS:
            parts[part]()
    report = Report(
        qemu_version(find_qemu("")), platform.platform(), os.cpu_count() or 1, round(idle, 3),
        bench.figures, bench.starts, bench.requests, bench.downloads, bench.growth,
    )  # fmt: skip
    print(table(bench.figures), file=sys.stderr)
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if asked.output is None:
        sys.stdout.buffer.write(encoded)
    else:
        asked.output.write_bytes(encoded)
    return 0 if all(each.met for each in bench.figures) else 1


if __name__ == "__main__":
    sys.exit(main())
