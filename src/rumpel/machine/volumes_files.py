"""The files in a volume, read and written on the host by debugfs(8), without booting and without being root.

    entries = list_files("web/data", path)
    copy_out("web/data", path, "/reports", Path("reports"), "refuse")
    copy_in("web/data", taken, Path("seed.csv"), "/", "refuse")

What is read is addressed by its inode, never by its name. Names are given to debugfs only where they are made, quoted
by the rules of its parser (e2fsprogs, lib/ss/parse.c): in double quotes, a double quote written twice.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from rumpel.errors import HostError, UsageError, VolumeError
from rumpel.machine.volumes_change import changed
from rumpel.machine.volumes_ext4 import MIB, mib, read_superblock, run_apart
from rumpel.machine.volumes_lock import Taken
from rumpel.resolve.plan import Frozen

Existing = Literal["refuse", "replace"]
Kind = Literal["file", "folder", "link", "other"]

_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
_ENTRY = re.compile(rb"/(\d+)/([0-7]+)/(\d+)/(\d+)/([^/]*)/(\d*)/\n")  # debugfs: ls -p
_FAST_LINK = b'Fast link dest: "'
_LONGEST_FAST_LINK = 59
_ROOT_INODE = 2
_LONGEST_NAME = 255
_LONGEST_LINE = 8000  # debugfs reads its commands in lines of at most BUFSIZ bytes
_BLOCK = 4096


class Entry(Frozen, frozen=True):
    """A file of a volume: `path` absolute in the volume, `mode` its permission bits, `size` in bytes, `target` where a
    symbolic link leads."""

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    inode: int
    target: str = ""


def list_files(name: str, path: Path) -> tuple[Entry, ...]:
    """Everything in the volume, folders before what is in them, by name; without the root and an empty `lost+found`."""
    found: list[Entry] = []
    level = [("", _ROOT_INODE)]
    while level:
        listed = _list_folders(name, path, [inode for _, inode in level])
        below: list[tuple[str, int]] = []
        for folder, inode in level:
            for entry in listed.get(inode, ()):
                whole = msgspec.structs.replace(entry, path=f"{folder}/{entry.path}")
                found.append(whole)
                if whole.kind == "folder":
                    below.append((whole.path, whole.inode))
        level = below
    folders = {str(PurePosixPath(entry.path).parent) for entry in found}
    kept = [entry for entry in found if entry.path != "/lost+found" or "/lost+found" in folders]
    kept.sort(key=lambda entry: entry.path.split("/"))
    return _with_targets(name, path, kept)


def copy_out(name: str, path: Path, source: str, target: Path, existing: Existing) -> tuple[Path, ...]:
    """Copy a file, link or folder of the volume to the host: into `target` where that is a folder, else as `target`.

    Modes are kept, owners are not. Returns what was written. Raises UsageError where something is in the way (with
    "replace": something of another kind) and VolumeError where it cannot be read; nothing is then written.
    """
    entries = list_files(name, path)
    wanted = _canonical(source)
    chosen = [entry for entry in entries if entry.path == wanted or entry.path.startswith(wanted.rstrip("/") + "/")]
    if not chosen and wanted != "/":
        raise UsageError(
            f"There is no '{wanted}' in the volume '{name}'.",
            hint=f"'rumpel volume inspect {name}' lists what is in it.",
        )
    if target.is_dir():
        target = target if wanted == "/" else target / PurePosixPath(wanted).name
    elif not target.parent.is_dir():
        raise UsageError(f"There is no folder '{target.parent}'.", hint="Create it, or correct the path.")
    places = [(entry, Path(f"{target}{entry.path[len(wanted.rstrip('/')) :]}")) for entry in chosen]
    for entry, place in places:
        _check_host(name, entry, place, existing)
    files = [entry for entry in chosen if entry.kind == "file"]
    shared = {inode for inode, names in Counter(entry.inode for entry in files).items() if names > 1}
    needed = sum(-(-entry.size // _BLOCK) * _BLOCK for entry in files)
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise HostError(
            f"There is no disk space for what is copied: it needs {mib(needed)} MiB, and {free // MIB} MiB are free in "
            f"'{target.parent}'.",
            hint="Free some space, or give another target.",
        )
    if wanted == "/":
        target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".rumpel-copy-", dir=target.parent) as folder:
        _dump(name, path, files, Path(folder))
        for entry, place in places:
            _put(entry, place, Path(folder), shared, existing)
    for entry, place in reversed(places):
        if entry.kind == "folder":
            place.chmod(entry.mode & 0o777)
    return tuple(place for _, place in places)


def copy_in(name: str, taken: Taken, source: Path, target: str, existing: Existing) -> tuple[str, ...]:
    """Copy a file, link or folder of the host into the volume that `taken` holds for writing: into `target` where that
    is a folder in the volume, else as `target`. All or nothing.

    Modes and times are kept; the owner is the guest's root. Returns what was written.
    """
    entries = {entry.path: entry for entry in list_files(name, taken.path)}
    wanted = _canonical(target)
    if wanted == "/" or (wanted in entries and entries[wanted].kind == "folder"):
        wanted = f"{wanted.rstrip('/')}/{source.absolute().name}"
    parent = str(PurePosixPath(wanted).parent)
    if parent != "/" and (parent not in entries or entries[parent].kind != "folder"):
        raise UsageError(
            f"There is no folder '{parent}' in the volume '{name}'.",
            hint=f"Copy a whole folder, or into one of those that 'rumpel volume inspect {name}' lists.",
        )
    places = [(path, f"{wanted}{suffix}") for path, suffix in _walk(source)]
    for path, place in places:
        _check_volume(name, path, place, entries.get(place), existing)
    size = sum(-(-path.lstat().st_size // _BLOCK) * _BLOCK for path, _ in places if _kind(path) == "file")
    free = read_superblock(name, taken.path).free
    if size > free:
        raise _full(name, taken.path, size)
    with changed(name, taken, size) as copy, tempfile.TemporaryDirectory(prefix="rumpel-copy-") as folder:
        said = _debugfs(name, copy, _writing(places, entries, Path(folder)), Path(folder), "-w")[1]
        if said:
            if "Could not allocate" in said or "No space left" in said:
                raise _full(name, taken.path, size)
            raise VolumeError(
                f"The files could not be written into the volume '{name}': debugfs said: {said}",
                hint="The volume was left as it is.",
                volume=taken.path,
            )
        _compare(name, copy, places)
    return tuple(place for _, place in places)


def _canonical(path: str) -> str:
    """`path` in a volume as an absolute path; raises UsageError for one that leads upwards or cannot be."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(
            f"'{path}' leads upwards; a path in a volume does not.", hint="Write it from the volume's root."
        )
    return "/" + "/".join(parts)


