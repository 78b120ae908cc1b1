"""Volumes are made once, checked, locked, and never lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel.errors import VolumeError
from rumpel.machine.volumes import Place, ensure_volume, take_volume, volume_path, volume_uuid
from rumpel.machine.volumes_change import changed, grow
from rumpel.machine.volumes_ext4 import MIB, check_whole, read_superblock
from rumpel.machine.volumes_fresh import begin_beside, place_without_replacing
from rumpel.machine.volumes_lock import hold_for_reading, hold_for_writing
from rumpel.resolve.plan import Volume

SOURCES = {"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")}
DATA = Volume(name="data", mount="/data", size=8, serial="data")


def tool(*words: str, data: bytes = b"") -> str:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        words, input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": path}, check=False
    )
    return done.stdout.decode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("web", tmp_path / "volumes", tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "rumpel-test", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_volume_is_a_clean_ext4_image_of_its_size(place: Place) -> None:
    with take_volume(DATA, place) as taken:
        assert taken.path == volume_path("web", "data", place.folder)
        assert taken.path.stat().st_size == 8 * MIB
        assert taken.path.stat().st_blocks * 512 < 8 * MIB
        assert str(volume_uuid("web", "data")) in tool("dumpe2fs", "-h", str(taken.path))
        assert "clean" in tool("e2fsck", "-n", str(taken.path))


def test_volume_lies_in_the_state_folder_by_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUMPEL_STATE", str(tmp_path))
    assert volume_path("web", "data") == tmp_path / "volumes" / "web" / "data.ext4"


def test_volume_is_filled_from_its_folder_once(place: Place, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "greeting").write_text("hello\n")
    seeded = Volume(name="data", mount="/data", size=8, files="seed")
    path = ensure_volume(seeded, place)
    assert "hello" in tool("debugfs", "-R", "cat greeting", str(path))
    before = path.read_bytes()
    (seed / "greeting").write_text("other\n")
    with take_volume(seeded, place):
        pass
    assert path.read_bytes() == before


def test_missing_seed_folder_is_named(place: Place, tmp_path: Path) -> None:
    with pytest.raises(VolumeError) as caught:
        ensure_volume(Volume(name="data", mount="/data", size=8, files="none"), place)
    assert str(caught.value) == (
        f"The volume 'data' is to be filled from 'none', but there is no such folder: {tmp_path}/none.\n"
        "Create the folder, or take 'files' out of the volume."
    )


def test_seed_larger_than_the_volume_is_refused(place: Place, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "big").write_bytes(b"x" * 9 * MIB)
    with pytest.raises(VolumeError) as caught:
        ensure_volume(Volume(name="data", mount="/data", size=8, files="seed"), place)
    assert caught.value.message == "The volume 'data' of 8 MiB is too small for its files: 'seed' holds 9 MiB."
    assert not volume_path("web", "data", place.folder).exists()


def test_seed_that_fits_only_by_its_bytes_is_refused_with_mke2fs_words(place: Place, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "big").write_bytes(os.urandom(8 * MIB - 4096))
    with pytest.raises(VolumeError) as caught:
        ensure_volume(Volume(name="data", mount="/data", size=8, files="seed"), place)
    assert caught.value.message.startswith("The volume 'data' of 8 MiB could not be made: mke2fs said: ")
    assert caught.value.hint == "Give the volume a larger 'size'."
    assert place.folder is not None
    assert list(place.folder.iterdir()) == []


def test_existing_volume_is_never_overwritten(place: Place) -> None:
    path = ensure_volume(DATA, place)
    tool("debugfs", "-w", "-R", "mkdir kept", str(path))
    before = path.read_bytes()
    assert ensure_volume(DATA, place) == path
    assert path.read_bytes() == before


def test_foreign_file_in_the_place_of_a_volume_is_left_alone(place: Place) -> None:
    path = volume_path("web", "data", place.folder)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a user's notes" * 1000)
    with pytest.raises(VolumeError) as caught:
        take_volume(DATA, place)
    assert caught.value.message.startswith(
        f"The volume 'data' is damaged in a way that needs a decision: {path}. e2fsck said: "
    )
    assert path.read_bytes() == b"a user's notes" * 1000
    assert caught.value.hint == f"Keep a copy of the file, then mend it with: e2fsck {path}"
    assert caught.value.volume == path


def test_damage_that_needs_a_decision_is_refused_and_nothing_is_changed(place: Place) -> None:
    path = ensure_volume(DATA, place)
    tool("debugfs", "-w", "-R", "mkdir folder", str(path))
    tool("debugfs", "-w", "-R", "sif folder mode 0", str(path))
    tool("debugfs", "-w", "-R", "ssv state 2", str(path))  # errors detected: e2fsck looks at everything
    tool("debugfs", "-w", "-f", "-", str(path), data=b"clri <2>\n")
    before = path.read_bytes()
    time.sleep(1.1)  # times in an ext4 superblock have seconds: a written one must differ
    with pytest.raises(VolumeError) as caught:
        take_volume(DATA, place)
    assert "UNEXPECTED INCONSISTENCY" in caught.value.message
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["data.ext4"]


def test_check_that_a_signal_ends_is_no_check(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ensure_volume(DATA, place)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "e2fsck").write_text("#!/bin/sh\nkill -KILL $$\n")
    (programs / "e2fsck").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(VolumeError) as refused:
        take_volume(DATA, place)
    assert refused.value.message == (f"The volume 'data' could not be checked: signal 9 ended e2fsck: {path}.")


def test_name_of_a_new_volume_is_written_back_before_it_is_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        written.append(
            (Path(f"/proc/self/fd/{descriptor}").resolve(), volume_path("web", "data", place.folder).exists())
        )
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    ensure_volume(DATA, place)
    assert written[-1] == (place.folder, True)


def test_small_damage_is_mended(place: Place) -> None:
    path = ensure_volume(DATA, place)
    tool("debugfs", "-w", "-R", "ssv free_blocks_count 7", str(path))
    tool("debugfs", "-w", "-R", "ssv state 2", str(path))
    assert "Free blocks count wrong" in tool("e2fsck", "-n", "-f", str(path))
    with take_volume(DATA, place):
        assert "Free blocks count wrong" not in tool("e2fsck", "-n", "-f", str(path))


def test_volume_in_use_is_refused_until_it_is_free(place: Place) -> None:
    with take_volume(DATA, place) as taken, pytest.raises(VolumeError) as caught:
        take_volume(DATA, place)
    assert str(caught.value) == (
        f"The volume 'data' is in use by another instance: {taken.path}.\n"
        "Stop that instance ('rumpel ps' lists what runs); nothing was changed."
    )
    take_volume(DATA, place).release()


def test_volume_locked_by_a_qemu_started_by_hand_is_refused(place: Place) -> None:
    path = ensure_volume(DATA, place)
    with path.open("rb+") as image:  # QEMU's way: a shared OFD lock on a byte from 100 on
        fcntl.fcntl(image, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))
        with pytest.raises(VolumeError, match="is in use by another instance"):
            take_volume(DATA, place)


@pytest.mark.parametrize(("byte", "writes"), [(100, False), (101, True)])
def test_reader_goes_beside_a_qemu_that_reads_and_not_beside_one_that_writes(
    place: Place, byte: int, writes: bool
) -> None:
    path = ensure_volume(DATA, place)
    with path.open("rb+") as image:  # byte 100: the right to read, 101: to write
        fcntl.fcntl(image, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
        if writes:
            with pytest.raises(VolumeError, match="is in use by another instance"):
                hold_for_reading("data", path)
        else:
            hold_for_reading("data", path).release()


def test_change_that_is_cut_off_leaves_the_volume_and_the_next_clears_up(place: Place) -> None:
    path = ensure_volume(DATA, place)
    before = path.read_bytes()
    with hold_for_writing("data", path) as taken:
        with pytest.raises(KeyboardInterrupt), changed("data", taken, 0) as copy:
            copy.write_bytes(b"half")
            raise KeyboardInterrupt
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]
    program = (
        "import os, sys; from pathlib import Path; from rumpel.machine.volumes_lock import hold_for_writing;"
        "from rumpel.machine.volumes_change import changed; path = Path(sys.argv[1]);"
        "change = changed('data', hold_for_writing('data', path), 0); change.__enter__().write_bytes(b'half');"
        "os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False, env={**os.environ, **SOURCES})
    assert killed.returncode == -9
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [".data.ext4.copy", "data.ext4"]
    with hold_for_writing("data", path) as taken:
        grow("data", taken, 16)
    assert list(path.parent.iterdir()) == [path]
    check_whole("data", path)


def test_change_that_leaves_a_damaged_copy_is_not_taken(place: Place) -> None:
    path = ensure_volume(DATA, place)
    before = path.read_bytes()
    with (
        hold_for_writing("data", path) as taken,
        pytest.raises(VolumeError, match=r"The changed copy of the volume 'data' is not whole; the volume was left"),
        changed("data", taken, 0) as copy,
        copy.open("rb+") as image,
    ):
        image.seek(5 * 4096)
        image.write(os.urandom(8 * 4096))
    assert path.read_bytes() == before


def test_read_only_volume_is_shared_but_not_with_a_writer(place: Place) -> None:
    read_only = Volume(name="data", mount="/data", size=8, read_only=True)
    ensure_volume(DATA, place)
    with take_volume(read_only, place), take_volume(read_only, place), pytest.raises(VolumeError):
        take_volume(DATA, place)


def test_no_disk_space_is_said_with_what_is_needed_and_free(small_disk: Path) -> None:
    with pytest.raises(VolumeError) as caught:
        ensure_volume(DATA, Place("web", small_disk))
    assert str(caught.value) == (
        f"There is no disk space for the volume 'data': it needs 8 MiB, and 4 MiB are free in '{small_disk}'.\n"
        "Free some space, give the volume a smaller 'size', or set RUMPEL_STATE to a folder on another disk."
    )
    assert list(small_disk.iterdir()) == []


def test_disk_that_fills_up_while_a_volume_is_made_leaves_no_half_volume(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "big").write_bytes(os.urandom(5 * MIB))
    # The check before cannot see what another process writes meanwhile.
    monkeypatch.setattr("rumpel.machine.volumes._require_space", lambda *_: None)
    with pytest.raises(VolumeError) as caught:
        ensure_volume(Volume(name="data", mount="/data", size=16, files="seed"), Place("web", small_disk, tmp_path))
    assert caught.value.message.startswith("There is no disk space for the volume 'data': it needs 16 MiB, and ")
    assert list(small_disk.iterdir()) == []


def test_volume_that_is_larger_than_asked_for_is_used_as_it_is(place: Place) -> None:
    path = ensure_volume(DATA, place)
    before = path.read_bytes()
    with take_volume(Volume(name="data", mount="/data", size=4), place) as taken:
        assert taken.path == path
    assert path.read_bytes() == before


def test_volume_is_not_made_smaller_by_a_size_at_start(place: Place) -> None:
    path = ensure_volume(DATA, place)
    before = path.read_bytes()
    asked = Place(place.instance, place.folder, place.project, sizes={"data": 4})
    with pytest.raises(VolumeError) as caught:
        take_volume(Volume(name="data", mount="/data", size=4), asked)
    assert str(caught.value) == (
        "The volume 'data' has 8 MiB; a volume is not made smaller, such as to 4 MiB.\n"
        "Make a new one with 'rumpel volume create', and copy the files."
    )
    assert path.read_bytes() == before


def test_volume_smaller_than_asked_for_grows_with_what_is_in_it(place: Place) -> None:
    path = ensure_volume(DATA, place)
    tool("debugfs", "-w", "-R", "mkdir kept", str(path))
    with take_volume(Volume(name="data", mount="/data", size=16), place) as taken:
        assert taken.path.stat().st_size == 16 * MIB
        with pytest.raises(VolumeError, match="is in use by another instance"):
            take_volume(DATA, place)
    assert read_superblock("data", path).size == 16 * MIB
    assert "kept" in tool("debugfs", "-R", "ls -p", str(path))
    check_whole("data", path)
    assert [file.name for file in path.parent.iterdir()] == ["data.ext4"]


def test_read_only_volume_does_not_grow(place: Place) -> None:
    path = ensure_volume(DATA, place)
    with take_volume(Volume(name="data", mount="/data", size=16, read_only=True), place):
        assert path.stat().st_size == 8 * MIB


def test_file_in_place_of_a_volume_keeps_its_size_and_must_exist(place: Place, tmp_path: Path) -> None:
    own = ensure_volume(DATA, Place("other", tmp_path / "elsewhere"))
    given = Place("web", place.folder, files={"data": own})
    with take_volume(Volume(name="data", mount="/data", size=64), given) as taken:
        assert taken.path == own
    assert own.stat().st_size == 8 * MIB
    assert not volume_path("web", "data", place.folder).exists()
    with pytest.raises(VolumeError) as caught:
        take_volume(DATA, Place("web", place.folder, files={"data": tmp_path / "none.ext4"}))
    assert str(caught.value) == (
        f"There is no file '{tmp_path}/none.ext4' for the volume 'data'.\n"
        f"Make it with 'rumpel volume create {tmp_path}/none.ext4 --size 8M', or correct the name."
    )


def test_growth_that_the_disk_has_no_room_for_leaves_the_volume_as_it_is(small_disk: Path) -> None:
    place = Place("web", small_disk)
    path = ensure_volume(Volume(name="data", mount="/data", size=2), place)
    before = path.read_bytes()
    with pytest.raises(VolumeError) as caught:
        take_volume(DATA, place)
    assert re.fullmatch(
        r"There is no disk space to change the volume 'data': a changed copy needs \d+ MiB, and 3 MiB are free in "
        rf"'{small_disk}'\.",
        caught.value.message,
    )
    assert path.read_bytes() == before
    assert list(small_disk.iterdir()) == [path]


def test_disk_that_fills_up_while_a_volume_grows_leaves_it_as_it_is(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place("web", small_disk)
    path = ensure_volume(Volume(name="data", mount="/data", size=2), place)
    tool("debugfs", "-w", "-R", f"write {__file__} source", str(path))
    before = path.read_bytes()
    monkeypatch.setattr("rumpel.machine.volumes_change.require_space", lambda *_: None)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(VolumeError, match="There is no disk space to change the volume 'data'"):
        take_volume(DATA, place)
    assert path.read_bytes() == before
    assert sorted(file.name for file in small_disk.iterdir()) == ["data.ext4", "filler"]


def test_reader_with_an_unfinished_journal_replays_it_first(place: Place, tmp_path: Path) -> None:
    path = ensure_volume(DATA, place)
    mount = tmp_path / "mount"
    mount.mkdir()
    subprocess.run(["mount", "-o", "loop", str(path), str(mount)], check=True)
    try:
        (mount / "written").write_text("before the cut")
        os.sync()
        cut = tmp_path / "cut.ext4"
        cut.write_bytes(path.read_bytes())
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    assert read_superblock("data", cut).recover
    given = Place("web", place.folder, files={"data": cut})
    read_only = Volume(name="data", mount="/data", size=8, read_only=True)
    with take_volume(read_only, given), take_volume(read_only, given):
        assert not read_superblock("data", cut).recover
    assert "before the cut" in tool("debugfs", "-R", "cat written", str(cut))


def test_lock_counts_for_the_file_that_is_there_and_not_for_one_that_was_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ensure_volume(DATA, place)
    real = os.open
    replaced: list[int] = []

    def late(name: str | os.PathLike[str], flags: int, *rest: Any, **words: Any) -> int:
        descriptor = real(name, flags, *rest, **words)
        if Path(name) == path and not replaced:
            replaced.append(path.stat().st_ino)
            path.with_name("new").write_bytes(path.read_bytes())
            path.with_name("new").replace(path)
        return descriptor

    monkeypatch.setattr("rumpel.machine.volumes_lock.os.open", late)
    with take_volume(DATA, place):
        assert path.stat().st_ino not in replaced
        with pytest.raises(VolumeError, match="in use"):
            take_volume(DATA, place)


def test_two_who_make_the_same_volume_get_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second finds the place taken only when it is done: the first one's volume stays."""
    path = volume_path("web", "data", place.folder)
    first = ensure_volume(DATA, Place("web", path.parent / "other"))
    real = Path.hardlink_to

    def late(self: Path, target: Path) -> None:
        with contextlib.suppress(FileExistsError):
            real(self, first)
        real(self, target)

    monkeypatch.setattr(Path, "hardlink_to", late)
    assert ensure_volume(DATA, place).samefile(first)


def test_what_a_killed_process_left_of_a_volume_is_removed_and_what_is_being_made_stays(place: Place) -> None:
    path = volume_path(place.instance, "data", place.folder)
    path.parent.mkdir(parents=True)
    left = path.with_name(f".{path.name}.123.new")
    left.write_bytes(b"half")
    with begin_beside(path) as being_made:
        assert ensure_volume(DATA, place) == path
        assert Path(being_made.name).exists()
        Path(being_made.name).unlink()
    assert sorted(path.parent.iterdir()) == [path]


def test_a_volume_is_made_where_there_are_no_hard_links(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    path = ensure_volume(DATA, place)
    check_whole("data", path)
    assert sorted(path.parent.iterdir()) == [path]
    fresh = path.with_name("fresh")
    fresh.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        place_without_replacing(fresh, path)
    assert path.stat().st_size == 8 * MIB and fresh.read_bytes() == b"other"
