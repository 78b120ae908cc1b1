"""Debian's archive for one release, as the machine's own apt reaches it, through a private state below the cache.

The machine's lists may be empty or old, its sources lack deb-src, and none of it may be writable to us. So apt runs
with a configuration of ours (apt.conf(5), APT_CONFIG): the machine's `Acquire` settings (proxies, time-outs,
certificates), its keyrings and its passwords are taken over as they are; the sources are the machine's own Debian
entries with deb-src added and the suites named after the release; lists and caches are ours. Nothing is installed, no
hook of the machine runs, and nothing unsigned is ever used.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import LockFile
from rumpel.sources import apt_entries, tool
from rumpel.sources.apt_entries import AptEntry
from rumpel.sources.control import Paragraph, paragraphs
from rumpel.sources.debian_version import DebianVersion
from rumpel.sources.progress import Progress, Step, silent

_REFRESH_HINT = (
    "Check that this machine reaches its package archive (`apt-get update` shows the same), then try again."
    " What is already in the store is used without the network."
)
_ARCHITECTURE = "amd64"  # the guests', whatever this machine is


@dataclass(frozen=True)
class BinaryPackage:
    """One version of a binary package in the signed index."""

    package: str
    version: str
    files: tuple[LockFile, ...]
    depends: tuple[str, ...]  # package names, in order, first alternatives only
    summary: str = ""


@dataclass(frozen=True)
class SourcePackage:
    """One version of a source package in the signed index."""

    package: str
    version: str
    files: tuple[LockFile, ...]


class Archive:
    """One release ("bookworm", with its -updates and -security) at this machine's mirrors. `root` holds the state."""

    def __init__(self, root: Path, release: str, progress: Progress = silent) -> None:
        self.release = release
        self._progress = progress
        entries, settings = _machine_setup(root.parent)
        self._entries = apt_entries.for_release(entries, release)
        if not self._entries:
            raise SourceError(
                "apt on this machine names no package source of Debian, so Debian packages cannot be fetched.",
                hint="Add Debian's archive to the machine's apt sources (sources.list(5)); any release of Debian will"
                f" do, '{release}' is then found at the same mirror.",
            )
        text = settings + "".join(entry.stanza() for entry in self._entries)
        self._root = root / f"{release}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self._settings = settings
        self._refreshed = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held around every use: apt's state is one, and another build may need it too."""
        from filelock import FileLock, Timeout

        try:
            self._root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._root / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._progress(Step("waiting for another run that is fetching"))
                lock.acquire()
            try:
                self._configure()
                yield
            finally:
                lock.release()
        except OSError as error:
            raise SourceError(
                f"apt's private state '{self._root}' cannot be written: {error.strerror or error}.",
                hint="Check the folder's permissions and the space on its disk, or name another folder with"
                " RUMPEL_CACHE.",
            ) from None

    def refresh(self) -> None:
        """Bring the lists up to date, once in the life of this object. Raises SourceError where that fails."""
        if self._refreshed:
            return
        self._complete().unlink(missing_ok=True)
        self._write_sources(self._entries)
        ended = self._apt(
            "apt-get",
            "update",
            "-qq",
            "--allow-releaseinfo-change",  # a release grows old: its suite changes from stable to oldstable
            step=Step(f"reading the package lists of Debian '{self.release}'"),
        )
        failed = {entry for entry in self._entries if ended.status != 0 and _is_named(entry, ended)}
        genuine = tuple(entry for entry in self._genuine() if entry not in failed)
        covered = {entry.pocket() for entry in genuine}
        if ended.status != 0 and any(entry.pocket() not in covered for entry in self._entries):
            raise ended.failure(f"The package lists of Debian '{self.release}' could not be read.", hint=_REFRESH_HINT)
        if "" not in covered:
            raise SourceError(
                f"None of this machine's package sources is Debian '{self.release}', signed by Debian:"
                f" {', '.join(entry.uri for entry in self._entries)}.",
                hint="Add Debian's archive to the machine's apt sources (sources.list(5)).",
            )
        self._write_sources(genuine)
        self._complete().touch()
        self._refreshed = True

    def refresh_if_empty(self) -> None:
        """Bring the lists here where there are none yet."""
        if not self._complete().exists():
            self.refresh()

    def binaries(self, package: str) -> tuple[BinaryPackage, ...]:
        """All versions of a binary package in the lists, newest first."""
        return self.all_binaries((package,))[package]

    def all_binaries(self, packages: Sequence[str]) -> dict[str, tuple[BinaryPackage, ...]]:
        """The same of several packages, of which each has an entry; searched together, because reading the lists takes
        longer than finding something in them."""
        found: dict[str, list[BinaryPackage]] = {package: [] for package in packages}
        for each in self._show("show", *packages) if packages else ():
            package = each.get("Package")
            if package in found and each.get("SHA256") and each.get("Architecture") in _ARCHITECTURES:
                name = each.get("Filename").rsplit("/", 1)[-1]
                file = LockFile(name=name, sha256=each.get("SHA256").lower(), size=int(each.get("Size")))
                depends = _dependencies(each)
                found[package].append(BinaryPackage(package, each.get("Version"), (file,), depends, _summary(each)))
        return {
            package: tuple(sorted(each, key=lambda one: DebianVersion(one.version), reverse=True))
            for package, each in found.items()
        }

    def sources(self, package: str) -> tuple[SourcePackage, ...]:
        """All versions of a source package in the lists, newest first."""
        found = []
        for each in self._show("showsrc", "--only-source", package):
            if each.get("Package") == package:
                found.append(SourcePackage(package, each.get("Version"), _source_files(each)))
        return tuple(sorted(found, key=lambda one: DebianVersion(one.version), reverse=True))

    def download_binary(self, package: str, version: str, folder: Path, total: int) -> tool.Ended:
        """Fetch one .deb into `folder`, checked by apt against the signed index."""
        return self._apt(
            "apt-get", "download", "-qq", f"{package}={version}", cwd=folder, step=_step(package, version, total)
        )

    def download_source(self, package: str, version: str, folder: Path, total: int) -> tool.Ended:
        """Fetch all files of one source package into `folder`, checked by apt against the signed index."""
        return self._apt(
            "apt-get",
            "source",
            "-qq",
            "--download-only",
            "--only-source",
            f"{package}={version}",
            cwd=folder,
            step=_step(package, version, total),
        )

    def _show(self, *words: str) -> tuple[Paragraph, ...]:
        ended = self._apt("apt-cache", *words)
        if ended.status != 0:
            if re.search(r"No packages found|Unable to locate package", ended.errors):
                return tuple(paragraphs(ended.output))  # of those that there are
            raise ended.failure(
                f"The package lists of Debian '{self.release}' could not be searched.", hint=_REFRESH_HINT
            )
        return tuple(paragraphs(ended.output))

    def _genuine(self) -> tuple[AptEntry, ...]:
        """The entries whose signed Release file says that they are this release of Debian."""
        ended = self._apt("apt-get", "indextargets")
        verified = set()
        for target in paragraphs(ended.output):
            codename = target.get("Codename")
            if (
                target.get("Origin") == "Debian"
                and target.get("Trusted") == "yes"
                and (codename == self.release or codename.startswith(self.release + "-"))
                and Path(target.get("Filename")).exists()
            ):
                verified.add(Path(target.get("Sourcesentry").rpartition(":")[0]).name)
        return tuple(entry for entry in self._entries if _file_name(entry) in verified)

    def _apt(self, program: str, *words: str, cwd: Path | None = None, step: Step | None = None) -> tool.Ended:
        return tool.run(
            [program, *words],
            cwd=cwd or self._root,
            environment={"APT_CONFIG": str(self._root / "apt.conf")},
            debian_package="apt",
            progress=self._progress,
            step=step,
        )

    def _configure(self) -> None:
        root = self._root
        for folder in ("lists/partial", "archives/partial", "parts", "sources", "preferences", "log"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        settings = [
            ("Dir", "/"),
            ("Dir::State", f"{root}"),
            ("Dir::State::lists", f"{root}/lists/"),
            ("Dir::State::status", f"{root}/status"),
            ("Dir::State::extended_states", f"{root}/extended_states"),
            ("Dir::Cache", f"{root}"),
            ("Dir::Cache::archives", f"{root}/archives/"),
            ("Dir::Cache::pkgcache", f"{root}/pkgcache.bin"),
            ("Dir::Cache::srcpkgcache", ""),
            ("Dir::Log", f"{root}/log"),
            ("Dir::Etc::main", f"{root}/none"),
            ("Dir::Etc::parts", f"{root}/parts/"),
            ("Dir::Etc::sourcelist", f"{root}/none"),
            ("Dir::Etc::sourceparts", f"{root}/sources/"),
            ("Dir::Etc::preferences", f"{root}/none"),
            ("Dir::Etc::preferencesparts", f"{root}/preferences/"),
            ("APT::Architecture", _ARCHITECTURE),
            ("APT::Sandbox::User", "root"),  # the state is ours alone: another user could not enter it
            ("APT::Get::AllowUnauthenticated", "false"),
            ("APT::Update::Error-Mode", "any"),
            ("Acquire::AllowInsecureRepositories", "false"),
            ("Acquire::AllowWeakRepositories", "false"),
            ("Acquire::AllowDowngradeToInsecureRepositories", "false"),
            ("Acquire::Languages", "none"),
        ]
        lines = [f'{name} "{value}";' for name, value in settings]
        _write_if_other(
            root / "apt.conf", self._settings + "\n".join(lines) + f'\nAPT::Architectures {{ "{_ARCHITECTURE}"; }};\n'
        )
        if not self._complete().exists():
            self._write_sources(self._entries)

    def _complete(self) -> Path:
        """A file that exists where the lists were read to the end once."""
        return self._root / "complete"

    def _write_sources(self, entries: tuple[AptEntry, ...]) -> None:
        """One file an entry, so that apt's `Sourcesentry` says which entry an index comes from."""
        folder = self._root / "sources"
        texts = {_file_name(entry): entry.stanza() for entry in entries}
        for path in folder.iterdir():
            if path.name not in texts:
                path.unlink()
        for name, text in texts.items():
            _write_if_other(folder / name, text)


_ARCHITECTURES = (_ARCHITECTURE, "all")


def _machine_setup(cwd: Path) -> tuple[tuple[AptEntry, ...], str]:
    """What apt is set up to on this machine: its Debian entries, and the settings to take over as apt.conf text."""
    folder = next(each for each in (cwd, *cwd.parents) if each.is_dir())
    dump = _query(folder, "dump")
    names = {
        "SOURCES": "Dir::Etc::sourcelist/f",
        "SOURCE_PARTS": "Dir::Etc::sourceparts/d",
        "TRUSTED": "Dir::Etc::trusted/f",
        "TRUSTED_PARTS": "Dir::Etc::trustedparts/d",
        "NETRC": "Dir::Etc::netrc/f",
        "NETRC_PARTS": "Dir::Etc::netrcparts/d",
        "METHODS": "Dir::Bin::methods/f",
    }
    answer = _query(folder, "shell", *(word for pair in names.items() for word in pair))
    paths = dict(word.split("=", 1) for word in shlex.split(answer))
    kept = [
        line
        for line in dump.splitlines()
        if re.match(r"Acquire::(?!Allow|IndexTargets|Languages|Changelogs|cdrom)[^ ]+ \"", line)
    ]
    taken = {
        "Dir::Etc::trusted": "TRUSTED",
        "Dir::Etc::trustedparts": "TRUSTED_PARTS",
        "Dir::Etc::netrc": "NETRC",
        "Dir::Etc::netrcparts": "NETRC_PARTS",
        "Dir::Bin::methods": "METHODS",
    }
    kept += [f'{name} "{paths[word]}";' for name, word in taken.items() if paths.get(word)]
    entries: list[AptEntry] = []
    for path in _source_files_of(paths):
        with contextlib.suppress(OSError, UnicodeDecodeError):  # apt itself will not have read it either
            text = path.read_text(encoding="utf-8")
            read = apt_entries.read_sources if path.suffix == ".sources" else apt_entries.read_list
            entries += read(text)
    return tuple(entries), "\n".join(kept) + "\n"


def _source_files_of(paths: dict[str, str]) -> Iterator[Path]:
    main = Path(paths.get("SOURCES", "/nonexistent"))
    if main.is_file():
        yield main
    parts = Path(paths.get("SOURCE_PARTS", "/nonexistent"))
    if parts.is_dir():
        yield from sorted(path for path in parts.iterdir() if path.suffix in (".list", ".sources"))


def _query(cwd: Path, *words: str) -> str:
    ended = tool.run(["apt-config", *words], cwd=cwd, debian_package="apt", timeout=60)
    if ended.status != 0:
        raise ended.failure(
            "The settings of apt on this machine could not be read.",
            hint="Mend them: `apt-config dump` shows the same.",
        )
    return ended.output


def _file_name(entry: AptEntry) -> str:
    return hashlib.sha256(f"{entry.uri} {entry.suite}".encode()).hexdigest()[:16] + ".sources"


def _is_named(entry: AptEntry, ended: tool.Ended) -> bool:
    """Whether apt's words speak of this entry: by the address of a file, or as 'ADDRESS SUITE ...'."""
    scheme, _, rest = entry.uri.rstrip("/").partition(":")
    address = re.escape(re.sub(r"^//[^/@]*@", "//", rest).replace("///", "/"))  # apt shows no password, one slash
    suite = re.escape(entry.suite)
    pattern = rf"{re.escape(scheme)}:{address}/?(?:/dists/{suite}/|\s+{suite}\s)"
    return re.search(pattern, ended.errors) is not None


def _summary(paragraph: Paragraph) -> str:
    """The first line of a package's description."""
    text = paragraph.get("Description") or paragraph.get("Description-en")
    return text.split("\n", 1)[0].strip()


def _dependencies(paragraph: Paragraph) -> tuple[str, ...]:
    relations = ",".join(filter(None, (paragraph.get("Pre-Depends"), paragraph.get("Depends")))).split(",")
    names = (re.match(r"\s*([a-z0-9][a-z0-9+.-]*)", relation) for relation in relations)
    return tuple(match[1] for match in names if match)


def _source_files(paragraph: Paragraph) -> tuple[LockFile, ...]:
    files = []
    for line in paragraph.get("Checksums-Sha256").splitlines():
        words = line.split()
        if len(words) == 3:
            files.append(LockFile(name=words[2], sha256=words[0].lower(), size=int(words[1])))
    return tuple(sorted(files, key=lambda file: file.name))


def _step(package: str, version: str, total: int) -> Step:
    return Step(f"fetching {package} {version}", 0, total)


def _write_if_other(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):
        if path.read_text(encoding="utf-8") == text:
            return
    path.write_text(text, encoding="utf-8")
