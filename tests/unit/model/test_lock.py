"""The lock file: its stable form, and what a damaged one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.errors import ModelError
from rumpel.model.lock import Lock, LockEntry, LockFile, load_lock, parse_lock

FILE = Path("rumpel.lock")
WAY_OUT = "Take it from version control again, or write the pins anew with `rumpel lock --update NAME`."


def entry(name: str, version: str = "1") -> LockEntry:
    return LockEntry(
        name=name,
        kind="deb",
        package=name,
        version=version,
        release="bookworm",
        files=(LockFile(name=f"{name}.deb", sha256="a" * 64, size=3),),
    )


def words(data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        parse_lock(data, FILE)
    return str(caught.value)


def test_what_is_written_is_read_again_and_sorted() -> None:
    lock = Lock(entries=(entry("b"), entry("a")))
    data = lock.to_json()
    again = parse_lock(data, FILE)
    assert [each.name for each in again.entries] == ["a", "b"]
    assert again.to_json() == data
    assert data.endswith(b"\n") and b'\n  "schema": 1' in data


def test_entries_are_replaced_by_name() -> None:
    lock = Lock(entries=(entry("a"),)).replace(entry("a", "2")).replace(entry("b"))
    assert [(each.name, each.version) for each in lock.entries] == [("a", "2"), ("b", "1")]
    assert lock.without("a").get("a") is None


def test_no_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert load_lock(tmp_path / "rumpel.lock") == Lock()


def test_a_damaged_lock_is_told(tmp_path: Path) -> None:
    good = Lock(entries=(entry("a"),)).to_json()
    assert words(good[:-10]) == f"rumpel.lock: the lock file cannot be read: Input data was truncated. {WAY_OUT}"
    assert words(good.replace(b'"size": 3', b'"size": "3"')) == (
        "rumpel.lock: the lock file cannot be read: Expected `int`, got `str` - at `$.sources[0].files[0].size`. "
        + WAY_OUT
    )
    assert words(good.replace(b'"a.deb"', b'"../a.deb"')) == (
        f"rumpel.lock: source 'a': '../a.deb' is not a file's name. {WAY_OUT}"
    )
    assert words(good.replace(b"a" * 64, b"a" * 63)) == (
        f"rumpel.lock: source 'a': '{'a' * 63}' is not a SHA-256 digest (64 hexadecimal digits). {WAY_OUT}"
    )
    assert words(Lock(entries=(entry("a"), entry("a"))).to_json()) == (
        f"rumpel.lock: source 'a' is pinned twice. {WAY_OUT}"
    )


def test_a_newer_lock_is_told() -> None:
    assert words(b'{"schema": 2, "future": []}') == (
        f"rumpel.lock: the lock file has schema 2; this Rumpel knows schema 1. {WAY_OUT}"
    )
