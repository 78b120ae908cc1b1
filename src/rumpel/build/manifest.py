"""The manifest of an image: every file of it with its digest, and what made it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import msgspec

from rumpel.build.kernel_debian import kernel_format
from rumpel.build.step import Step, Workspace
from rumpel.build.toolchain import Toolchain
from rumpel.errors import BuildError
from rumpel.resolve.plan import Frozen

MANIFEST_SCHEMA = 1

FileFormat = Literal["pvh", "bzimage", "cpio", "qcow2", "elf", "json", "text", "rom"]


class ImageFile(Frozen, frozen=True):
    """One file of an image: `path` relative to the image's folder, `size` in bytes.

    `format` is `pvh` or `bzimage` for a kernel, `cpio` or `qcow2` for a root filesystem, `elf` for a program with
    debugging information, `json` for data, `text` for a kernel's configuration, `rom` for a firmware.
    """

    path: str
    sha256: str
    size: int
    format: FileFormat


class Content(Frozen, frozen=True):
    """One entry of the root filesystem: `path` absolute in the guest, `owner` the part that brought it."""

    path: str
    kind: str
    mode: int
    owner: str
    size: int
    sha256: str


class ReplacedSource(Frozen, frozen=True):
    """A source whose pinned version was gone, and the version taken instead."""

    source: str
    pinned: str
    used: str


class Manifest(Frozen, frozen=True):
    """An image. `directory` is its folder relative to the project's root, with `/` between names.

    `debug` are its programs with symbols, for backtraces, and of a kernel that was built here its other forms; they are
    not part of what boots. `contents` is every entry of the root filesystem. Where that is a disk, `initramfs` is what
    the kernel starts with, to mount it. `firmware` is the machine's, where it is not QEMU's own.
    """

    schema: int
    composition: str
    directory: str
    kernel: ImageFile
    rootfs: ImageFile
    plan: ImageFile
    debug: tuple[ImageFile, ...]
    contents: tuple[Content, ...]
    tools: Toolchain
    substitutions: tuple[ReplacedSource, ...]
    initramfs: ImageFile | None = None
    initramfs_contents: tuple[Content, ...] = ()
    firmware: ImageFile | None = None

    def to_json(self) -> bytes:
        """The stable JSON form."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"


def load_manifest(path: Path) -> Manifest:
    """Read `manifest.json`. Raises BuildError where there is none or it is not a manifest of this version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BuildError(
            f"The manifest '{path}' cannot be read: {error.strerror}.", hint="Build the image first: rumpel build NAME"
        ) from error
    except msgspec.DecodeError as error:
        raise BuildError(
            f"The file '{path}' is not a manifest of version {MANIFEST_SCHEMA}: {error}.",
            hint="Build the image again: rumpel build NAME",
        ) from error


class WriteManifest(Step, frozen=True):
    """`sources`: kernel, root filesystem, plan, contents; where that is `on_disk`, the initramfs and its contents; the
    firmware where there is one; then the programs with symbols."""

    verb: ClassVar[str] = "MANIFEST"
    code: ClassVar[tuple[str, ...]] = ("kernel_debian.py",)
    composition: str
    directory: str
    tools: Toolchain
    substitutions: tuple[ReplacedSource, ...]
    on_disk: bool = False
    has_firmware: bool = False

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        kernel, rootfs, plan, contents, *rest = sources
        initial, rest = (rest[:2], rest[2:]) if self.on_disk else ([], rest)
        firmware, debug = (rest[0], rest[1:]) if self.has_firmware else (None, rest)
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            composition=self.composition,
            directory=self.directory,
            kernel=_image_file(kernel, "kernel", kernel_format(kernel)),
            rootfs=_image_file(rootfs, rootfs.name, "qcow2" if self.on_disk else "cpio"),
            plan=_image_file(plan, "plan.json", "json"),
            debug=tuple(_image_file(path, f"debug/{path.name}", _debug_format(path)) for path in debug),
            contents=_contents(contents),
            tools=self.tools,
            substitutions=self.substitutions,
            initramfs=_image_file(initial[0], initial[0].name, "cpio") if initial else None,
            initramfs_contents=_contents(initial[1]) if initial else (),
            firmware=_image_file(firmware, firmware.name, "rom") if firmware is not None else None,
        )
        targets[0].write_bytes(manifest.to_json())


class WritePlan(Step, frozen=True):
    """The plan's JSON, as it stands in the image's folder."""

    verb: ClassVar[str] = "PLAN"
    json: str

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        targets[0].write_text(self.json, "utf-8")


class Place(Step, frozen=True):
    """A shared piece into an image's folder: a hard link where the filesystem allows it, else a copy."""

    verb: ClassVar[str] = "PLACE"
    name: str

    @property
    def subject(self) -> str:
        return self.name

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        import shutil

        targets[0].unlink(missing_ok=True)
        try:
            targets[0].hardlink_to(sources[0])
        except OSError:
            shutil.copyfile(sources[0], targets[0])


def _contents(path: Path) -> tuple[Content, ...]:
    return msgspec.json.decode(path.read_bytes(), type=tuple[Content, ...])


def _debug_format(path: Path) -> FileFormat:
    if path.name == "bzImage":
        return "bzimage"
    return "text" if path.name == "kernel.config" else "elf"


def _image_file(path: Path, name: str, form: FileFormat) -> ImageFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ImageFile(path=name, sha256=digest, size=path.stat().st_size, format=form)
