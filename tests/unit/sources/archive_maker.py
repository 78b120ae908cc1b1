"""A small Debian archive below a folder: real .deb and source packages, a real index, signed by a key made here.

The machine's apt is set up to it by an APT_CONFIG of the test's own, exactly as an administrator would do it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


def ar(members: list[tuple[str, bytes]]) -> bytes:
    """An ar archive (ar(5))."""
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}".encode() + b"`\n" + content
        data += b"\n" * (len(content) % 2)
    return data


def tar(members: list[tuple[tarfile.TarInfo, bytes]], compression: str = "xz") -> bytes:
    """A compressed tar archive with exactly these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    """One member of a tar archive."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.mode = 0o755 if kind == tarfile.DIRTYPE else mode
    return info


def deb(package: str, version: str, data: bytes, depends: str = "") -> bytes:
    """A binary package (deb(5)) with this data archive."""
    control = f"Package: {package}\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.invalid>\n"
    control += (f"Depends: {depends}\n" if depends else "") + "Description: a test\n"
    control_tar = tar([(member("./control"), control.encode())])
    return ar([("debian-binary", b"2.0\n"), ("control.tar.xz", control_tar), ("data.tar.xz", data)])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Published:
    """A file of the archive and its paragraph in the index."""

    paragraph: str
    files: tuple[str, ...]


@dataclass
class LocalArchive:
    """The archive below `root`; `publish()` writes index and signature for what was added and not dropped."""

    root: Path
    codename: str = "bookworm"
    origin: str = "Debian"
    binaries: dict[tuple[str, str], Published] = field(default_factory=dict)
    sources: dict[tuple[str, str], Published] = field(default_factory=dict)

    @property
    def keyring(self) -> Path:
        return self.root / "keyring.gpg"

    @property
    def uri(self) -> str:
        return f"file://{self.root}/debian"

    @contextlib.contextmanager
    def make_key(self) -> Iterator[None]:
        """Make a key, and keep the agent that signs with it. The agent ends with the `cat` that it runs, and that with
        this process, however this one ends."""
        home = self.root / "gnupg"
        home.mkdir(parents=True, mode=0o700)
        command = ["gpg-agent", "--homedir", str(home), "--daemon", "cat"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
            assert agent.stdin is not None and agent.stdout is not None
            agent.stdin.write(b"the agent listens\n")
            agent.stdin.flush()
            assert agent.stdout.readline() == b"the agent listens\n"
            self._make_key()
            yield
            kill = ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"]
            subprocess.run(kill, timeout=30, check=False)

    def _make_key(self) -> None:
        self._gpg("--quick-gen-key", "--passphrase", "", "archive@example.invalid", "ed25519", "sign", "never")
        self.keyring.write_bytes(self._gpg("--export").stdout)

    def add_deb(self, package: str, version: str, content: bytes = b"hello\n", depends: str = "") -> bytes:
        data = deb(package, version, tar([(member(f"./usr/share/{package}/file"), content)]), depends)
        path = f"pool/main/{package}_{version.replace(':', '%3a')}_amd64.deb"
        paragraph = f"Package: {package}\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.invalid>\n"
        paragraph += f"Depends: {depends}\n" if depends else ""
        paragraph += f"Filename: {path}\nSize: {len(data)}\nSHA256: {sha256(data)}\nDescription: a test\n"
        self._put(path, data)
        self.binaries[(package, version)] = Published(paragraph, (path,))
        return data

    def add_source(self, package: str, version: str, content: bytes = b"int main(void);\n") -> None:
        upstream = version.rsplit("-", 1)[0]
        orig = tar([(member(f"{package}-{upstream}/main.c"), content)])
        patch = b"--- a/main.c\n+++ b/main.c\n@@ -1 +1 @@\n-" + content + b"+int patched;\n"
        changelog = (
            f"{package} ({version}) unstable; urgency=low\n\n  * A.\n\n -- A <a@b>  Thu, 01 Jan 2026 00:00:00 +0000\n"
        )
        debian = tar(
            [
                (member("debian/source/format"), b"3.0 (quilt)\n"),
                (member("debian/changelog"), changelog.encode()),
                (member("debian/control"), f"Source: {package}\n".encode()),
                (member("debian/patches/series"), b"one.patch\n"),
                (member("debian/patches/one.patch"), patch),
            ]
        )
        files = {f"{package}_{upstream}.orig.tar.xz": orig, f"{package}_{version}.debian.tar.xz": debian}
        sums = "".join(f" {sha256(data)} {len(data)} {name}\n" for name, data in files.items())
        md5s = "".join(f" {hashlib.md5(data).hexdigest()} {len(data)} {name}\n" for name, data in files.items())
        dsc = (
            f"Format: 3.0 (quilt)\nSource: {package}\nBinary: {package}\nArchitecture: any\nVersion: {version}\n"
            f"Maintainer: A <a@example.invalid>\nChecksums-Sha256:\n{sums}Files:\n{md5s}"
        ).encode()
        name = f"{package}_{version}.dsc"
        paragraph = (
            f"Package: {package}\nBinary: {package}\nVersion: {version}\nFormat: 3.0 (quilt)\nArchitecture: any\n"
            f"Maintainer: A <a@example.invalid>\nDirectory: pool/main\n"
            f"Checksums-Sha256:\n{sums} {sha256(dsc)} {len(dsc)} {name}\n"
            f"Files:\n{md5s} {hashlib.md5(dsc).hexdigest()} {len(dsc)} {name}\n"
        )
        for each, data in {**files, name: dsc}.items():
            self._put(f"pool/main/{each}", data)
        self.sources[(package, version)] = Published(paragraph, tuple(f"pool/main/{each}" for each in (*files, name)))

    def drop(self, package: str, version: str) -> None:
        """Take a version out of the archive, index and file, as a point release does."""
        for kind in (self.binaries, self.sources):
            published = kind.pop((package, version), None)
            for path in published.files if published else ():
                (self.root / "debian" / path).unlink()

    def publish(self) -> None:
        suite = self.root / "debian/dists" / self.codename
        indexes = {
            "main/binary-amd64/Packages": "\n".join(one.paragraph for one in self.binaries.values()).encode(),
            "main/source/Sources": "\n".join(one.paragraph for one in self.sources.values()).encode(),
        }
        lines = ""
        for name, data in indexes.items():
            path = suite / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            packed = gzip.compress(data)
            path.with_name(path.name + ".gz").write_bytes(packed)
            lines += f" {sha256(data)} {len(data)} {name}\n {sha256(packed)} {len(packed)} {name}.gz\n"
        release = (
            f"Origin: {self.origin}\nLabel: {self.origin}\nSuite: {self.codename}\nCodename: {self.codename}\n"
            f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n{lines}"
        )
        (suite / "Release").write_text(release)
        (suite / "InRelease").unlink(missing_ok=True)
        self._gpg("--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))

    def _put(self, path: str, data: bytes) -> None:
        target = self.root / "debian" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def _gpg(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = ["gpg", "--homedir", str(self.root / "gnupg"), "--batch", "--yes", "--quiet", "--no-autostart"]
        done = subprocess.run([*command, *words], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done


def set_up_apt(folder: Path, sources: str) -> Path:
    """The configuration of a machine whose only package sources are `sources` (deb822); the path for APT_CONFIG."""
    parts = folder / "sources.list.d"
    parts.mkdir(parents=True, exist_ok=True)
    (parts / "debian.sources").write_text(sources)
    (folder / "empty").mkdir(exist_ok=True)
    configuration = folder / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::sourcelist "{folder}/none";\nDir::Etc::sourceparts "{parts}/";\n'
        f'Dir::Etc::main "{folder}/none";\nDir::Etc::parts "{folder}/empty/";\n'
        f'Dir::Etc::trustedparts "{folder}/empty/";\nDir::Etc::trusted "{folder}/none";\n'
    )
    return configuration
