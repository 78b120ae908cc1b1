"""An image's root filesystem as steps: one archive in memory, or a disk and the archive that the kernel starts with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rumpel.build.programs import Allowed
from rumpel.build.rootdisk import RootDisk
from rumpel.build.rootfs import PlacedFile, Placement, RootFilesystem
from rumpel.resolve.needs import DYNAMIC_LINKING
from rumpel.resolve.plan import Plan
from rumpel.resolve.settings import settings_of

Node = Any  # SCons has no types


@dataclass(frozen=True)
class Placed:
    """A file and the node that makes it; a link has none."""

    file: PlacedFile
    node: Node


@dataclass(frozen=True)
class Declared:
    """The nodes of a root filesystem: its file, the list of its contents; of a disk also the initramfs and the list of
    its contents."""

    rootfs: Node
    contents: Node
    initramfs: tuple[Node, Node] | None = None


@dataclass(frozen=True)
class Roots:
    """`collected` holds a list of files for each part that takes some from packages, `generated` an archive for each
    part that some are made for; `modules` are the kernel's, as one archive, or nothing."""

    plan: Plan
    folder: str
    collected: Mapping[str, Node]
    generated: Mapping[str, Node]
    modules: Sequence[Node]

    def declare(self, step: Callable[..., list[Node]], placed: Sequence[Placed], init: Sequence[Placed]) -> Declared:
        """Declare what the plan asks for. `init` is what the kernel itself starts."""
        if self.plan.root.kind == "memory":
            rootfs, contents = self._archive(step, [*placed, *init], "rootfs", self._programs(init))
            return Declared(rootfs, contents)
        placements, sources = numbered(placed)
        disk = RootDisk(
            part=self._part,
            placements=placements,
            collected=tuple(self.collected),
            generated=tuple(self.generated),
            folders=self._mounts,
            programs=self._programs(()),
        )
        targets = [f"{self.folder}/rootfs.qcow2", f"{self.folder}/parts/contents.json"]
        rootfs, contents = step(disk, [*sources, *self.collected.values(), *self.generated.values()], targets)
        first = self._archive(step, init, "initramfs", _allowed(init))
        return Declared(rootfs, contents, (first[0], first[1]))

    @property
    def _part(self) -> str:
        return f"composition/{self.plan.composition}"

    @property
    def _mounts(self) -> tuple[str, ...]:
        return tuple(volume.mount for volume in self.plan.volumes)

    def _archive(
        self,
        step: Callable[..., list[Node]],
        placed: Sequence[Placed],
        name: str,
        programs: tuple[Allowed, ...],
    ) -> list[Node]:
        placements, sources = numbered(placed)
        packages = [self.collected, self.generated] if name == "rootfs" else [{}, {}]
        archive = RootFilesystem(
            part=self._part,
            kernel=f"kernel/{self.plan.kernel.name}",
            placements=placements,
            folders=self._mounts if name == "rootfs" else (),
            settings=settings_of(self.plan),
            has_modules=bool(self.modules),
            programs=programs,
            collected=tuple(packages[0]),
            generated=tuple(packages[1]),
        )
        listing = "contents" if name == "rootfs" else f"{name}-contents"
        targets = [f"{self.folder}/{name}.cpio", f"{self.folder}/parts/{listing}.json"]
        return step(archive, [*sources, *packages[0].values(), *packages[1].values(), *self.modules], targets)

    def _programs(self, init: Sequence[Placed]) -> tuple[Allowed, ...]:
        """The programs that the plan names: the composition's, the runtime that runs it, and init."""
        dynamic = DYNAMIC_LINKING in dict(self.plan.capabilities)
        return _allowed(init) + tuple(
            Allowed(path=part.entry, owner=f"component/{part.name}", runtime=part.runtime, dynamic=dynamic)
            for part in self.plan.components
            if part.role in ("program", "runtime")
        )


def _allowed(init: Sequence[Placed]) -> tuple[Allowed, ...]:
    return tuple(Allowed(path=each.file.target, owner=each.file.owner) for each in init)


def numbered(placed: Sequence[Placed]) -> tuple[tuple[Placement, ...], list[Node]]:
    """Placements that name their sources by number, and those sources."""
    placements = []
    sources: list[Node] = []
    for each in placed:
        file = each.file
        number = -1 if file.link else len(sources)
        if not file.link:
            sources.append(each.node)
        placements.append(
            Placement(target=file.target, owner=file.owner, mode=file.mode, source=number, link=file.link)
        )
    return tuple(placements), sources
