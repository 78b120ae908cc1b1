from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.sources.archive_maker import LocalArchive, set_up_apt

from rumpel.sources import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache/store")


@pytest.fixture(scope="session")
def signing_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalArchive]:
    """An archive that has a key and nothing else: making a key takes a while, so the tests share it."""
    archive = LocalArchive(tmp_path_factory.mktemp("signer"))
    with archive.make_key():
        yield archive


@pytest.fixture
def archive(signing_archive: LocalArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalArchive:
    """A signed archive of the test's own; apt on "this machine" is set up to it alone."""
    root = tmp_path / "archive"
    root.mkdir()
    (root / "gnupg").symlink_to(signing_archive.root / "gnupg")
    made = LocalArchive(root)
    made.keyring.write_bytes(signing_archive.keyring.read_bytes())
    sources = f"Types: deb\nURIs: {made.uri}\nSuites: bookworm\nComponents: main\nSigned-By: {made.keyring}\n"
    monkeypatch.setenv("APT_CONFIG", str(set_up_apt(tmp_path / "machine", sources)))
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one MiB; a test that needs it is run only where one may be mounted (as root)."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, timeout=30, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small filesystem cannot be mounted here: " + mounted.stderr.decode().strip())
    yield folder
    subprocess.run(["umount", str(folder)], timeout=30, check=True)
