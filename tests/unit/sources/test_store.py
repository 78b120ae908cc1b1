"""The store keeps what it is given, notices damage, and is never left half-written."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from tests.unit.sources.archive_maker import sha256

from rumpel.errors import SourceError
from rumpel.model.lock import LockFile
from rumpel.sources import Store


def given(tmp_path: Path, content: bytes = b"content") -> tuple[Path, LockFile]:
    path = tmp_path / "given"
    path.write_bytes(content)
    return path, LockFile(name="given.deb", sha256=sha256(content), size=len(content))


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_file_is_found_by_its_digest_and_cannot_be_written(store: Store, tmp_path: Path) -> None:
    path, file = given(tmp_path)
    assert not store.has(file)
    added = store.add(path, file)
    assert store.has(file)
    assert store.path(file) == added
    assert added.read_bytes() == b"content"
    assert added.stat().st_mode & 0o777 == 0o444
    assert path.exists()


def test_other_content_than_pinned_is_refused_and_the_store_unharmed(store: Store, tmp_path: Path) -> None:
    path, file = given(tmp_path)
    path.write_bytes(b"other")
    with pytest.raises(SourceError) as caught:
        store.add(path, file)
    assert caught.value.message == (
        f"'given.deb' is not what was pinned: its SHA-256 should be {sha256(b'content')} (7 bytes)"
        f" and is {sha256(b'other')} (5 bytes)."
    )
    assert files_below(store.root) == []


@pytest.mark.parametrize("damaged", [b"c0ntent", b"cont", b""])
def test_a_damaged_file_is_named_moved_aside_and_can_be_fetched_again(
    store: Store, tmp_path: Path, damaged: bytes
) -> None:
    path, file = given(tmp_path)
    stored = store.add(path, file)
    stored.chmod(0o644)
    stored.write_bytes(damaged)
    with pytest.raises(SourceError) as caught:
        store.path(file)
    (aside,) = (store.root / "damaged").iterdir()
    assert str(caught.value) == (
        f"'given.deb' in the store is damaged: its SHA-256 should be {file.sha256} and is {sha256(damaged)}.\n"
        f"It was moved to '{aside}'; run the command again, or `rumpel fetch all`, to fetch it anew."
    )
    assert aside.read_bytes() == damaged
    assert not store.has(file)
    store.add(path, file)
    assert store.path(file).read_bytes() == b"content"


def test_adding_replaces_a_damaged_file(store: Store, tmp_path: Path) -> None:
    path, file = given(tmp_path)
    stored = store.add(path, file)
    stored.chmod(0o644)
    stored.write_bytes(b"cont")
    store.add(path, file)
    assert store.path(file).read_bytes() == b"content"


def test_a_file_that_is_missing_is_an_error_with_the_way_out(store: Store) -> None:
    file = LockFile(name="given.deb", sha256="12" * 32, size=1)
    with pytest.raises(SourceError) as caught:
        store.path(file)
    assert str(caught.value) == (
        f"'given.deb' (SHA-256 {'12' * 32}) is not in the store '{store.root}'.\n`rumpel fetch all` brings it."
    )


def test_a_store_that_cannot_be_made_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    path, file = given(tmp_path)
    (tmp_path / "plain").write_text("a file where a folder is wanted")
    store = Store(tmp_path / "plain/store")
    with pytest.raises(SourceError) as caught:
        store.add(path, file)
    assert str(caught.value) == (
        f"'given.deb' cannot be put into the store '{store.root}': Not a directory.\n"
        "Check the folder's permissions, or name another folder with RUMPEL_CACHE."
    )


def test_a_full_disk_is_an_error_with_the_way_out(small_disk: Path, tmp_path: Path) -> None:
    path, file = given(tmp_path, os.urandom(4 << 20))
    store = Store(small_disk / "store")
    with pytest.raises(SourceError) as caught:
        store.add(path, file)
    assert str(caught.value) == (
        f"'given.deb' cannot be put into the store '{store.root}': No space left on device.\n"
        "Free some space there, or name a folder on another disk with RUMPEL_CACHE."
    )
    assert files_below(store.root) == []


def _add(root: Path, path: Path, file: LockFile, barrier: Barrier) -> None:
    barrier.wait(30)
    Store(root).add(path, file)
    Store(root).path(file)


def test_two_processes_add_the_same_file_at_once(store: Store, tmp_path: Path) -> None:
    path, file = given(tmp_path, os.urandom(8 << 20))
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    barrier = context.Barrier(4)
    processes = [context.Process(target=_add, args=(store.root, path, file, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert files_below(store.root) == [store.path(file)]


def test_what_a_killed_run_left_is_removed_a_day_later(store: Store) -> None:
    old, new = store.root / ".partial/old", store.root / ".partial/new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    with store.work_folder("next"):
        assert not old.exists()
        assert new.exists()
