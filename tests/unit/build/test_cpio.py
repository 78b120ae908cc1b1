"""The cpio writer: cpio(1) reads what it writes, and the same entries give the same bytes."""

from __future__ import annotations

import random
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpel.build.cpio import Entry, archive, directory

ENTRIES = [
    directory("bin"),
    Entry("bin/program", stat.S_IFREG | 0o755, b"\x7fELF and more"),
    Entry("bin/empty", stat.S_IFREG | 0o644, b""),
    Entry("bin/link", stat.S_IFLNK | 0o777, b"program"),
    directory("dev"),
    Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
]


def test_cpio_unpacks_every_entry_with_its_type_mode_and_content(tmp_path: Path) -> None:
    plain = [entry for entry in ENTRIES if not stat.S_ISCHR(entry.mode)]
    subprocess.run(["cpio", "-id", "--quiet"], input=archive(plain), cwd=tmp_path, check=True)
    assert (tmp_path / "bin/program").read_bytes() == b"\x7fELF and more"
    assert stat.S_IMODE((tmp_path / "bin/program").stat().st_mode) == 0o755
    assert (tmp_path / "bin/empty").read_bytes() == b""
    assert (tmp_path / "bin/link").readlink() == Path("program")


def test_owner_time_and_device_numbers_are_fixed() -> None:
    listing = subprocess.run(
        ["cpio", "-tv", "--numeric-uid-gid", "--quiet"],
        input=archive(ENTRIES),
        stdout=subprocess.PIPE,
        check=True,
        env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
    ).stdout.decode()
    lines = [line.split() for line in listing.splitlines()]
    assert all(line[2:4] == ["0", "0"] for line in lines)
    assert all("Jan 1 1970" in " ".join(line) for line in lines)
    assert next(line for line in lines if line[-1] == "dev/console")[4:6] == ["5,", "1"]


def test_the_order_in_which_entries_are_given_does_not_matter() -> None:
    shuffled = ENTRIES[:]
    random.Random(7).shuffle(shuffled)
    assert shuffled != ENTRIES
    assert archive(shuffled) == archive(ENTRIES)


def test_a_folder_stands_before_what_is_in_it_even_beside_a_name_that_sorts_between() -> None:
    data = archive([Entry("a/b", stat.S_IFREG | 0o644), Entry("a.c", stat.S_IFREG | 0o644), directory("a")])
    assert data.index(b"a\0") < data.index(b"a/b\0")


@pytest.mark.parametrize("path", ["/bin", "", "a\0b"])
def test_a_path_that_is_not_relative_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a fresh relative path"):
        archive([directory(path)])


def test_a_path_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'bin' is not a fresh relative path"):
        archive([directory("bin"), directory("bin")])


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.binary(max_size=40), max_size=6))
def test_every_header_and_every_content_is_aligned_to_four_bytes(files: dict[str, bytes]) -> None:
    data = archive([Entry(name, stat.S_IFREG | 0o644, content) for name, content in files.items()])
    position, found = 0, {}
    while True:
        assert position % 4 == 0
        assert data[position : position + 6] == b"070701"
        fields = [int(data[position + 6 + 8 * i : position + 14 + 8 * i], 16) for i in range(13)]
        name = data[position + 110 : position + 110 + fields[11] - 1].decode()
        start = -(-(position + 110 + fields[11]) // 4) * 4
        if name == "TRAILER!!!":
            break
        found[name] = data[start : start + fields[6]]
        position = -(-(start + fields[6]) // 4) * 4
    assert found == files
