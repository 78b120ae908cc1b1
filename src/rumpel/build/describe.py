"""A first `component.yaml` for a Debian package: its program, the packages of its libraries, its licence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rumpel.build.libraries import TreeView, package_of
from rumpel.build.packages import CollectPackages, MissingLibraryError
from rumpel.build.step import Workspace
from rumpel.errors import BuildError
from rumpel.model.lock import Lock
from rumpel.places import trees_dir
from rumpel.resolve.plan import Packages, Source, SourceFile
from rumpel.sources import Declaration, Progress, Store, ensure, silent, unpack
from rumpel.sources.apt import Archive, BinaryPackage
from rumpel.sources.control import paragraphs
from rumpel.sources.debian import entry_of, newest
from rumpel.sources.substitutions import archive_for


@dataclass(frozen=True)
class Described:
    """What was found: the Debian packages in the order in which they were needed, the program's path and the others
    that could have been meant, the licence as an SPDX expression (empty: not to be read). `related` are packages of the
    same name's beginning that it depends on, where its files may be."""

    packages: tuple[str, ...]
    program: str
    others: tuple[str, ...]
    license: str
    summary: str
    related: tuple[str, ...] = ()


def describe(package: str, release: str, progress: Progress = silent) -> Described:
    """Fetch `package` and what its program needs. Raises SourceError where it does not exist, BuildError where it has
    no program or a library is nowhere."""
    return _Search(release, progress).describe(package)


