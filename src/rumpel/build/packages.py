"""What a component takes from its packages: its program, the shared libraries that it needs, the files that it names.

Nothing else of a package gets into an image. The libraries are what the files themselves name (DT_NEEDED), followed to
the end; what is loaded in another way (dlopen) is named by the component. The answer of a step is a list of files and
where they go, so that big packages are not copied about.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import msgspec

from rumpel.build.elf import ARCHITECTURE, Elf, is_elf, read_elf
from rumpel.build.libraries import SEARCHED, TreeView, package_of
from rumpel.build.patterns import compiled
from rumpel.build.step import Step, TreePath, Workspace, part_name
from rumpel.errors import BuildError
from rumpel.resolve.plan import Frozen, Packages, Source

FILE = stat.S_IFREG | 0o644
PROGRAM = stat.S_IFREG | 0o755


class Collected(Frozen, frozen=True):
    """A file of a package, and its place in the guest."""

    target: str
    mode: int
    file: TreePath


def read_collected(path: Path) -> list[Collected]:
    """What a `CollectPackages` step has written."""
    return msgspec.json.decode(path.read_bytes(), type=list[Collected])


class MissingLibraryError(BuildError):
    """Something needs `library`, which no package holds. `needed_by` is what needs it, the program first."""

    def __init__(self, message: str, *, hint: str, library: str, needed_by: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.library = library
        self.needed_by = needed_by


class CollectPackages(Step, frozen=True):
    """`targets`: a JSON list of `Collected`, sorted by target. `entry` is empty where no package holds the program."""

    verb: ClassVar[str] = "COLLECT"
    code: ClassVar[tuple[str, ...]] = ("elf.py", "libraries.py", "collect_modules.py", "patterns.py")
    directory: str
    entry: str
    packages: Packages
    sources: tuple[Source, ...]

    def run(self, workspace: Workspace, sources: Sequence[Path], targets: Sequence[Path]) -> None:
        found = _Collection(self, workspace).collect()
        ordered = sorted(found, key=lambda each: each.target)
        targets[0].write_bytes(msgspec.json.format(msgspec.json.encode(ordered, order="sorted"), indent=2) + b"\n")


class _Collection:
    def __init__(self, step: CollectPackages, workspace: Workspace) -> None:
        self.step = step
        self.part = part_name(step.part)
        self.workspace = workspace
        self.debs = [source for source in step.sources if source.kind == "deb"]
        self.view = TreeView([(source, workspace.unpack(source)) for source in self.debs])
        self.found: dict[str, Collected] = {}
        self.linked: set[str] = set()

    def collect(self) -> Iterable[Collected]:
        from rumpel.build.collect_modules import node_modules, python_packages

        if self.step.entry:
            self._program()
        for file in self._named():
            self._add(str(file[0]), file[1], FILE)
        for module in node_modules(self.step.part, self.step.packages, self.step.sources, self.workspace):
            self._add(module.target, module.file, FILE)
        for module in python_packages(self.step.part, self.step.packages, self.step.sources, self.workspace):
            self._add(module.target, module.file, FILE)
        for name in self.step.packages.libraries:
            self._library(name, (self.step.part.partition("/")[2],), ())
        return self.found.values()

    def _program(self) -> None:
        file = self._find_program()
        data = self._read(file)
        if not is_elf(data):
            raise BuildError(
                f"The program '{self.step.entry}' of {self.part}, from the package '{file.source.package}', is not an "
                "ELF program.",
                hint="A program that another one runs has 'runtime', and its file is named under 'files'.",
            )
        elf = self._elf(data, f"The program '{self.step.entry}' of {self.part}")
        if not elf.is_program:
            raise BuildError(
                f"The file '{self.step.entry}' of {self.part}, from the package '{file.source.package}', is a shared "
                "library, not a program.",
                hint=self._correct("entry"),
            )
        self._add(self.step.entry, file, PROGRAM)

    def _find_program(self) -> TreePath:
        inside = self.step.packages.program
        if not inside:
            file = self.view.find(self.step.entry)
            if file is not None:
                return file
            raise self._no_program(self.step.entry, self.debs, list(self.view.programs()))
        sources = [source for source in self.step.sources if source.kind == "npm" and not self._is_module(source)]
        held = []
        for source in sources:
            tree = self.workspace.unpack(source)
            if (tree / inside).is_file():
                return TreePath(source=source, path=inside)
            held += list(TreeView([(source, tree)]).programs())
        raise self._no_program(inside, sources, held)

    def _is_module(self, source: Source) -> bool:
        return any(module.source == source.name for module in self.step.packages.modules)

    def _no_program(self, wanted: str, sources: Sequence[Source], held: Sequence[str]) -> BuildError:
        names = ", ".join(f"'{source.package}'" for source in sources) or "none"
        what = f"The {self.part} names the program '{wanted}', but its packages ({names}) do not hold it"
        if not held:
            return BuildError(
                f"{what}, nor any other program.", hint="Name the package that holds the program under 'sources'."
            )
        return BuildError(
            f"{what}.", hint=f"Programs that they hold: {', '.join(repr(each) for each in sorted(held)[:20])}."
        )

    def _named(self) -> Iterator[tuple[str, TreePath]]:
        """The files that the component's patterns match; a pattern that matches nothing is an error."""
        patterns = self.step.packages.files
        if not patterns:
            return
        left_out = [compiled(pattern) for pattern in self.step.packages.without]
        everything = sorted(self.view.files())
        for pattern in patterns:
            matched = [path for path in everything if compiled(pattern).fullmatch(path)]
            if not matched:
                names = ", ".join(f"'{source.package}'" for source in self.debs)
                raise BuildError(
                    f"The {self.part} names the file '{pattern}', but its packages ({names}) hold no such file.",
                    hint=self._correct("deb.files"),
                )
            for path in matched:
                file = self.view.find(path)
                if file is not None and not any(each.fullmatch(path) for each in left_out):
                    yield path, file

    def _add(self, target: str, file: TreePath, mode: int) -> None:
        """Put a file into the guest, and with an ELF file what it needs."""
        if target in self.found:
            return
        self.found[target] = Collected(target=target, mode=mode, file=file)
        path = self.workspace.resolve(file)
        with path.open("rb") as stream:
            if not is_elf(stream.read(4)):
                return
        elf = self._elf(path.read_bytes(), f"The file '{target}' of {self.part}")
        self._link(elf, (PurePosixPath(target).name,), str(PurePosixPath(target).parent))

    def _link(self, elf: Elf, chain: tuple[str, ...], origin: str) -> None:
        if elf.interpreter and elf.interpreter not in self.found:
            file = self.view.find(elf.interpreter)
            if file is None:
                raise self._missing(elf.interpreter, chain, "dynamic linker")
            self.found[elf.interpreter] = Collected(target=elf.interpreter, mode=PROGRAM, file=file)
            self.linked.add(PurePosixPath(elf.interpreter).name)
        folders = tuple(folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for folder in elf.folders)
        for name in elf.needed:
            self._library(name, chain, folders)

    def _library(self, name: str, chain: tuple[str, ...], folders: tuple[str, ...]) -> None:
        if name in self.linked:
            return
        for folder in (*folders, *SEARCHED):
            file = self.view.find(f"{folder}/{name}")
            if file is not None:
                break
        else:
            raise self._missing(name, chain, "shared library")
        self.linked.add(name)
        # In the folder that the dynamic linker looks into first, under the name that it looks for.
        target = f"{SEARCHED[0]}/{name}" if folder in SEARCHED else f"{folder}/{name}"
        self.found.setdefault(target, Collected(target=target, mode=FILE, file=file))
        elf = self._elf(self._read(file), f"The shared library '{name}' of {self.part}")
        self._link(elf, (*chain, name), str(PurePosixPath(target).parent))

    def _missing(self, name: str, chain: tuple[str, ...], what: str) -> BuildError:
        way = " -> ".join((*chain, PurePosixPath(name).name))
        package = package_of(PurePosixPath(name).name)
        return MissingLibraryError(
            f"The {part_name(self.step.part)} needs the {what} '{name}', which none of its packages holds: {way}.",
            hint=f"Add the package to 'sources' in {self.step.directory}/component.yaml; by Debian's naming rule it is "
            f"'{package}: {{deb: {package}}}'. Then pin it: `rumpel lock --update {package}`.",
            library=name,
            needed_by=chain,
        )

    def _elf(self, data: bytes, what: str) -> Elf:
        elf = read_elf(data, what)
        if elf.architecture != ARCHITECTURE:
            raise BuildError(
                f"{what} is for the architecture '{elf.architecture}', not for {ARCHITECTURE}.",
                hint="Take the package, or the file, for x86-64 (Debian: amd64, npm: linux-x64).",
            )
        return elf

    def _read(self, file: TreePath) -> bytes:
        return self.workspace.resolve(file).read_bytes()

    def _correct(self, key: str) -> str:
        return f"Correct '{key}' in {self.step.directory}/component.yaml."
