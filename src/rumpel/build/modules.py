"""Kernel modules: the ones that drivers name, with everything they depend on, in load order.

A module's own `.modinfo` section says what it needs (`depends=`), so the result does not rest on `modules.dep`,
which a Debian package gets only when it is installed. In names, `-` and `_` are the same (kmod's rule).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rumpel.build.step import part_name
from rumpel.errors import BuildError
from rumpel.resolve.plan import Frozen


class WantedModule(Frozen, frozen=True):
    """A module that the plan names, and the part ("driver/virtio-net") that names it."""

    part: str
    module: str


@dataclass(frozen=True)
class ModuleTree:
    """`/lib/modules/VERSION` of one kernel: where each module is, and which are built into the kernel."""

    version: str
    present: dict[str, Path] = field(repr=False)
    builtin: frozenset[str] = field(repr=False)


def read_tree(folder: Path) -> ModuleTree:
    """The modules below `folder`, whose name is the kernel's version. Raises BuildError where it has none."""
    listing = folder / "modules.builtin"
    if not listing.is_file():
        raise BuildError(f"The kernel {folder.name} has no list of built-in modules ('{listing.name}').")
    builtin = frozenset(normalised(Path(line).stem) for line in listing.read_text("utf-8").split())
    present = {normalised(path.stem): path for path in sorted(folder.rglob("*.ko"))}
    return ModuleTree(version=folder.name, present=present, builtin=builtin)


def load_order(tree: ModuleTree, wanted: tuple[WantedModule, ...]) -> tuple[Path, ...]:
    """Every wanted module after what it depends on, in the plan's order; built-in ones are left out.

    Raises BuildError where a module is neither in the kernel nor beside it.
    """
    order: dict[str, Path] = {}
    for want in wanted:
        for name in _closure(tree, want, normalised(want.module), ()):
            order.setdefault(name, tree.present[name])
    return tuple(order.values())


def _closure(tree: ModuleTree, want: WantedModule, name: str, users: tuple[str, ...]) -> Iterator[str]:
    if name in tree.builtin or name in users:
        return
    path = tree.present.get(name)
    if path is None:
        needed = f" (which '{users[-1]}' depends on)" if users else ""
        raise BuildError(
            f"The {part_name(want.part)} needs the kernel module '{want.module if not users else name}'{needed}; "
            f"the kernel {tree.version} has it neither built in nor as a module.",
            hint=f"Correct 'modules' in the description file of {part_name(want.part)}, or choose another kernel.",
        )
    depends, soft = module_needs(path)
    for need in depends:
        yield from _closure(tree, want, normalised(need), (*users, name))
    for need in soft:
        # A soft dependency is loaded where it exists and is no error where it does not (modprobe.d(5)).
        if normalised(need) in tree.present:
            yield from _closure(tree, want, normalised(need), (*users, name))
    yield name


def module_needs(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a module's `.modinfo` names as `depends=`, and as `softdep=pre:`."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".modinfo")
            data = section.data() if section is not None else b""
    except ELFError as error:
        raise BuildError(f"The kernel module '{path.name}' is not an ELF file: {error}.") from error
    depends: list[str] = []
    soft: list[str] = []
    for entry in data.decode("utf-8", "replace").split("\0"):
        key, _, value = entry.partition("=")
        if key == "depends":
            depends += [name for name in value.split(",") if name]
        elif key == "softdep":
            before = value.partition("post:")[0]
            soft += before.partition("pre:")[2].split()
    return tuple(depends), tuple(soft)


def normalised(name: str) -> str:
    """A module's name as the kernel itself has it."""
    return name.replace("-", "_")
