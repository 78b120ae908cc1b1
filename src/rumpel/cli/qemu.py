"""`rumpel qemu`: the emulator that runs the machines, and a small one of Rumpel's own that starts sooner."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rumpel.cli.output import echo_json
from rumpel.cli.terminal import end_status, say
from rumpel.resolve.plan import Frozen

if TYPE_CHECKING:
    from rumpel.build.emulators import Built
    from rumpel.resolve.emulator import EmulatorPlan


_VERSION = re.compile(r"-\d")  # a machine as it was in an older QEMU


class Shown(Frozen, frozen=True):
    """`rumpel qemu --json`: Rumpel's own QEMU. `state` is `missing`, `current`, or `outdated`: built from other
    sources, with other libraries, or for other devices than it would be now. `program` is empty where it is missing;
    `size` in bytes."""

    state: str
    program: str = ""
    version: str = ""
    sha256: str = ""
    size: int = 0
    machines: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def qemu(context: click.Context, as_json: bool) -> None:
    """Say which QEMU runs the machines; 'build' builds a small one that starts sooner.

    Debian's QEMU is a program with fifty shared libraries. Rumpel's own is built from the same source with the
    machines and devices of the parts here and no others, in one file. Once it is built, machines run on it; '--qemu
    system', or RUMPEL_QEMU=system, takes Debian's.
    """
    if context.invoked_subcommand is not None:
        return
    from rumpel.machine.emulator import find_qemu

    shown = shown_qemu()
    if as_json:
        echo_json(shown)
        return
    if shown.state == "missing":
        click.echo("Rumpel's own QEMU is not built: `rumpel qemu build`.")
    else:
        said = " It is outdated: `rumpel qemu build` builds it anew." if shown.state == "outdated" else ""
        click.echo(f"Rumpel's own QEMU is {shown.version}, {shown.size / (1 << 20):.1f} MiB.{said}")
        machines = [name for name in shown.machines if name != "none" and not _VERSION.search(name)]
        click.echo(f"Machines: {', '.join(machines)}. Device models: {len(shown.devices)}.")
    click.echo(f"Machines run on {find_qemu('')}.")


@qemu.command(short_help="Build Rumpel's own, once, in some minutes.")
@click.option("--locked", is_flag=True, help="A pinned source that is gone is an error.")
@click.option("--offline", is_flag=True, help="Fetch nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Show every command.")
def build(locked: bool, offline: bool, verbose: bool) -> None:
    """Build Rumpel's own QEMU, where it is not built yet, and take it into use. Takes some minutes."""
    from rumpel.build.emulator import build_emulator, linked_versions, require_tools
    from rumpel.build.plans import unpacker
    from rumpel.build.progress import BuildProgress
    from rumpel.build.step import Workspace
    from rumpel.cli import bootstrap
    from rumpel.cli.project import CHECKOUT

    plan = _plan(locked=locked, offline=offline)
    bootstrap.bring_emulator_packages(CHECKOUT, offline=offline)
    require_tools()
    import sys

    progress = BuildProgress(sys.stderr, verbose=verbose)
    workspace = Workspace(
        root=CHECKOUT, unpack=unpacker(), show_command=progress.command, show_progress=progress.advance
    )
    try:
        linked = linked_versions(bootstrap.required_packages(CHECKOUT, bootstrap.EMULATOR))
        trainer = functools.partial(_trainer, locked=locked, offline=offline)
        built = build_emulator(plan, workspace, linked, trainer, say)
    finally:
        progress.close()
    say(
        f"Rumpel's own QEMU {built.version} is built, {built.size / (1 << 20):.1f} MiB; machines run on it from now on."
    )


@qemu.command(short_help="Take Rumpel's own out of use.")
def rm() -> None:
    """Take Rumpel's own QEMU out of use: machines run on Debian's from now on."""
    from rumpel.build.emulators import built_emulator, forget_built

    if built_emulator() is None:
        say("Rumpel's own QEMU is not built; nothing was changed.")
        return
    forget_built()
    say("Rumpel's own QEMU is out of use; machines run on Debian's. `rumpel qemu build` brings it back.")


def _trainer(folder: Path, *, locked: bool, offline: bool) -> Path:
    """Build the image that the emulator is measured with; the image's folder."""
    from rumpel.build.api import BuildOptions
    from rumpel.build.api import build as build_image
    from rumpel.build.emulator_profile import TRAINED_WITH

    (folder / "compositions").mkdir(parents=True)
    options = BuildOptions(project=folder, kernel="nano", machine="microvm", locked=locked, offline=offline)
    return folder / build_image(TRAINED_WITH, options).directory


def _plan(*, locked: bool = False, offline: bool = False, fetch: bool = True) -> EmulatorPlan:
    from rumpel.build.emulators import QEMU
    from rumpel.cli.project import CHECKOUT
    from rumpel.cli.sources import Told
    from rumpel.model.lock import load_lock
    from rumpel.model.project import Project
    from rumpel.places import own_root
    from rumpel.resolve.emulator import plan_emulator
    from rumpel.sources import SourcePolicy, Store, ensure, with_substitutions

    project = Project([own_root()])
    lock = load_lock(project.locate("rumpel.lock"))
    plan = plan_emulator(project, QEMU, lock)
    if not fetch:
        return plan_emulator(project, QEMU, with_substitutions(lock, [each.name for each in plan.sources], Store()))
    policy = SourcePolicy.OFFLINE if offline else SourcePolicy.LOCKED if locked else SourcePolicy.PINNED_OR_NEWEST
    ensured = ensure(lock, [each.name for each in plan.sources], Store(), policy, project=CHECKOUT, progress=Told())
    end_status()
    for substitution in ensured.substitutions:
        say(substitution.sentence())
    return plan_emulator(project, QEMU, ensured.lock)


def shown_qemu() -> Shown:
    """What there is of Rumpel's own QEMU."""
    from rumpel.build.emulators import built_emulator

    built = built_emulator()
    return Shown(state="missing") if built is None else _described(built)


def _described(built: Built) -> Shown:
    from rumpel.build.emulator import linked_versions, plan_digest
    from rumpel.build.emulators import program_of
    from rumpel.cli.bootstrap import EMULATOR, required_packages
    from rumpel.cli.project import CHECKOUT
    from rumpel.errors import HostError

    try:
        wanted = plan_digest(_plan(fetch=False), linked_versions(required_packages(CHECKOUT, EMULATOR)))
    except HostError:  # what it was linked with is not installed any more, so there is nothing newer
        wanted = built.plan
    return Shown(
        state="current" if built.plan == wanted else "outdated",
        program=str(program_of(built)), version=built.version, sha256=built.sha256, size=built.size,
        machines=built.machines, devices=built.devices,
    )  # fmt: skip
