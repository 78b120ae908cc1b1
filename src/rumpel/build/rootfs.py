"""The root filesystem: what stands where, whose it is, and the archive of it all."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import msgspec

from rumpel.build import cpio
from rumpel.build.manifest import Content
from rumpel.build.packages import Collected, read_collected
from rumpel.build.programs import Allowed, check_programs
from rumpel.build.step import Step, Workspace, part_name
from rumpel.errors import BuildError
from rumpel.resolve.plan import Component, Frozen
from rumpel.resolve.settings import Record, encode_settings

SETTINGS_PATH = "/rumpel/settings"
STANDARD_FOLDERS = ("/dev", "/proc", "/rumpel", "/run", "/sys", "/tmp")
CONSOLE = cpio.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))


class Placement(Frozen, frozen=True):
    """A file of the root filesystem: where it goes, whose it is, and the number of the step's source that holds it.

    `link` is the target of a symbolic link, which has no source (`source` is -1).
    """

    target: str
    owner: str
    mode: int
    source: int = -1
    link: str = ""


class PlacedFile(Frozen, frozen=True):
    """A placement before its source is numbered; `path` is the file on the host."""

    target: str
    owner: str
    mode: int
    path: Path | None = None
    link: str = ""


def component_files(workspace: Workspace, component: Component) -> list[PlacedFile]:
    """The files that a component adds, folders walked, modes normalised to 0644 and 0755.

    Raises BuildError for a file that does not exist, one that is neither file, folder nor link, and a symbolic
    link that leads out of the component's folder tree.
    """
    owner = f"component/{component.name}"
    placed: list[PlacedFile] = []
    for entry in component.files:
        source = workspace.locate(f"{component.directory}/{entry.source}")
        if source.is_dir() and not source.is_symlink():
            for path in sorted(_walk(source)):
                target = PurePosixPath(entry.target) / path.relative_to(source).as_posix()
                placed.append(_placed(owner, source, path, str(target), None))
        elif source.exists() or source.is_symlink():
            placed.append(_placed(owner, source.parent, source, entry.target, entry.mode))
        else:
            raise BuildError(
                f"The {part_name(owner)} adds '{entry.source}', but there is no file or folder "
                f"'{component.directory}/{entry.source}'.",
                hint=f"Create it, or correct 'files' in {component.directory}/component.yaml.",
            )
    return placed


def check_collisions(placed: Iterable[PlacedFile]) -> None:
    """Raises BuildError where two files have one place, or a file stands where another needs a folder."""
    owners = dict.fromkeys((SETTINGS_PATH, f"/{CONSOLE.path}", *STANDARD_FOLDERS), "kernel")
    files: dict[str, str] = {}
    for file in placed:
        own = file.target.startswith("/rumpel/")  # modules in the order of their names, among others
        other = files.get(file.target) or ("kernel" if own else owners.get(file.target))
        if other is not None:
            raise _added_twice(file.target, other, file.owner)
        files[file.target] = file.owner
    for target, owner in files.items():
        for parent in PurePosixPath(target).parents:
            if str(parent) in files:
                raise _file_and_folder(str(parent), files[str(parent)], owner)


def _added_twice(target: str, first: str, second: str) -> BuildError:
    return BuildError(
        f"'{target}' in the root filesystem is added twice: by {_who(first)} and by {_who(second)}.",
        hint="Give one of them another 'target', or take one of them out of the composition.",
    )


def _file_and_folder(path: str, file: str, folder: str) -> BuildError:
    return BuildError(
        f"'{path}' in the root filesystem is a file of {_who(file)} and a folder of {_who(folder)}.",
        hint="Give one of them another 'target'.",
    )


class Tree:
    """A root filesystem while it is put together: its entries by path, and whose they are."""

    def __init__(self) -> None:
        self.entries: dict[str, cpio.Entry] = {}
        self.owners: dict[str, str] = {}

    def take(
        self,
        workspace: Workspace,
        sources: Sequence[Path],
        placements: Sequence[Placement],
        collected: Sequence[str],
        generated: Sequence[str] = (),
    ) -> None:
        """The files that `placements` number (their places were checked against each other before), and behind them in
        `sources` a list of files for each owner in `collected`, a tar for each in `generated`."""
        for placement in placements:
            self.add(_entry(placement, sources), placement.owner)
        rest = list(sources[sum(placement.source >= 0 for placement in placements) :])
        for owner in collected:
            self.collect(workspace, owner, read_collected(rest.pop(0)))
        for owner in generated:
            for entry in _tar_entries(rest.pop(0)):
                self.add(entry, owner)

    def collect(self, workspace: Workspace, owner: str, files: Iterable[Collected]) -> None:
        """Files of packages. Two components may bring the same file (a shared library); then it is the first's.

        Raises BuildError where two have one place and different content.
        """
        for file in files:
            data = workspace.resolve(file.file).read_bytes()
            entry = cpio.Entry(_relative(file.target), file.mode, data)
            other = self.entries.get(entry.path)
            if other is None:
                self.add(entry, owner)
            elif (other.data, other.mode) != (entry.data, entry.mode):
                raise _added_twice(file.target, self.owners[entry.path], owner)

    def add(self, entry: cpio.Entry, owner: str) -> None:
        self.entries[entry.path] = entry
        self.owners[entry.path] = owner

    def complete(self, folders: Iterable[str], owner: str) -> None:
        """Add `folders`, and those that files are in."""
        for path in folders:
            self._add_folder(_relative(path), owner)
        for path in list(self.entries):
            for parent in PurePosixPath(path).parents:
                if str(parent) != ".":
                    self._add_folder(str(parent), owner)
                    if not stat.S_ISDIR(self.entries[str(parent)].mode):
                        raise _file_and_folder(f"/{parent}", self.owners[str(parent)], self.owners[path])

    def _add_folder(self, path: str, owner: str) -> None:
        if path not in self.entries:
            self.add(cpio.directory(path), owner)

    def contents(self) -> bytes:
        """The list of what it holds, as JSON."""
        contents = [_content(entry, self.owners[entry.path]) for entry in self.entries.values()]
        contents.sort(key=lambda content: content.path)
        return msgspec.json.format(msgspec.json.encode(contents, order="sorted"), indent=2) + b"\n"

    def write(self, folder: Path) -> None:
        """All of it as real files below the existing `folder`; a folder before what is in it."""
        folder.chmod(0o755)
        for path, entry in sorted(self.entries.items(), key=lambda item: item[0].split("/")):
            place = folder / path
            if stat.S_ISLNK(entry.mode):
                place.symlink_to(os.fsdecode(entry.data))
                continue
            if stat.S_ISDIR(entry.mode):
                place.mkdir()
            else:
                place.write_bytes(entry.data)
            place.chmod(stat.S_IMODE(entry.mode))


class RootFilesystem(Step, frozen=True):
    """Files, settings and modules to a newc archive, and a list of what it holds and whose it is.

    `sources`: the files that placements number, a list of files for each of `collected` (the parts that take files
    from packages), a tar of files for each of `generated` (the parts that they are made for); where `has_modules`, a
    tar of modules is the last. `targets`: the archive, the list of contents as JSON.
    """

    verb: ClassVar[str] = "ROOTFS"
    code: ClassVar[tuple[str, ...]] = (
        *("cpio.py", "programs.py", "elf.py", "packages.py", "manifest.py"),
        "../resolve/settings.py",
    )
    kernel: str
    placements: tuple[Placement, ...]
    folders: tuple[str, ...]
    settings: tuple[Record, ...]
    has_modules: bool
    programs: tuple[Allowed, ...]
    collected: tuple[str, ...] = ()
    generated: tuple[str, ...] = ()

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        tree = Tree()
        tree.add(CONSOLE, self.part)
        tree.take(workspace, sources, self.placements, self.collected, self.generated)
        if self.has_modules:
            for entry in _tar_entries(sources[-1]):
                tree.add(entry, self.kernel)
        settings = cpio.Entry(_relative(SETTINGS_PATH), stat.S_IFREG | 0o644, encode_settings(self.settings))
        tree.add(settings, self.part)
        tree.complete((*STANDARD_FOLDERS, *self.folders), self.part)
        check_programs(list(tree.entries.values()), tree.owners, self.programs)
        targets[0].write_bytes(cpio.archive(tree.entries.values()))
        targets[1].write_bytes(tree.contents())


def _walk(folder: Path) -> Iterable[Path]:
    for name, folders, names in os.walk(folder):
        links = [Path(name, entry) for entry in folders if Path(name, entry).is_symlink()]
        yield from (Path(name, entry) for entry in names)
        yield from links


def _placed(owner: str, tree: Path, path: Path, target: str, mode: int | None) -> PlacedFile:
    _check_name(owner, path.name)
    if path.is_symlink():
        link = str(path.readlink())
        _check_name(owner, link)
        inside = path.resolve().is_relative_to(tree.resolve()) and not link.startswith("/")
        if not inside:
            raise BuildError(
                f"The {part_name(owner)} adds the symbolic link '{path.name}', which leads out of its folder, "
                f"to '{link}'.",
                hint="Put the file itself there, or a relative link to a file in the same folder tree.",
            )
        return PlacedFile(target=target, owner=owner, mode=stat.S_IFLNK | 0o777, link=link)
    if not path.is_file():
        raise BuildError(f"The {part_name(owner)} adds '{path.name}', which is neither a file, a folder nor a link.")
    if mode is None:
        mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    return PlacedFile(target=target, owner=owner, mode=stat.S_IFREG | mode, path=path)


def _check_name(owner: str, name: str) -> None:
    """Raises BuildError for a name that a plan, which is JSON, cannot hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        raise BuildError(
            f"The {part_name(owner)} adds '{shown}', whose name is not UTF-8 text.", hint="Give the file another name."
        ) from None


def _entry(placement: Placement, sources: Sequence[Path]) -> cpio.Entry:
    path = _relative(placement.target)
    if placement.source < 0:
        return cpio.Entry(path, placement.mode, os.fsencode(placement.link))
    return cpio.Entry(path, placement.mode, sources[placement.source].read_bytes())


def _tar_entries(path: Path) -> list[cpio.Entry]:
    with tarfile.open(path) as archive:
        entries = []
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                entries.append(cpio.Entry(member.name, stat.S_IFREG | 0o644, stream.read()))
        return entries


def _content(entry: cpio.Entry, owner: str) -> Content:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFCHR: "device"}
    is_file = stat.S_ISREG(entry.mode)
    return Content(
        path=f"/{entry.path}",
        kind=kinds[stat.S_IFMT(entry.mode)],
        mode=stat.S_IMODE(entry.mode),
        owner=owner,
        size=len(entry.data),
        sha256=hashlib.sha256(entry.data).hexdigest() if is_file else "",
    )


def _relative(target: str) -> str:
    return target.lstrip("/")


def _who(owner: str) -> str:
    return "Rumpel itself" if owner == "kernel" else part_name(owner)
