"""`rumpel build`: images, through the one SCons build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rumpel.cli.images import BuildChoices, Built, Wanted, build_options, built, composition_options, open_project
from rumpel.cli.interrupts import Interrupted, interruptible
from rumpel.cli.output import echo_json
from rumpel.cli.terminal import say
from rumpel.errors import UsageError
from rumpel.resolve.plan import Frozen

if TYPE_CHECKING:
    from rumpel.build.manifest import ImageFile


class BuiltFile(Frozen, frozen=True):
    """One file of an image: its absolute path, SHA-256, size in bytes, format."""

    path: str
    sha256: str
    size: int
    format: str


class BuiltImage(Frozen, frozen=True):
    """One image, as `build --json` prints it. `initramfs`: what the kernel starts with, where the root filesystem is a
    disk; `firmware`: the machine's, where it is not QEMU's own; else null. `substitutions`: sources whose pinned
    version was gone."""

    composition: str
    directory: str
    manifest: str
    kernel: BuiltFile
    rootfs: BuiltFile
    plan: BuiltFile
    initramfs: BuiltFile | None
    firmware: BuiltFile | None
    substitutions: tuple[str, ...]


@click.command()
@click.argument("compositions", nargs=-1, metavar="COMPOSITION... | all")
@composition_options
@build_options
@click.option(
    "--json", "as_json", is_flag=True, help="Print the images' files as JSON: an object, or a list for several."
)
def build(compositions: tuple[str, ...], wanted: Wanted, choices: BuildChoices, as_json: bool) -> int:
    """Build images into 'build/COMPOSITION/KERNEL-MACHINE/' of the project; what is up to date is not built again."""
    if not compositions:
        raise UsageError("'rumpel build' needs the name of a composition.", hint="'rumpel list' lists them; or 'all'.")
    names = open_project().names("composition") if "all" in compositions else tuple(dict.fromkeys(compositions))
    images = []
    try:
        with interruptible():
            for name in names:
                image = built(name, wanted, choices)
                images.append(_described(image))
                say(f"'{name}' is built: {image.directory}")
    except Interrupted as signal:
        say(f"Interrupted by {signal}.")
        return signal.exit_status
    if as_json:
        echo_json(images if len(compositions) > 1 or "all" in compositions else images[0])
    return 0


def _described(image: Built) -> BuiltImage:
    manifest = image.manifest
    return BuiltImage(
        composition=manifest.composition,
        directory=str(image.directory),
        manifest=str(image.directory / "manifest.json"),
        kernel=_file(image, manifest.kernel),
        rootfs=_file(image, manifest.rootfs),
        plan=_file(image, manifest.plan),
        initramfs=_file(image, manifest.initramfs) if manifest.initramfs is not None else None,
        firmware=_file(image, manifest.firmware) if manifest.firmware is not None else None,
        substitutions=tuple(f"{each.source}: {each.pinned} -> {each.used}" for each in manifest.substitutions),
    )


def _file(image: Built, file: ImageFile) -> BuiltFile:
    return BuiltFile(path=str(image.path(file)), sha256=file.sha256, size=file.size, format=file.format)