class _Search:
    def __init__(self, release: str, progress: Progress) -> None:
        self.store = Store()
        self.progress = progress
        self.archive: Archive = archive_for(self.store, release, progress)
        self.release = release
        self.index: dict[str, BinaryPackage | None] = {}
        self.sources: dict[str, Source] = {}
        self.trees: dict[str, Path] = {}

    def describe(self, package: str) -> Described:
        self._read_index(package)
        self._fetch(package)
        first = package
        if not self._programs():
            first = self._real_package(package)
        programs = self._programs()
        program = _likeliest(programs, (package, first))
        self._close(program)
        # A package without a program of its own may still hold a link to it, by the name that is asked for.
        own = self.trees[package] / program.lstrip("/")
        kept = first == package or own.is_symlink()
        needed = tuple(name for name in self.sources if kept or name != package)
        return Described(
            packages=(first, *(name for name in needed if name != first)),
            program=program,
            others=tuple(each for each in programs if each != program),
            license=self._license(first),
            summary=self._summary(package),
            related=self._related(package, needed),
        )

    def _related(self, package: str, needed: Sequence[str]) -> tuple[str, ...]:
        stem = package.partition("-")[0]
        names = [name for each in (package, *needed) for name in self._depends(each)]
        return tuple(dict.fromkeys(name for name in names if name.startswith(stem) and name not in needed))

    def _fetch(self, package: str) -> None:
        """Bring the newest version of a package here, unpacked."""
        declaration = Declaration(name=package, kind="deb", package=package, release=self.release)
        found = self._indexed(package)
        entry = newest(declaration, self.archive) if found is None else entry_of(declaration, found, self.archive)
        ensure(Lock(entries=(entry,)), [package], self.store, progress=self.progress)
        files = tuple(SourceFile(name=file.name, sha256=file.sha256, size=file.size) for file in entry.files)
        source = Source(name=package, kind="deb", package=package, version=entry.version, files=files)
        self.trees[package] = unpack(entry, self.store, trees_dir())
        self.sources[package] = source

    def _read_index(self, package: str) -> None:
        """What the lists say of the package, of what it depends on, and so on: one search for each step."""
        names = [package]
        while names:
            self._search(names)
            names = [each for name in names for each in self._depends(name) if each not in self.index]

    def _search(self, names: Sequence[str]) -> None:
        with self.archive.locked():
            self.archive.refresh()
            found = self.archive.all_binaries(tuple(dict.fromkeys(names)))
        self.index |= {name: each[0] if each else None for name, each in found.items()}

    def _indexed(self, package: str) -> BinaryPackage | None:
        """The newest version of a package; None where there is none."""
        if package not in self.index:
            self._search([package])
        return self.index[package]

    def _view(self) -> TreeView:
        return TreeView([(source, self.trees[name]) for name, source in self.sources.items()])

    def _programs(self) -> list[str]:
        return sorted(self._view().programs())

    def _depends(self, package: str) -> tuple[str, ...]:
        found = self._indexed(package)
        return found.depends if found is not None else ()

    def _real_package(self, package: str) -> str:
        """The dependency that holds the program, of a package that holds none: one that shares the name's beginning."""
        stem = package.partition("-")[0]
        for name in self._depends(package):
            if not name.startswith(stem):
                continue
            self._fetch(name)
            if self._programs():
                return name
            del self.sources[name]
        raise BuildError(
            f"The Debian package '{package}' holds no program, and no package that it depends on and that is called "
            f"'{stem}...' holds one.",
            hint="Name the package that holds the program.",
        )

    def _close(self, program: str) -> None:
        """Fetch packages until the program has all that it needs."""
        while True:
            try:
                self._collect(program)
                return
            except MissingLibraryError as error:
                if not self._bring(error):
                    raise

    def _collect(self, program: str) -> None:
        import tempfile

        step = CollectPackages(
            part="component/new",
            directory="components/new",
            entry=program,
            packages=Packages(),
            sources=tuple(self.sources.values()),
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            workspace = Workspace(root=folder, unpack=lambda source: self.trees[source.name])
            step.run(workspace, [], [folder / "packages.json"])

    def _bring(self, error: MissingLibraryError) -> bool:
        """Fetch the package that holds a library: the one that Debian's rule names, else a dependency of those here."""
        library = PurePosixPath(error.library).name
        guess = package_of(library)
        tried = set(self.sources)
        for name in (guess, *(each for package in list(self.sources) for each in self._depends(package))):
            if name in tried or (name != guess and not name.startswith("lib")) or self._indexed(name) is None:
                continue
            tried.add(name)
            self._fetch(name)
            view = TreeView([(self.sources[name], self.trees[name])])
            if any(PurePosixPath(path).name == library for path in view.files()):
                return True
            del self.sources[name]
        return False

    def _license(self, package: str) -> str:
        file = self._view().find(f"/usr/share/doc/{package}/copyright")
        if file is None:
            return ""
        text = (self.trees[file.source.name] / file.path).read_text("utf-8", "replace")
        return license_of(text)

    def _summary(self, package: str) -> str:
        found = self._indexed(package)
        return found.summary if found is not None else ""


def license_of(copyright_file: str) -> str:
    """The licence of "Files: *" in a machine-readable copyright file (Debian copyright format 1.0) as an SPDX
    expression; empty where the file is not machine-readable or the licence has no SPDX name known here."""
    if not re.match(r"Format(-Specification)?:", copyright_file):
        return ""
    for paragraph in paragraphs(copyright_file):
        if "*" in paragraph.get("Files").split():
            short = paragraph.get("License").split("\n", 1)[0].strip()
            parts = re.split(r"\s+(and|or|,)\s+", short)
            named = [each if each in ("and", "or") else _spdx(each) for each in parts]
            return " ".join(each.upper() if each in ("and", "or") else each for each in named) if all(named) else ""
    return ""


_SAME = {
    "expat": "MIT",
    "mit": "MIT",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "isc": "ISC",
    "zlib": "Zlib",
    "apache-2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "mpl-2.0": "MPL-2.0",
    "public-domain": "LicenseRef-public-domain",
}


def _spdx(name: str) -> str:
    known = _SAME.get(name.lower())
    if known is not None:
        return known
    gnu = re.fullmatch(r"(A?GPL|LGPL|GFDL)-(\d)(?:\.(\d))?(\+?)", name, re.IGNORECASE)
    if gnu is None:
        return ""
    suffix = "or-later" if gnu[4] else "only"
    return f"{gnu[1].upper()}-{gnu[2]}.{gnu[3] or '0'}-{suffix}"


def _likeliest(programs: list[str], names: tuple[str, ...]) -> str:
    """The program that is called as a package is; else one in a folder for servers; else the first."""
    wanted = [*names, *(name.partition("-")[0] for name in names)]

    def ranked(path: str) -> tuple[int, int, str]:
        base = PurePosixPath(path).name
        rank = wanted.index(base) if base in wanted else len(wanted)
        return rank, 0 if "/sbin/" in path else 1, path

    return min(programs, key=ranked)


def yaml_of(name: str, asked: str, found: Described) -> Iterator[str]:
    """The lines of the `component.yaml`. Valid as it stands; what could not be known is said in comments."""
    yield "# yaml-language-server: $schema=../../schemas/component.schema.json"
    yield "schema: 1"
    yield f"name: {name}"
    yield f"summary: {_quoted(found.summary or f'{asked} of Debian')}"
    if found.license:
        yield f"license: {found.license}"
    else:
        yield f"license: LicenseRef-Debian-{found.packages[0]} # not machine-readable: see its copyright file in Debian"
    yield "kind: deb"
    yield "role: program"
    yield 'needs: ["abi:linux-x86_64", console] # and what it uses: net, entropy, volume, threads, fork, jit'
    yield "sources:"
    for package in found.packages:
        yield f"  {package}: {{deb: {package}}}"
    yield "# Files of the packages that the program reads, and libraries that it loads by itself (dlopen):"
    if found.related:
        yield f"# (It depends on these packages, where some may be; add them above: {', '.join(found.related[:8])})"
    yield "# deb:"
    yield f"#   files: [/etc/{found.packages[0]}/**]"
    yield "#   libraries: [libexample.so.1]"
    yield f"entry: {found.program}"
    if found.others:
        yield f"# Other programs of the package: {', '.join(found.others[:8])}"
    yield "# arguments: [--foreground]"
    yield "# ports:"
    yield "#   http: {port: 80}"
    yield "ready: {exit: true} # until it says when it is ready; a server's is {port: http}, of a port under 'ports'"


def _quoted(text: str) -> str:
    plain = text[:1].upper() + text[1:100]
    return plain if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ,./()+-]*", plain) else '"' + plain.replace('"', "'") + '"'


def write_component(folder: Path, lines: Callable[[], Iterator[str]]) -> Path:
    """Write `component.yaml` into the new folder `folder`. Raises FileExistsError where the folder exists; nothing is
    changed then."""
    text = "\n".join(lines()) + "\n"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir()
    path = folder / "component.yaml"
    path.write_text(text, "utf-8")
    return path
