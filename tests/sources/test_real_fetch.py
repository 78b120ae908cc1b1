"""Real fetches, through apt, npm and pip as this machine has them set up; and none at all with the network cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from rumpel.errors import SourceError
from rumpel.model.lock import Lock, LockEntry, LockFile, load_lock
from rumpel.sources import Declaration, SourcePolicy, Store, ensure, unpack, update

pytestmark = pytest.mark.xdist_group("fetch")  # one worker: what one test fetched, the next one uses

IS_NUMBER = Declaration("is-number", "npm", "is-number")
SIX = Declaration("six", "pypi", "six")
DOCOPT = Declaration("docopt", "pypi", "docopt")  # has no wheel

FETCH = """
import sys
from pathlib import Path
from rumpel.errors import RumpelError
from rumpel.model.lock import load_lock
from rumpel.sources import Store, ensure, unpack
lock = load_lock(Path(sys.argv[1]))
store = Store(Path(sys.argv[2]))
names = sys.argv[4:] or [entry.name for entry in lock.entries]
try:
    ensured = ensure(lock, names, store)
    for name in names:
        print(name, unpack(ensured.lock.get(name), store, Path(sys.argv[3])))
except RumpelError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An empty store that the tests of this module fill."""
    return Store(tmp_path_factory.mktemp("cache") / "store")


def without_network(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in a network namespace of its own, that has no interface up; npm's own cache is an empty one."""
    ways = [["unshare", "--net"], ["unshare", "--net", "--map-root-user"]]
    way = next((way for way in ways if subprocess.run([*way, "true"], capture_output=True).returncode == 0), None)
    if way is None:
        pytest.skip("a network namespace cannot be made here")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "npm_config_cache": str(folder / "npm-cache")}
    return subprocess.run(
        [*way, *command], capture_output=True, text=True, timeout=200, check=False, env=environment, cwd=folder
    )


def test_what_the_repository_pins_is_fetched_and_then_used_without_a_network(
    checkout: Path, fetched: Store, tmp_path: Path
) -> None:
    lock_file = checkout / "rumpel.lock"
    lock = load_lock(lock_file)
    ensured = ensure(lock, [entry.name for entry in lock.entries], fetched)
    for substitution in ensured.substitutions:
        print(substitution.sentence())
    command = [sys.executable, "-c", FETCH, str(lock_file), str(fetched.root), str(tmp_path / "trees")]
    done = without_network(command, tmp_path)
    assert done.returncode == 0, done.stderr
    trees = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(trees) == {entry.name for entry in lock.entries}
    assert (Path(trees["sqlite3"]) / "src/vdbe.c").is_file()
    assert (Path(trees["libmicrohttpd"]) / "src/microhttpd/daemon.c").is_file()
    assert list(Path(trees["musl-dev"]).glob("usr/lib/*/libc.a"))
    assert list(Path(trees["linux-image-cloud"]).glob("boot/vmlinuz-*-cloud-amd64"))


def test_without_a_network_what_is_missing_from_debian_is_a_clear_error(checkout: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FETCH, str(checkout / "rumpel.lock"), str(tmp_path / "store"), str(tmp_path)]
    done = without_network([*command, "musl-dev"], tmp_path)
    assert done.returncode == 3
    first, *_, last = done.stderr.splitlines()
    assert (
        first == "The package lists of Debian 'bookworm' could not be read. 'apt-get' ended with status 100 and said:"
    )
    assert last == (
        "Check that this machine reaches its package archive (`apt-get update` shows the same), then try again."
        " What is already in the store is used without the network."
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("declaration", "file", "first", "last"),
    [
        (
            IS_NUMBER,
            "is-number-7.0.0.tgz",
            "Source 'is-number': 'is-number' 7.0.0 could not be fetched from npm's registry."
            " 'npm' ended with status 1 and said:",
            "Check that `npm` on this machine reaches its registry. If the version is gone there,"
            " `rumpel lock --update is-number` pins the newest.",
        ),
        (
            SIX,
            "six-7.0.0.tar.gz",
            "Source 'six': 'six' 7.0.0 could not be fetched from the Python package index."
            f" '{Path(sys.executable).name}' ended with status 1 and said:",
            "Check that `python3 -m pip` on this machine reaches its index. If the version is gone there,"
            " `rumpel lock --update six` pins the newest.",
        ),
    ],
)
def test_without_a_network_what_is_missing_elsewhere_is_a_clear_error(
    tmp_path: Path, declaration: Declaration, file: str, first: str, last: str
) -> None:
    lock_file = tmp_path / "rumpel.lock"
    pinned = LockFile(name=file, sha256="0" * 64, size=1)
    entry = LockEntry(
        name=declaration.name, kind=declaration.kind, package=declaration.package, version="7.0.0", files=(pinned,)
    )
    lock_file.write_bytes(Lock(entries=(entry,)).to_json())
    command = [sys.executable, "-c", FETCH, str(lock_file), str(tmp_path / "store"), str(tmp_path)]
    done = without_network(command, tmp_path)
    assert done.returncode == 3, done.stderr
    lines = done.stderr.splitlines()
    assert (lines[0], lines[-1]) == (first, last)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("declaration", "program", "inside"),
    [(IS_NUMBER, "npm", "index.js"), (SIX, "", "six.py"), (DOCOPT, "", "docopt.py")],
)
def test_npm_and_pypi_packages_are_pinned_fetched_anew_and_unpacked(
    tmp_path: Path, declaration: Declaration, program: str, inside: str
) -> None:
    if program and shutil.which(program) is None:
        pytest.skip(f"'{program}' is not installed")
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    lock = update(Lock(), [declaration], [declaration.name], store=first)
    ensured = ensure(lock, [declaration.name], second, SourcePolicy.LOCKED)
    assert ensured.lock == lock
    assert (unpack(lock.entries[0], second, tmp_path / "trees") / inside).is_file()


@pytest.mark.parametrize("declaration", [IS_NUMBER, SIX])
def test_other_content_than_pinned_is_refused_from_npm_and_pypi(tmp_path: Path, declaration: Declaration) -> None:
    if declaration.kind == "npm" and shutil.which("npm") is None:
        pytest.skip("'npm' is not installed")
    (entry,) = update(Lock(), [declaration], [declaration.name], store=Store(tmp_path / "first")).entries
    (genuine,) = entry.files
    wrong = LockFile(name=genuine.name, sha256="ab" * 32, size=genuine.size)
    lock = Lock(entries=(msgspec.structs.replace(entry, files=(wrong,)),))
    store = Store(tmp_path / "second")
    with pytest.raises(SourceError) as caught:
        ensure(lock, [declaration.name], store)
    assert caught.value.message.startswith(
        f"'{genuine.name}' is not what was pinned: its SHA-256 should be {'ab' * 32} ({genuine.size} bytes)"
        f" and is {genuine.sha256}"
    )
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_a_package_that_nobody_publishes_is_a_clear_error(tmp_path: Path) -> None:
    declaration = Declaration("none", "deb", "no-such-package-at-all")
    with pytest.raises(SourceError) as caught:
        update(Lock(), [declaration], ["none"], store=Store(tmp_path / "store"))
    assert caught.value.message == (
        "Source 'none': Debian 'bookworm' has no package 'no-such-package-at-all' at the mirrors of this machine."
    )
