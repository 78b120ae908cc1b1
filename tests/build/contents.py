"""What an image and the packages of its plan hold, read from their bytes alone, by no code of the build's."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rumpel.build.manifest import Manifest
from rumpel.places import store_dir
from rumpel.resolve.plan import Source


@dataclass(frozen=True)
class File:
    """One entry of a root filesystem: type and permissions (inode(7)), owner, a file's content or a link's target."""

    mode: int
    owner: tuple[int, int] = (0, 0)
    data: bytes = b""
    device: tuple[int, int] = (0, 0)

    @property
    def is_executable(self) -> bool:
        return stat.S_ISREG(self.mode) and self.mode & 0o111 != 0


def newc(data: bytes) -> dict[str, File]:
    """The entries of one newc archive by absolute path (Linux Documentation, buffer-format.rst); it must be the only
    one in `data`."""
    files: dict[str, File] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701", f"no entry of an archive at byte {at}"
        words = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        _, mode, uid, gid, _, _, size, _, _, major, minor, length, _ = words
        name = data[at + 110 : at + 110 + length - 1].decode()
        start = _aligned(at + 110 + length)
        at = _aligned(start + size)
        if name == "TRAILER!!!":
            assert not data[at:].strip(b"\0"), "something follows the archive"
            return files
        assert f"/{name}" not in files, name
        files[f"/{name}"] = File(mode, (uid, gid), data[start : start + size], (major, minor))


def _aligned(offset: int) -> int:
    return -(-offset // 4) * 4


def extract(disk: Path, scratch: Path, *options: str) -> None:
    """The entries of the erofs filesystem in a qcow2 file, as qemu-img and erofs-utils read them, into the new folder
    `scratch`."""
    with tempfile.NamedTemporaryFile(dir=scratch.parent) as plain:
        unpack = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), plain.name]
        for command in (unpack, ["fsck.erofs", f"--extract={scratch}", *options, plain.name]):
            subprocess.run(command, check=True, timeout=200, capture_output=True)


def on_disk(disk: Path, scratch: Path) -> dict[str, File]:
    """The entries of a root filesystem's disk by absolute path, by way of the new folder `scratch`."""
    extract(disk, scratch, "--preserve")
    files = {}
    for path in scratch.rglob("*"):
        found = path.lstat()
        content = b""
        if path.is_symlink():
            content = str(path.readlink()).encode()
        elif path.is_file():
            content = path.read_bytes()
        files[f"/{path.relative_to(scratch)}"] = File(found.st_mode, (found.st_uid, found.st_gid), content)
    return files


def roots_of(manifest: Manifest, project: Path, scratch: Path) -> tuple[dict[str, File], dict[str, File]]:
    """The root that the program sees, and the initramfs that the kernel starts with (the same one, where the root is in
    memory)."""
    folder = project / manifest.directory
    if manifest.initramfs is None:
        files = newc((folder / manifest.rootfs.path).read_bytes())
        return files, files
    initial = newc((folder / manifest.initramfs.path).read_bytes())
    return on_disk(folder / manifest.rootfs.path, scratch / "root"), initial


@functools.cache
def pinned(source: Source) -> dict[str, frozenset[str]]:
    """The paths of a package's files by the SHA-256 of their content, read from the file that the plan pins."""
    found: dict[str, set[str]] = {}
    for path, content in _packaged(source):
        found.setdefault(hashlib.sha256(content).hexdigest(), set()).add(path)
    return {digest: frozenset(paths) for digest, paths in found.items()}


def _packaged(source: Source) -> Iterator[tuple[str, bytes]]:
    (file,) = source.files
    path = store_dir() / file.sha256[:2] / file.sha256
    assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    if source.kind == "pypi":
        with zipfile.ZipFile(path) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if not name.endswith("/"))
    elif source.kind == "npm":
        with tarfile.open(path) as archive:
            for name, content in _members(archive):  # all below one folder, most often called 'package'
                yield name.partition("/")[2], content
    else:
        command = ["dpkg-deb", "--fsys-tarfile", str(path)]
        done = subprocess.run(command, check=True, timeout=120, capture_output=True)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            for name, content in _members(archive):
                yield "/" + name.removeprefix("./"), content


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        stream = archive.extractfile(member) if member.isfile() else None
        if stream is not None:
            yield member.name, stream.read()


@dataclass(frozen=True)
class Linked:
    """What an ELF file says of others: the dynamic linker that it asks for (empty: none) and the libraries it needs."""

    interpreter: str
    needed: frozenset[str]
    is_program: bool


@functools.cache
def linked(data: bytes) -> Linked:
    """What `readelf` reads of an ELF file's bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        words = ["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", file.name]
        done = subprocess.run(words, check=True, timeout=60, capture_output=True, env={**os.environ, "LC_ALL": "C"})
    lines = [line.strip() for line in done.stdout.decode().splitlines()]
    interpreter = next((line.split(": ")[1][:-1] for line in lines if "program interpreter:" in line), "")
    needed = frozenset(line.split("[")[1][:-1] for line in lines if "(NEEDED)" in line)
    fixed = any(line.startswith("Type:") and "EXEC" in line for line in lines)
    return Linked(interpreter, needed, fixed or any("(FLAGS_1)" in line and "PIE" in line for line in lines))
