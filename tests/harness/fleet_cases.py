"""What the workers of a fleet are asked to do in its tests; they import it from here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import rumpel
from rumpel.errors import Evidence, MachineError

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 120.0  # seconds


@dataclass(frozen=True)
class Serve:
    """Boot a site, leave a line about it in `log`, wait for the file `go`, ask the site."""

    number: int
    log: str
    go: str


@dataclass(frozen=True)
class Served:
    """The case, its worker's process, what the site answered."""

    number: int
    worker: int
    status: int


def serve(case: Serve) -> Served:
    with rumpel.boot("web", kernel="nano", accel="tcg", project=ROOT) as vm:
        line = f"{case.number} {os.getpid()} {vm.instance.pid}\n"
        with Path(case.log).open("a") as log:
            log.write(line)
        deadline = time.monotonic() + LONGEST
        while not Path(case.go).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return Served(case.number, os.getpid(), vm.http().get("/").status_code)


def fail_at_two(number: int) -> int:
    if number == 2:
        evidence = Evidence(console="the last words", command="qemu ...", guest_status=3, files=(Path("/a"),))
        raise MachineError("It broke.", hint="Mend it.", evidence=evidence)
    return 10 * number


def where(words: Mapping[str, object]) -> int:
    return os.getpid()


def wait_long(number: int) -> None:
    time.sleep(LONGEST)


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