def _list_folders(name: str, path: Path, inodes: Sequence[int]) -> dict[int, list[Entry]]:
    """What is in each folder, by its inode; `path` of an entry is its name alone."""
    output, said = _debugfs(name, path, [f"ls -p <{inode}>" for inode in inodes], None)
    if said:
        raise _unreadable(name, path, said)
    folders: dict[int, list[Entry]] = {}
    current: list[Entry] = []
    for match in _ENTRY.finditer(output):
        inode, mode, uid, gid, raw, size = match.groups()
        if raw == b".":  # the first entry of every folder
            current = folders.setdefault(int(inode), [])
        elif raw not in (b"..", b"") and inode != b"0":  # of an unused entry both are nothing
            bits = int(mode, 8)
            current.append(
                Entry(
                    path=os.fsdecode(raw), kind=_KINDS.get(stat.S_IFMT(bits), "other"), mode=stat.S_IMODE(bits),
                    uid=int(uid), gid=int(gid), size=int(size or 0), inode=int(inode),
                )
            )  # fmt: skip
    return folders


def _with_targets(name: str, path: Path, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    found = []
    for entry in entries:
        if entry.kind == "link":
            short = entry.size <= _LONGEST_FAST_LINK
            output, _ = _debugfs(name, path, [f"{'stat' if short else 'cat'} <{entry.inode}>"], None)
            start = output.find(_FAST_LINK) + len(_FAST_LINK) if short else output.find(b"\n") + 1
            target = os.fsdecode(output[start : start + entry.size])
            found.append(msgspec.structs.replace(entry, target=target))
        else:
            found.append(entry)
    return tuple(found)


def _dump(name: str, path: Path, files: Sequence[Entry], folder: Path) -> None:
    """Write each file's content to `folder`, called by its inode."""
    inodes = dict.fromkeys(entry.inode for entry in files)
    _, said = _debugfs(name, path, [f"dump <{inode}> {inode}" for inode in inodes], folder)
    if said:
        raise _unreadable(name, path, said)
    for entry in files:
        written = folder / str(entry.inode)
        if not written.is_file() or written.stat().st_size != entry.size:
            raise _unreadable(name, path, f"'{entry.path}' came out with another size")


def _put(entry: Entry, place: Path, folder: Path, shared: Container[int], existing: Existing) -> None:
    """Bring one entry to its place; what came there since it was looked at is not overwritten. The content of an inode
    in `shared` belongs to several entries."""
    if entry.kind == "folder":
        place.mkdir(exist_ok=True)
        place.chmod(0o700 | entry.mode & 0o777)
        return
    fresh = folder / "entry"
    if entry.kind == "link":
        fresh.symlink_to(entry.target)
    else:
        content = folder / str(entry.inode)
        if entry.inode in shared:
            shutil.copyfile(content, fresh)
        else:
            content.replace(fresh)
        fresh.chmod(entry.mode & 0o777)
    if existing == "replace":
        fresh.replace(place)
        return
    try:
        os.link(fresh, place, follow_symlinks=False)
    except FileExistsError:
        raise UsageError(f"'{place}' exists already.", hint="Give another target, or '--replace'.") from None
    fresh.unlink()


def _check_host(name: str, entry: Entry, place: Path, existing: Existing) -> None:
    if entry.kind == "other":
        raise UsageError(
            f"'{entry.path}' in the volume '{name}' is neither a file, a folder nor a link.",
            hint="Copy what lies beside it.",
        )
    if not os.path.lexists(place):
        return
    there = _kind(place)
    if entry.kind == "folder" and there == "folder":
        return
    if "folder" in (entry.kind, there):
        raise UsageError(
            f"'{place}' exists already, as a {there}; '{entry.path}' is a {entry.kind}.", hint="Give another target."
        )
    if existing == "refuse":
        raise UsageError(f"'{place}' exists already.", hint="Give another target, or '--replace'.")


def _check_volume(name: str, path: Path, place: str, there: Entry | None, existing: Existing) -> None:
    kind = _kind(path)
    if kind == "other":
        raise UsageError(f"'{path}' is neither a file, a folder nor a link.", hint="Leave it out.")
    written = [PurePosixPath(place).name, *([str(path.readlink())] if kind == "link" else [])]
    if any("\n" in word or "\r" in word for word in written):
        raise UsageError(f"The name {place!a} has a line break, which cannot be written.", hint="Rename the file.")
    if len(os.fsencode(written[0])) > _LONGEST_NAME or len(os.fsencode(place)) > _LONGEST_LINE // 4:
        raise UsageError(f"The name '{place}' is too long for a volume.", hint="Give another target.")
    if there is None or (kind == "folder" and there.kind == "folder"):
        return
    if "folder" in (kind, there.kind):
        raise UsageError(
            f"'{place}' exists already in the volume '{name}', as a {there.kind}; '{path}' is a {kind}.",
            hint="Give another target.",
        )
    if existing == "refuse":
        raise UsageError(
            f"'{place}' exists already in the volume '{name}'.", hint="Give another target, or '--replace'."
        )


def _walk(source: Path) -> list[tuple[Path, str]]:
    """`source` and all below it, folders first, with what comes behind the name of the copy."""
    if not os.path.lexists(source):
        raise UsageError(f"There is no file or folder '{source}'.", hint="Correct the name.")
    found = [(source, "")]
    if source.is_dir() and not source.is_symlink():
        for folder, folders, files in os.walk(source):
            folders.sort()
            found += [
                (Path(folder, each), f"/{Path(folder, each).relative_to(source)}")
                for each in (*folders, *sorted(files))
            ]
    found.sort(key=lambda pair: pair[1].split("/"))
    return found


def _writing(places: Iterable[tuple[Path, str]], entries: dict[str, Entry], folder: Path) -> list[str]:
    """The commands that write `places`; contents are found by numbered links in `folder`."""
    commands = []
    for number, (path, place) in enumerate(places):
        seen = path.lstat()
        kind, quoted = _kind(path), _quoted(place)
        if place in entries and kind != "folder":
            commands.append(f"rm {quoted}")
        if kind == "folder":
            commands += [f"mkdir {quoted}"] if place not in entries else []
        elif kind == "link":
            commands.append(f"symlink {quoted} {_quoted(str(path.readlink()))}")
        else:
            (folder / str(number)).symlink_to(path.absolute())
            where = PurePosixPath(place)
            commands += [f"cd {_quoted(str(where.parent))}", f"write {number} {_quoted(where.name)}"]
        if kind != "link":
            commands += [
                f"sif {quoted} mode 0{seen.st_mode & 0o177777:o}",
                f"sif {quoted} mtime @{max(0, int(seen.st_mtime))}",
            ]
    return commands


def _compare(name: str, path: Path, places: Iterable[tuple[Path, str]]) -> None:
    written = {entry.path: entry for entry in list_files(name, path)}
    for source, place in places:
        seen, entry = source.lstat(), written.get(place)
        if entry is None or not _same(entry, _kind(source), seen):
            raise VolumeError(
                f"'{source}' did not arrive whole in the volume '{name}': did it change meanwhile?",
                hint="The volume was left as it is; try it again.",
                volume=path,
            )


def _same(entry: Entry, kind: Kind, seen: os.stat_result) -> bool:
    if entry.kind != kind or (kind != "link" and entry.mode != stat.S_IMODE(seen.st_mode)):
        return False
    return kind != "file" or entry.size == seen.st_size


def _debugfs(name: str, path: Path, commands: Sequence[str], folder: Path | None, *options: str) -> tuple[bytes, str]:
    """What debugfs printed, and its complaints in one line. It runs in `folder`."""
    with tempfile.NamedTemporaryFile(prefix="rumpel-debugfs-") as script:
        script.write(b"".join(os.fsencode(command) + b"\n" for command in commands))
        script.flush()
        done = run_apart(["debugfs", *options, "-f", script.name, str(path.absolute())], name, folder)
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    complaints = [line.strip() for line in lines if line.strip() and not re.fullmatch(r"debugfs \d\S* \(.*\)", line)]
    return done.stdout, " ".join(complaints)


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _kind(path: Path) -> Kind:
    return _KINDS.get(stat.S_IFMT(path.lstat().st_mode), "other")


def _full(name: str, path: Path, size: int) -> VolumeError:
    free = read_superblock(name, path).free // MIB
    return VolumeError(
        f"The volume '{name}' is full: what is copied needs {mib(size)} MiB, and {free} MiB are free in it.",
        hint=f"Make it larger with 'rumpel volume grow {name} SIZE'; it was left as it is.",
        volume=path,
    )


def _unreadable(name: str, path: Path, said: str) -> VolumeError:
    return VolumeError(f"The volume '{name}' cannot be read: {path}. debugfs said: {said}", volume=path)
