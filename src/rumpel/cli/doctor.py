"""`rumpel doctor`: what this machine has and lacks, each line with the way out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click

from rumpel.cli import bootstrap
from rumpel.cli.output import echo_json
from rumpel.cli.project import CHECKOUT
from rumpel.cli.terminal import green, red
from rumpel.errors import HostError
from rumpel.places import cache_dir, state_dir
from rumpel.resolve.plan import Frozen

QEMU = "qemu-system-x86_64"
LOW_SPACE = 2 << 30


class Finding(Frozen, frozen=True):
    """One line: `missing` is an error, `note` stops nothing. `way_out` is empty where all is well."""

    name: str
    state: Literal["ok", "note", "missing"]
    says: str
    way_out: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks, and the way out. Ends with 4 where something is missing."""
    findings: list[Finding] = []
    for finding in _examine():
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        echo_json(findings)
    return HostError.exit_status if any(finding.state == "missing" for finding in findings) else 0


def _show(finding: Finding) -> None:
    mark = {"ok": green("ok     "), "note": "note   ", "missing": red("missing")}[finding.state]
    click.echo(f"{mark}  {finding.name}: {finding.says}")
    if finding.way_out:
        click.echo(f"         {finding.way_out}")


def _examine() -> Iterator[Finding]:
    yield _python()
    yield _packages("Debian packages", bootstrap.RUN, "missing")
    yield _packages("Debian packages for tests", bootstrap.TEST, "note")
    yield from _qemu()
    yield _space("cache", cache_dir())
    yield _space("state", state_dir())
    yield _client("apt-get", "apt")
    yield _pip()
    yield _client("npm", "npm", "installed when a component has npm sources")
    yield _client("gdb", "gdb", "only 'rumpel debug' and 'rumpel replay --debug' need it")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(name="Python", state="ok", says=f"{version}, {os.path.realpath(sys.executable)}; {sys.prefix}")


def _packages(name: str, level: bootstrap.Level, state: Literal["note", "missing"]) -> Finding:
    packages = bootstrap.required_packages(CHECKOUT, level)
    try:
        missing = bootstrap.missing_packages(packages)
    except HostError as error:
        return Finding(name=name, state=state, says=error.message, way_out=error.hint)
    if not missing:
        return Finding(name=name, state="ok", says=f"all {len(packages)} installed")
    return Finding(
        name=name,
        state=state,
        says=", ".join(missing),
        way_out=f"As root: apt-get install --no-install-recommends {' '.join(missing)}",
    )


def _qemu() -> Iterator[Finding]:
    path = shutil.which(QEMU)
    if path is None:
        yield Finding(
            name="QEMU",
            state="missing",
            says=f"no program '{QEMU}' on the PATH",
            way_out="As root: apt-get install --no-install-recommends qemu-system-x86",
        )
        return
    says = _first_line(path, "--version")
    if says is None:
        yield Finding(
            name="QEMU", state="missing", says=f"'{path} --version' fails", way_out="Reinstall qemu-system-x86."
        )
        return
    yield Finding(name="QEMU", state="ok", says=says)
    yield _own_qemu()
    from rumpel.machine.accelerator import choose_accelerator
    from rumpel.machine.emulator import find_qemu

    try:
        choice = choose_accelerator("auto", find_qemu(""))
    except HostError as error:
        yield Finding(name="accelerator", state="missing", says=error.message, way_out=error.hint)
        return
    yield Finding(
        name="accelerator",
        state="ok" if choice.name != "tcg" else "note",
        says=f"{choice.name}. {choice.reason}".strip(),
    )


def _own_qemu() -> Finding:
    from rumpel.cli.qemu import shown_qemu

    shown = shown_qemu()
    name = "Rumpel's own QEMU"
    if shown.state == "missing":
        says = "not built; with it machines start sooner"
        return Finding(name=name, state="note", says=says, way_out="Build it, in some minutes: rumpel qemu build")
    if shown.state == "outdated":
        says = f"{shown.version}, older than its sources or parts"
        return Finding(name=name, state="note", says=says, way_out="Build it anew: rumpel qemu build")
    return Finding(name=name, state="ok", says=f"{shown.version}, {shown.program}")


def _space(name: str, folder: Path) -> Finding:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    says = f"{folder}, {free / (1 << 30):.1f} GiB free"
    variable = f"RUMPEL_{name.upper()}"
    if not os.access(there, os.W_OK):
        return Finding(
            name=name, state="missing", says=f"{says}, not writable", way_out=f"Name another folder in {variable}."
        )
    if free < LOW_SPACE:
        return Finding(
            name=name, state="note", says=says, way_out=f"Make room, or name a folder on another disk in {variable}."
        )
    return Finding(name=name, state="ok", says=says)


def _client(program: str, package: str, who_needs_it: str = "") -> Finding:
    """`who_needs_it`: it may be missing, as only they do."""
    path = shutil.which(program)
    if path is not None:
        return Finding(name=program, state="ok", says=path)
    return Finding(
        name=program,
        state="note" if who_needs_it else "missing",
        says=f"not on the PATH{who_needs_it and '; '}{who_needs_it}",
        way_out=f"As root: apt-get install --no-install-recommends {package}",
    )


def _pip() -> Finding:
    says = _first_line(sys.executable, "-I", "-m", "pip", "--version")
    if says is None:
        return Finding(
            name="pip", state="missing", says="not in the environment", way_out="Delete '.venv', then ./rumpel setup"
        )
    return Finding(name="pip", state="ok", says=says)


def _first_line(*command: str) -> str | None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None
