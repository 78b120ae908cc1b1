"""Whether a file is still what it was, whatever was done to its times."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from rumpel.build.digests import Digests, Stamp, stamp_of

OLD = hashlib.sha256(b"old").hexdigest()
NEW = hashlib.sha256(b"new").hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.c"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def digests(tmp_path: Path) -> Digests:
    return Digests(tmp_path / ".digests")


def settle(path: Path) -> None:
    """Wait until another change of the file would have another time."""
    while stamp_of(str(path)).settles(time.time_ns()) > 0:
        time.sleep(0.01)


def test_a_source_has_one_digest_for_the_whole_build(digests: Digests, source: Path) -> None:
    assert digests.source(str(source)) == OLD
    source.write_bytes(b"new")
    assert digests.source(str(source)) == OLD


def test_a_product_has_the_digest_of_what_it_is_now(digests: Digests, source: Path) -> None:
    assert digests.product(str(source)) == OLD
    settle(source)
    source.write_bytes(b"new")
    assert digests.product(str(source)) == NEW


def test_a_file_that_is_not_there_has_no_digest(digests: Digests, tmp_path: Path) -> None:
    assert digests.source(str(tmp_path / "none")) is None
    assert digests.product(str(tmp_path / "none")) is None


def test_a_source_written_at_once_after_the_first_look_has_changed(digests: Digests, source: Path) -> None:
    digests.look(str(source))
    status = source.stat()
    source.write_bytes(b"new")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digests.changed([str(source)]) == [str(source)]


def test_a_source_written_between_the_scan_and_its_digest_has_changed(digests: Digests, source: Path) -> None:
    digests.look(str(source))
    source.write_bytes(b"new")
    digests.source(str(source))
    assert digests.changed([str(source)]) == [str(source)]


@pytest.mark.parametrize("how", ["write", "replace", "remove", "link"])
def test_a_source_that_was_read_and_then_written_has_changed(digests: Digests, source: Path, how: str) -> None:
    digests.source(str(source))
    other = source.with_name("other")
    other.write_bytes(b"old")
    if how == "write":
        source.write_bytes(b"new")
    elif how == "replace":
        other.replace(source)
    else:
        source.unlink()
        if how == "link":
            source.symlink_to(other)
    assert digests.changed([str(source)]) == [str(source)]


def test_new_permissions_and_another_link_are_no_change(digests: Digests, source: Path) -> None:
    digests.source(str(source))
    source.chmod(0o600)
    source.with_name("link").hardlink_to(source)
    assert digests.changed([str(source), str(source.with_name("never seen"))]) == []


def test_the_next_build_reads_only_what_was_written(digests: Digests, source: Path, tmp_path: Path) -> None:
    settle(source)
    digests.source(str(source))
    digests.save()
    lying = (tmp_path / ".digests").read_text().replace(OLD, NEW)
    (tmp_path / ".digests").write_text(lying)
    assert Digests(tmp_path / ".digests").source(str(source)) == NEW  # not read again
    status = source.stat()
    source.write_bytes(b"OLD")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Digests(tmp_path / ".digests").source(str(source)) == hashlib.sha256(b"OLD").hexdigest()


def test_what_was_read_in_the_tick_of_its_change_is_read_again_by_the_next_build(
    digests: Digests, tmp_path: Path
) -> None:
    for number in range(100):  # until a file is read before the tick of its change ends
        path = tmp_path / str(number)
        path.write_bytes(b"old")
        digests.product(str(path))
        if stamp_of(str(path)).settles(time.time_ns()) > 0:
            break
    else:
        pytest.fail("every file was read too late")
    digests.save()
    kept = (tmp_path / ".digests").read_text() if (tmp_path / ".digests").exists() else ""
    assert str(path.stat().st_ino) not in kept


@pytest.mark.parametrize("content", [b"", b"{", b"[[1,2]]", b"\xff\xfe", b'[[[1,2,3,4,"5"],"a"]]'])
def test_a_file_of_digests_that_cannot_be_read_is_as_none(source: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".digests").write_bytes(content)
    digests = Digests(tmp_path / ".digests")
    assert digests.source(str(source)) == OLD


def test_a_file_system_that_keeps_whole_seconds_settles_after_two() -> None:
    second = 1_000_000_000
    assert Stamp(1, 2, 3, 5 * second, 5 * second).settles(6 * second) == second
    assert Stamp(1, 2, 3, 5 * second, 5 * second + 1).settles(6 * second) < 0
