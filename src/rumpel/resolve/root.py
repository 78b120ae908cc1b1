"""Where the root filesystem is: in memory, or on a disk. Decided when the plan is made, since a disk needs a driver."""

from __future__ import annotations

from collections.abc import Sequence

from rumpel.errors import ResolveError
from rumpel.model.lock import Lock
from rumpel.model.parts import Component, Composition, Kernel
from rumpel.resolve.needs import Need, Needs
from rumpel.resolve.plan import Root

SERIAL = "rootfs"
CAPABILITY = "root-disk"

# An initramfs is unpacked into memory as a whole, and that memory is never free again. What a disk costs at a start
# (a driver, a mount) is worth it from a few MiB on.
LIMIT = 4 << 20


def choose_root(
    composition: Composition, kernel: Kernel, components: Sequence[Component], lock: Lock, needs: Needs
) -> Root:
    """Choose by the size of the packages that files are taken from; a disk's driver and filesystem join `needs`.

    Raises ResolveError where the composition asks for a disk that the kernel cannot have.
    """
    packages = _packages_size(components, lock)
    able = CAPABILITY in kernel.provides or any(group.name == CAPABILITY for group in kernel.optional)
    if composition.root == "memory":
        return Root(because="the composition says so", packages=packages)
    taken = f"its packages take {_mebibytes(packages)}"
    if composition.root == "auto" and packages <= LIMIT:
        return Root(because=f"{taken}, not more than {_mebibytes(LIMIT)}", packages=packages)
    if composition.root == "auto" and not able:
        return Root(because=f"kernel '{kernel.name}' cannot have it on a disk", packages=packages)
    because = "the composition says so" if composition.root == "disk" else f"{taken}, more than {_mebibytes(LIMIT)}"
    for volume in composition.volumes:
        if volume.name == SERIAL:
            raise ResolveError(
                f"{volume.location}: a volume cannot be called '{SERIAL}': the root filesystem's disk is.",
                hint="Give it another name.",
                parts=[f"composition/{composition.name}"],
            )
    by = ("composition", composition.name)
    needs.satisfy(Need(CAPABILITY, by, composition.location, f"its root filesystem is on a disk: {because}"))
    return Root(kind="disk", because=because, packages=packages, serial=SERIAL)


def _packages_size(components: Sequence[Component], lock: Lock) -> int:
    """In bytes, compressed as they are fetched; what is compiled in is small, and not counted."""
    names = {source.name for part in components if part.packages is not None for source in part.sources}
    entries = [entry for name in sorted(names) if (entry := lock.get(name)) is not None]
    return sum(file.size for entry in entries for file in entry.files)


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
