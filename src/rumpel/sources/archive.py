"""Reading archives that somebody else made: ar, tar and zip, with nothing ever written outside the tree.

Nothing is written through a link; names with `..`, devices and links out of the tree are errors. Of a file's mode only
"executable" is kept, so the tree is the same whatever the archive, the user or the umask.
"""

from __future__ import annotations

import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from rumpel.errors import SourceError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


def unpack_deb(source: str, path: Path, tree: Path) -> None:
    """Unpack the files of a binary package (deb(5)) into the existing folder `tree`.

    An absolute symbolic link means a path of the guest's root: it is made relative to the tree.
    """
    with path.open("rb") as stream:
        for name, size in _ar_members(source, stream):
            if name.startswith("data.tar"):
                compression = name.removeprefix("data.tar")
                if compression not in ("", ".gz", ".xz", ".bz2"):
                    raise _bad(source, f"its '{name}' is compressed in a way that cannot be read")
                data = io.BufferedReader(_Window(stream, size), 1 << 20)
                _unpack_tar_stream(source, data, tree, strip=0, absolute_links=True)
                return
    raise _bad(source, "it has no member 'data.tar'")


def unpack_tar(source: str, path: Path, tree: Path, *, strip: int) -> None:
    """Unpack a tar archive (gzip, bzip2, xz or none) into `tree`, without the first `strip` parts of each name."""
    with path.open("rb") as stream:
        _unpack_tar_stream(source, stream, tree, strip=strip, absolute_links=False)


def unpack_zip(source: str, path: Path, tree: Path, *, strip: int) -> None:
    """Unpack a zip archive into `tree`, without the first `strip` parts of each name. Links in it are errors."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                parts = _parts(source, info.filename, strip)
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _bad(source, f"'{info.filename}' is neither a file nor a folder")
                if not parts:
                    continue
                if info.is_dir():
                    _make_folder(source, tree, parts)
                else:
                    with archive.open(info) as content:
                        _write(source, tree, parts, content, executable=bool(mode & 0o111))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _bad(source, f"it cannot be read: {error}") from None


def check_links(source: str, tree: Path) -> None:
    """Raise SourceError if a symbolic link below `tree` leads out of it, over whatever other links."""
    root = Path(os.path.realpath(tree))
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                target = Path(os.path.realpath(path))
                if target != root and root not in target.parents:
                    raise _bad(source, f"the link '{path.relative_to(root)}' to '{path.readlink()}' leads out of it")


def _unpack_tar_stream(source: str, stream: IO[bytes], tree: Path, *, strip: int, absolute_links: bool) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as archive:
            for member in archive:
                _unpack_member(source, archive, member, tree, strip, absolute_links)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError) as error:
        raise _bad(source, f"it cannot be read: {error}") from None
    check_links(source, tree)


def _unpack_member(
    source: str, archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Path, strip: int, absolute_links: bool
) -> None:
    parts = _parts(source, member.name, strip)
    if not parts:
        return
    if member.isdir():
        _make_folder(source, tree, parts)
    elif member.isreg():
        content = archive.extractfile(member)
        if content is None:
            raise _bad(source, f"'{member.name}' has no content")
        _write(source, tree, parts, content, executable=bool(member.mode & 0o111))
    elif member.issym():
        place = _place(source, tree, parts)
        target = member.linkname
        if target.startswith("/"):
            if not absolute_links:
                raise _bad(source, f"the link '{member.name}' to '{target}' leads out of it")
            target = os.path.relpath(tree / target.lstrip("/"), place.parent)
        place.symlink_to(target)
    elif member.islnk():
        target_path = tree.joinpath(*_parts(source, member.linkname, strip))
        if not _is_plain_file(source, tree, target_path):
            raise _bad(source, f"'{member.name}' is a hard link to '{member.linkname}', which is no file in it")
        shutil.copy2(target_path, _place(source, tree, parts))
    else:
        raise _bad(source, f"'{member.name}' is neither a file, a folder nor a link")


def _is_plain_file(source: str, tree: Path, path: Path) -> bool:
    try:
        _check_parents(source, tree, path)
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _parts(source: str, name: str, strip: int) -> tuple[str, ...]:
    """The parts of a member's name below the tree. Raises SourceError if it would leave the tree."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise _bad(source, f"the name '{name}' leads out of it")
    return path.parts[strip:]


def _make_folder(source: str, tree: Path, parts: tuple[str, ...]) -> None:
    path = tree.joinpath(*parts)
    _check_parents(source, tree, path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise _bad(source, f"'{'/'.join(parts)}' is there twice, as a folder and as something else")
    path.mkdir(parents=True, exist_ok=True)


def _place(source: str, tree: Path, parts: tuple[str, ...]) -> Path:
    """The path for a new file or link: its folder is there, and what had its name before is removed."""
    path = tree.joinpath(*parts)
    _check_parents(source, tree, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        raise _bad(source, f"'{'/'.join(parts)}' is there twice, as a folder and as something else")
    path.unlink(missing_ok=True)
    return path


def _check_parents(source: str, tree: Path, path: Path) -> None:
    """Every folder between the tree and `path` must be a folder, not a link: nothing is written through a link."""
    for parent in path.parents:
        if parent == tree:
            return
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            raise _bad(
                source, f"'{path.relative_to(tree)}' lies below '{parent.relative_to(tree)}', which is no folder"
            )


def _write(source: str, tree: Path, parts: tuple[str, ...], content: IO[bytes], *, executable: bool) -> None:
    path = _place(source, tree, parts)
    with path.open("xb") as writer:
        shutil.copyfileobj(content, writer, 1 << 20)
        os.fchmod(writer.fileno(), 0o755 if executable else 0o644)


def _ar_members(source: str, stream: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Name and size of each member (ar(5)); the stream stands at the member's content when it is answered."""
    if stream.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise _bad(source, "it is not a Debian package")
    while header := stream.read(_AR_HEADER):
        if len(header) != _AR_HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise _bad(source, "it is cut off or damaged")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = int(header[48:58])
        start = stream.tell()
        yield name, size
        stream.seek(start + size + size % 2)


class _Window(io.RawIOBase):
    """The next `size` bytes of a stream, as a stream of their own."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def _bad(source: str, why: str) -> SourceError:
    return SourceError(
        f"Source '{source}': its archive was not unpacked: {why}.",
        hint="The archive itself is what was pinned; do not use it, and tell whoever publishes it.",
        source=source,
    )
