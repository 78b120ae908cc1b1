"""The cache of built pieces: its size limit, and two that prune at once."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from rumpel.build import cache
from rumpel.errors import HostError, UsageError


def _fill(folder: Path, count: int, size: int) -> list[Path]:
    cache.prepare(folder)
    pieces = []
    for number in range(count):
        path = folder / f"{number % 256:02X}" / f"{number:064x}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (1000 + number, 1000 + number))
        pieces.append(path)
    return pieces


def test_a_cache_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError) as caught:
        cache.prepare(tmp_path / "file/build")
    assert str(caught.value) == (
        f"The cache of built pieces cannot be made: '{tmp_path}/file/build': Not a directory.\n"
        "Check the folder's permissions and the disk, or name another folder with RUMPEL_CACHE."
    )


def test_the_longest_unused_pieces_go_first_until_the_cache_is_below_its_limit(tmp_path: Path) -> None:
    pieces = _fill(tmp_path, 10, 1000)
    os.utime(pieces[0], (9999, 9999))
    assert cache.prune(tmp_path, 5000) == 6000
    assert [path.exists() for path in pieces] == [True] + 6 * [False] + 3 * [True]


def test_a_cache_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    pieces = _fill(tmp_path, 10, 1000)
    assert cache.prune(tmp_path, 10_000) == 0
    assert all(path.exists() for path in pieces)


def test_the_configuration_is_never_pruned(tmp_path: Path) -> None:
    _fill(tmp_path, 3, 1000)
    cache.prune(tmp_path, 0)
    assert (tmp_path / "config").read_text() == '{"prefix_len": 2}'


def test_nothing_is_pruned_while_another_build_prunes(tmp_path: Path) -> None:
    pieces = _fill(tmp_path, 3, 1000)
    with (tmp_path / ".prune.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cache.prune(tmp_path, 0) == 0
    assert all(path.exists() for path in pieces)
    assert cache.prune(tmp_path, 0) == 3000


@pytest.mark.parametrize(
    ("setting", "size"),
    [(None, 2 << 30), ("", 2 << 30), ("100", 100), ("64k", 65536), ("3M", 3 << 20), ("1G", 1 << 30)],
)
def test_the_limit_is_read_with_its_unit(setting: str | None, size: int) -> None:
    assert cache.limit_from(setting) == size


@pytest.mark.parametrize("setting", ["many", "-1", "1T", "1.5G"])
def test_a_limit_that_is_no_size_is_an_error(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        cache.limit_from(setting)
    assert str(caught.value) == (
        f"'RUMPEL_CACHE_LIMIT' is '{setting}', which is not a size.\nWrite a number with K, M or G, such as 2G."
    )
