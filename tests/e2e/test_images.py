"""The repository's own images: built with the network cut, and the same bytes wherever they are built."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rumpel.places import store_dir

from .conftest import KERNELS, MACHINES, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

COMPOSITIONS = tuple(sorted(path.stem for path in (ROOT / "compositions").glob("*.yaml")))
PARTS = ("SConstruct", "src", "schemas", "rumpel", "rumpel.lock", "hal", "kernels", "components", "compositions")


def without_network() -> list[str]:
    """The words before a command that run it in a network namespace of its own, in which no interface is up."""
    ways = [["unshare", "--net"], ["unshare", "--net", "--map-root-user"]]
    way = next((way for way in ways if subprocess.run([*way, "true"], capture_output=True).returncode == 0), None)
    if way is None:
        pytest.skip("a network namespace cannot be made here")
    return way


def copy_of_the_checkout(folder: Path) -> Path:
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def empty_cache(folder: Path) -> Path:
    """A cache that has the fetched sources and nothing else: no unpacked tree, no built piece."""
    folder.mkdir(parents=True)
    (folder / "store").symlink_to(store_dir())
    return folder


def run(words: Sequence[str], folder: Path, cache: Path, **environment: str) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "RUMPEL_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def build_all(prefix: Sequence[str], folder: Path, cache: Path, **environment: str) -> dict[str, str]:
    """Build every composition for every kernel and machine; the digest of every file of every image."""
    steps = ""
    for kernel in KERNELS:
        for machine in MACHINES:
            words = [f"composition={','.join(COMPOSITIONS)}", f"kernel={kernel}", f"machine={machine}"]
            steps += run([*prefix, sys.executable, "-m", "SCons", "-Q", "-j2", *words], folder, cache, **environment)
    assert " CC sqlite/sqlite3.c" in steps or "sqlite3.c" in steps, "nothing was compiled: the cache was not empty"
    digests: dict[str, str] = {}
    for composition in COMPOSITIONS:
        for image in sorted((folder / "build" / composition).iterdir()):
            for path in sorted(image.rglob("*")):
                if path.is_file():
                    name = str(path.relative_to(folder / "build"))
                    digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert len([name for name in digests if name.endswith("/manifest.json")]) == (
        len(COMPOSITIONS) * len(KERNELS) * len(MACHINES)
    )
    return digests


def test_everything_builds_with_the_network_cut_and_twice_to_the_same_bytes(tmp_path: Path) -> None:
    """The second build is in another folder, at another time, as another user's habits would have it."""
    cut = without_network()
    reachable = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    refused = subprocess.run([*cut, sys.executable, "-c", reachable], capture_output=True, text=True, check=False)
    assert "Network is unreachable" in refused.stderr, "the namespace has a network"

    first = copy_of_the_checkout(tmp_path / "one")
    cache = empty_cache(tmp_path / "cache-one")
    for composition in COMPOSITIONS:
        run([sys.executable, "-I", "-m", "rumpel", "fetch", composition], first, cache, RUMPEL_PROJECT=str(first))
    one = build_all(cut, first, cache)

    second = copy_of_the_checkout(tmp_path / "another folder, further down")
    two = build_all(
        cut,
        second,
        empty_cache(Path(f"{second}, its cache")),  # one path begins as the other
        TZ="Pacific/Auckland",
        LC_ALL="C.UTF-8",
        CFLAGS="-O0",
        SOURCE_DATE_EPOCH="1",
        HOME=str(tmp_path),
    )
    assert one == two
