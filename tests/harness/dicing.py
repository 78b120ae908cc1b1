"""What the dice say, the program of `tests/harness/dice`."""

from __future__ import annotations

import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from rumpel.harness.vm import Vm


@dataclass(frozen=True)
class Roll:
    """The kernel's random bytes, the program's number, the guest's time, how many asked before."""

    random: str
    drawn: str
    time: float
    asked: int


def roll(vm: Vm) -> Roll:
    return _read(vm.http().get("/").text)


def roll_at(port: int) -> Roll:
    """As `roll`, by a connection that the harness knows nothing of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        return _read(answer.read().decode())


def _read(answer: str) -> Roll:
    random, drawn, moment, asked = answer.split()
    return Roll(random, drawn, float(moment), int(asked))


def copy_project(name: str, folder: Path) -> Path:
    """The project `name` of this folder in `folder`, where it may be built."""
    shutil.copytree(Path(__file__).parent / name, folder / "project")
    return folder / "project"
