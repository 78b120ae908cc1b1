"""`rumpel volume`: what machines keep, looked at and changed on the host while no machine runs on it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from rumpel.cli.output import echo_json, echo_table
from rumpel.cli.terminal import say
from rumpel.errors import UsageError
from rumpel.machine.volumes_change import grow as grow_volume
from rumpel.machine.volumes_files import Entry, Existing, copy_in, copy_out, list_files
from rumpel.machine.volumes_lock import hold_for_reading, hold_for_writing
from rumpel.machine.volumes_shelf import (
    create_volume,
    find_volume,
    list_volumes,
    mebibytes_of,
    remove_volume,
)
from rumpel.resolve.plan import Frozen

REPLACE = click.option("--replace", is_flag=True, help="Overwrite files that are there. Without it that is refused.")


class Inspected(Frozen, frozen=True):
    """One volume, as `inspect --json` prints it; sizes in bytes."""

    name: str
    path: str
    size: int
    allocated: int
    free: int
    label: str
    uuid: str
    files: tuple[Entry, ...]


@click.group(context_settings={"max_content_width": 100})
def volume() -> None:
    """Look into volumes, fill, copy, grow and remove them.

    A VOLUME is INSTANCE/VOLUME, such as sqlite-web/data, or the path of an image that begins with '/' or './'. While a
    machine runs on a volume, every command that would touch it is refused.
    """


@volume.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool) -> None:
    """List the volumes of this user."""
    volumes = list_volumes()
    if as_json:
        echo_json(volumes)
    elif not volumes:
        say("There is no volume yet: a machine makes its own, 'rumpel volume create' makes one.")
    else:
        echo_table(
            ("NAME", "SIZE", "ON DISK", "STATE", "PATH"),
            [
                (each.name, mebibytes_of(each.size), mebibytes_of(each.allocated),
                 "in use" if each.in_use else "free", each.path)
                for each in volumes
            ],
        )  # fmt: skip


@volume.command()
@click.argument("name", metavar="VOLUME")
@click.option("--size", required=True, metavar="SIZE", help="Its size, such as 64M or 1G.")
@click.option("--from", "folder", metavar="FOLDER", type=click.Path(path_type=Path), help="Fill it with these files.")
def create(name: str, size: str, folder: Path | None) -> None:
    """Make a volume; one that is there already is left alone."""
    from rumpel.model.size import mebibytes

    made = create_volume(name, mebibytes(size), folder)
    say(f"The volume '{made.name}' was made: {made.path}")


@volume.command()
@click.argument("name", metavar="VOLUME")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(name: str, as_json: bool) -> None:
    """Show what a volume is and which files are in it."""
    from rumpel.machine.volumes_ext4 import read_superblock

    found = find_volume(name)
    with hold_for_reading(found.name, found.path):
        block = read_superblock(found.name, found.path)
        files = list_files(found.name, found.path)
        seen = found.path.stat()
    inspected = Inspected(
        name=found.name, path=str(found.path), size=seen.st_size, allocated=seen.st_blocks * 512, free=block.free,
        label=block.label, uuid=str(block.uuid), files=files,
    )  # fmt: skip
    if as_json:
        echo_json(msgspec.structs.replace(inspected, files=tuple(_as_text(entry) for entry in files)))
        return
    click.echo(
        f"{inspected.name}: {mebibytes_of(inspected.size)}, {mebibytes_of(inspected.free)} free, "
        f"{mebibytes_of(inspected.allocated)} on disk\n{inspected.path}"
    )
    if files:
        click.echo("")
        echo_table(("MODE", "SIZE", "NAME"), [_row(entry) for entry in files])


def _row(entry: Entry) -> tuple[str, str, str]:
    kinds = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "link": stat.S_IFLNK, "other": stat.S_IFSOCK}
    size = str(entry.size) if entry.kind == "file" else "-"
    name = _printable(f"{entry.path} -> {entry.target}" if entry.kind == "link" else entry.path)
    return stat.filemode(kinds[entry.kind] | entry.mode), size, name


def _as_text(entry: Entry) -> Entry:
    """JSON is Unicode; the bytes of a name that are not UTF-8 stand in it as \\xNN."""
    path, target = (os.fsencode(word).decode("utf-8", "backslashreplace") for word in (entry.path, entry.target))
    return msgspec.structs.replace(entry, path=path, target=target)


def _printable(text: str) -> str:
    """A name from a guest cannot move the cursor or forge a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


@volume.command("copy-in")
@click.argument("name", metavar="VOLUME")
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("target", metavar="[TARGET]", default="/")
@REPLACE
def copy_in_(name: str, source: Path, target: str, replace: bool) -> None:
    """Copy a file or folder into a volume.

    Into TARGET where that is a folder of the volume, else as TARGET. Default: the volume's root. Modes and times are
    kept, the owner is root. All arrives, or nothing.
    """
    found = find_volume(name)
    with hold_for_writing(found.name, found.path) as taken:
        written = copy_in(found.name, taken, source, target, _existing(replace))
    say(f"{_count(written)} copied into '{found.name}': {written[0]}")


@volume.command("copy-out")
@click.argument("name", metavar="VOLUME")
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="[TARGET]", type=click.Path(path_type=Path), default=Path())
@REPLACE
def copy_out_(name: str, source: str, target: Path, replace: bool) -> None:
    """Copy a file or folder out of a volume; '/' is all of it.

    Into TARGET where that is a folder, else as TARGET. Default: the current folder. Modes are kept, owners are not.
    """
    found = find_volume(name)
    with hold_for_reading(found.name, found.path):
        written = copy_out(found.name, found.path, source, target, _existing(replace))
    say(f"{_count(written)} copied out of '{found.name}'{f': {written[0]}' if written else ''}")


def _existing(replace: bool) -> Existing:
    return "replace" if replace else "refuse"


def _count(written: Sequence[object]) -> str:
    return "1 entry was" if len(written) == 1 else f"{len(written)} entries were"


@volume.command()
@click.argument("name", metavar="VOLUME")
@click.argument("size", metavar="SIZE")
def grow(name: str, size: str) -> None:
    """Make a volume SIZE large, such as 1G. A volume is never made smaller."""
    from rumpel.model.size import mebibytes

    wanted = mebibytes(size)
    found = find_volume(name)
    with hold_for_writing(found.name, found.path) as taken:
        before = found.path.stat().st_size
        grow_volume(found.name, taken, wanted)
        after = found.path.stat().st_size
    say(
        f"The volume '{found.name}' has {mebibytes_of(after)} already."
        if before == after
        else f"The volume '{found.name}' was made larger: {mebibytes_of(before)} -> {mebibytes_of(after)}."
    )


@volume.command()
@click.argument("names", metavar="VOLUME...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(names: tuple[str, ...], yes: bool) -> int:
    """Remove volumes and all that is in them, after asking. One in use stays."""
    found = [find_volume(name) for name in names]
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "'rumpel volume rm' asks before it removes, but there is nobody to answer.",
            hint="Say '--yes' to remove without being asked.",
        )
    kept = 0
    for each in found:
        if not yes and not click.confirm(f"Remove the volume '{each.name}' and all that is in it?", err=True):
            say(f"'{each.name}' stays.")
            kept += 1
            continue
        remove_volume(each)
        say(f"The volume '{each.name}' was removed.")
    return 1 if kept else 0
