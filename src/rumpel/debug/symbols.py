"""What GDB is to know of an image: which files hold symbols, where a program's start is seen, where sources lie.

A program is position-independent and gets another address at each start. All kernels hand the address of its first
instruction to one function, as its second argument: there the address is read (`inside`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from rumpel.debug import elffile, kallsyms
from rumpel.machine.instance import Image
from rumpel.places import own_root, trees_dir
from rumpel.resolve.plan import Frozen, Plan

StopAt = Literal["main", "entry", "kernel", "reset"]
STOPS: tuple[StopAt, ...] = ("main", "entry", "kernel", "reset")

# By kernel recipe: the function that gets a program's first address as its second argument, and the kernel's own first
# one. Linux: arch/x86/kernel/process_64.c, init/main.c.
_STARTS_PROGRAM = {"nano": "hal_frame_init", "linux": "start_thread", "debian": "start_thread"}
_KERNEL_MAIN = {"nano": "kernel_main", "linux": "start_kernel", "debian": "start_kernel"}
# The prefix that builds write in place of the folders that sources lie in.
_PREFIX = "/src"


class ProgramSymbols(Frozen, frozen=True):
    """One program: its file with symbols, the addresses in that file of its first instruction and of `main` (0: it has
    none). `is_main`: the composition's, not the guest's init."""

    name: str
    file: str
    entry: int
    main: int
    is_main: bool


class Knowledge(Frozen, frozen=True):
    """What is handed to GDB. `programs` in the order in which the guest starts them; an address of 0 is not known;
    `sources` are the first parts of sources' paths and what they stand for. `remarks` are sentences about what is
    missing."""

    kernel: str
    kernel_main: int
    starts_program: int
    programs: tuple[ProgramSymbols, ...]
    sources: tuple[tuple[str, str], ...]
    stop: StopAt
    socket: str = ""
    remarks: tuple[str, ...] = ()


def knowledge_of(plan: Plan, image: Image, folder: Path, stop: StopAt) -> Knowledge:
    """Look at the files of `image`; symbols that have to be written down first go into `folder`, which is there.

    What cannot be known is left out, and said in `remarks`: a program of a package has no symbols, and without the
    kernel's no program's start is seen.
    """
    remarks: list[str] = []
    debug = Path(image.kernel).parent / "debug"
    kernel = _kernel_symbols(plan, image, debug, folder)
    starts, main = _STARTS_PROGRAM[plan.kernel.recipe], _KERNEL_MAIN[plan.kernel.recipe]
    known: dict[str, int] = {}
    if kernel is None:
        remarks.append(f"The kernel '{plan.kernel.name}' has no symbols.")
    else:
        known = elffile.addresses(kernel.read_bytes(), (starts, main))
    found = [_program(debug / "init", is_main=False)] if plan.kernel.init else []
    entry = plan.components[0].entry
    found.append(_program(debug / Path(entry).name, is_main=True))
    programs = tuple(program for program in found if program is not None)
    if not any(program.is_main for program in programs):
        remarks.append(f"The program '{entry}' was not built here: it has no symbols.")
    if starts not in known or not any(program.is_main for program in programs):
        if stop in ("main", "entry"):
            remarks.append("So the machine stops in the kernel's first function instead of the program's.")
            stop = "kernel"
        if main not in known:
            stop = "reset"
    return Knowledge(
        kernel="" if kernel is None else str(kernel), kernel_main=known.get(main, 0),
        starts_program=known.get(starts, 0), programs=programs, sources=_sources(plan, image), stop=stop,
        remarks=tuple(remarks),
    )  # fmt: skip


def _kernel_symbols(plan: Plan, image: Image, debug: Path, folder: Path) -> Path | None:
    """The file with the kernel's symbols; that of a kernel without any is made out of those that it carries inside."""
    built = debug / {"nano": "kernel", "linux": "vmlinux"}.get(plan.kernel.recipe, "")
    if built.is_file():
        return built
    data = Path(image.kernel).read_bytes()
    symbols = kallsyms.symbols_of(data) if elffile.is_elf64(data) else []
    if not symbols:
        return None
    path = folder / "kernel.symbols"
    elffile.write_symbols(path, symbols)
    return path


def _program(file: Path, *, is_main: bool) -> ProgramSymbols | None:
    if not file.is_file():
        return None
    data = file.read_bytes()
    if not elffile.is_elf64(data):
        return None
    return ProgramSymbols(
        name=file.name, file=str(file), entry=elffile.entry_of(data), is_main=is_main,
        main=elffile.addresses(data, ("main",)).get("main", 0),
    )  # fmt: skip


def _sources(plan: Plan, image: Image) -> tuple[tuple[str, str], ...]:
    """GDB takes the first pair that fits: the folders of parts, each in the root that holds it, before the project."""
    from rumpel.sources.unpack import tree_of

    roots = tuple(dict.fromkeys((Path(image.project or "."), own_root())))
    parts = [component.directory for component in plan.components]
    parts += [driver.directory for driver in plan.drivers]
    parts += [plan.kernel.directory, *(str(Path(file).parent) for file in (*plan.kernel.platform, *plan.kernel.init))]
    parts += ["hal"]
    found = []
    for part in sorted(dict.fromkeys(parts), reverse=True):  # a folder before the one that it lies in
        root = next((root for root in roots if (root / part).is_dir()), None)
        if root is not None:
            found.append((f"{_PREFIX}/{part}", str(root / part)))
    trees = [(source.name, tree_of(source, trees_dir())) for source in plan.sources]
    found += [(f"{_PREFIX}/{name}", str(tree)) for name, tree in trees if tree.is_dir()]
    return (*found, (_PREFIX, str(roots[0])))


def to_json(knowledge: Knowledge) -> bytes:
    """As `inside` reads it."""
    return msgspec.json.format(msgspec.json.encode(knowledge), indent=2) + b"\n"
