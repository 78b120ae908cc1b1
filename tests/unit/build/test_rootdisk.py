"""The disk of a large root filesystem: what it is made of, and that the same files give the same bytes."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from rumpel.build import step
from rumpel.build.rootdisk import RootDisk
from rumpel.build.rootfs import Placement
from rumpel.build.step import Workspace
from rumpel.errors import BuildError, HostError

MIB = 1 << 20


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """By path in the guest: something that is worth compressing, something that is not, something small."""
    noise = random.Random(7)
    words = [noise.randbytes(noise.randint(3, 12)) for _ in range(500)]
    return {
        "/srv/words": b"".join(noise.choice(words) for _ in range(400_000)),
        "/srv/noise": noise.randbytes(MIB + 1),
        "/srv/deep/small": b"small\n",
    }


def make(folder: Path, files: dict[str, bytes]) -> tuple[Path, Path]:
    """The disk of those files, and its list of contents, made in `folder`."""
    folder.mkdir(parents=True)
    sources = []
    placements = []
    for number, (target, data) in enumerate(files.items()):
        sources.append(folder / f"source-{number}")
        sources[-1].write_bytes(data)
        placements.append(Placement(target=target, owner="component/data", mode=0o100644, source=number))
    disk = RootDisk(
        part="composition/data", placements=tuple(placements), collected=(), generated=(), folders=(), programs=()
    )
    targets = (folder / "rootfs.qcow2", folder / "contents.json")
    disk.run(Workspace(root=folder, unpack=lambda source: folder), sources, targets)
    return targets


def test_the_same_files_give_the_same_disk_wherever_whenever_and_on_however_many_processors(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    first, _ = make(tmp_path / "first", files)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    before = os.umask(0o077)
    try:
        second, _ = make(tmp_path / "a second place", files)
    finally:
        os.umask(before)
        os.sched_setaffinity(0, allowed)
    assert first.read_bytes() == second.read_bytes()


def test_the_disk_is_a_sound_qcow2_file_that_rests_on_no_other_and_is_compressed(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    disk, _ = make(tmp_path / "made", files)
    subprocess.run(["qemu-img", "check", "-f", "qcow2", disk], check=True, capture_output=True)
    told = subprocess.run(["qemu-img", "info", "-f", "qcow2", "--output=json", disk], check=True, capture_output=True)
    info = json.loads(told.stdout)
    assert "backing-filename" not in info
    assert info["format-specific"]["data"]["compression-type"] == "zstd"
    size = sum(map(len, files.values()))
    assert info["virtual-size"] > size
    assert len(files["/srv/noise"]) < disk.stat().st_size < 0.8 * size


def test_the_filesystem_on_the_disk_is_not_compressed_itself_and_holds_every_file(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    disk, contents = make(tmp_path / "made", files)
    plain = tmp_path / "plain"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, plain], check=True)
    image = plain.read_bytes()
    # Linux, fs/erofs/erofs_fs.h: at byte 1024 the magic number, 80 bytes on what a reader must know of.
    assert image[1024:1028] == bytes.fromhex("e2e1f5e0")
    assert image[1024 + 80 : 1024 + 84] == bytes(4)
    subprocess.run(["fsck.erofs", f"--extract={tmp_path / 'tree'}", plain], check=True, capture_output=True)
    for path, data in files.items():
        assert (tmp_path / f"tree{path}").read_bytes() == data
    listed = {entry["path"] for entry in json.loads(contents.read_bytes()) if entry["kind"] == "file"}
    assert listed == files.keys()


def test_a_missing_tool_is_named_with_its_package(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mkfs.erofs").symlink_to("/usr/bin/mkfs.erofs")
    monkeypatch.setattr(step, "TOOL_PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        make(tmp_path / "made", files)
    assert str(caught.value) == "The program 'qemu-img' is missing.\nInstall it: apt-get install qemu-utils"


def test_a_tool_that_fails_is_named_and_its_words_are_told(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = tmp_path / "qemu-img"
    failing.write_text("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(step, "TOOL_PATH", f"{tmp_path}:{step.TOOL_PATH}")
    with pytest.raises(BuildError) as caught:
        make(tmp_path / "made", files)
    assert caught.value.message.startswith("qemu-img could not make the root filesystem's disk.")
    assert "No space left on device" in caught.value.output
