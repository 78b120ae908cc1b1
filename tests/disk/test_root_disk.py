"""The root filesystem on a disk: every way in which its files are stored, little memory, damaged and silent disks."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.abi import nano
from tests.disk import images

INITRD = nano.archive({"rumpel/settings": b"schema=1\0program=/bin/program\0root=rootfs,erofs\0"})
KINDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "lz4": ("-zlz4",),
    "lz4hc": ("-zlz4hc,9",),
    "clusters of 16 KiB": ("-zlz4hc,9", "-C16384"),
    "clusters of 64 KiB": ("-zlz4hc,9", "-C65536"),
    "the old index": ("-zlz4hc", "-Elegacy-compress"),
    "the old padding": ("-zlz4", "-Elegacy-compress"),
}

pytestmark = pytest.mark.boot


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory, reader: Path) -> Path:
    """The root's files: the tree in /data, the program."""
    folder = tmp_path_factory.mktemp("tree")
    images.make_tree(folder / "data")
    for name in ("bin", "dev", "proc", "run", "tmp", "rumpel"):
        (folder / name).mkdir()
    (folder / "bin/program").write_bytes(reader.read_bytes())
    return folder


@pytest.fixture(scope="session")
def expected(tree: Path) -> list[str]:
    """What the program prints."""
    return images.described(tree / "data", "/data")


def disk(image: Path) -> tuple[str, ...]:
    """QEMU's words for the disk."""
    back = f"driver=raw,node-name=root,read-only=on,file.driver=file,file.filename={image}"
    return ("-blockdev", back, "-device", "virtio-blk-device,drive=root,serial=rootfs")


def faulty(image: Path, rules: str) -> tuple[str, ...]:
    """QEMU's words for a disk with faults, by the rules of its driver blkdebug."""
    config = image.with_suffix(".rules")
    config.write_text(rules)
    file = f"file.driver=blkdebug,file.config={config},file.image.driver=file,file.image.filename={image}"
    back = f"driver=raw,node-name=root,read-only=on,{file}"
    return ("-blockdev", back, "-device", "virtio-blk-device,drive=root,serial=rootfs")


def fails(kernel: Path, folder: Path, extra: tuple[str, ...], why: str) -> None:
    """The machine ends with `fail WHY`, also as the console's last line."""
    end = nano.run(kernel, INITRD, folder, memory="32M", extra=extra)
    assert end.control[-1:] == (f"fail {why}",), end.console
    assert end.console.splitlines()[-1] == f"nano: {why}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_reads_as_it_was_stored(
    kind: str, kernel: Path, tree: Path, expected: list[str], tmp_path: Path
) -> None:
    images.make_image(tree, tmp_path / "root.erofs", KINDS[kind])
    end = nano.run(kernel, INITRD, tmp_path, extra=disk(tmp_path / "root.erofs"))
    assert end.console.splitlines() == expected
    assert end.status == 0


def test_pages_are_taken_back_when_memory_is_short(
    kernel: Path, tree: Path, expected: list[str], tmp_path: Path
) -> None:
    images.make_image(tree, tmp_path / "root.erofs", KINDS["clusters of 16 KiB"])
    end = nano.run(kernel, INITRD, tmp_path, memory="3M", extra=disk(tmp_path / "root.erofs"))
    assert end.console.splitlines() == expected
    assert end.status == 0


def test_a_missing_disk_is_named(kernel: Path, tmp_path: Path) -> None:
    why = "The machine has no disk with the serial number 'rootfs', where the root filesystem is."
    fails(kernel, tmp_path, (), why)


def test_a_disk_without_the_filesystem_is_named(kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "root.erofs").write_bytes(bytes(65536))
    why = "The root filesystem's disk 'rootfs' cannot be mounted: it holds no erofs filesystem."
    fails(kernel, tmp_path, disk(tmp_path / "root.erofs"), why)


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (1024 + 80, struct.pack("<I", 0x10), "its erofs filesystem has features that this kernel does not know"),
        (1024 + 12, b"\x0b", "its blocks are not of 4096 bytes"),
        (1024 + 14, b"\xff\xff", "its root directory is damaged"),
        (1024 + 36, b"\xff\xff\xff\x7f", "it is smaller than its filesystem: the image is truncated"),
    ],
)
def test_a_damaged_superblock_is_named(
    offset: int, value: bytes, why: str, kernel: Path, tree: Path, tmp_path: Path
) -> None:
    image = tmp_path / "root.erofs"
    images.make_image(tree, image, ())
    data = image.read_bytes()
    image.write_bytes(data[:offset] + value + data[offset + len(value) :])
    fails(kernel, tmp_path, disk(image), f"The root filesystem's disk 'rootfs' cannot be mounted: {why}.")


def test_a_truncated_disk_is_named(kernel: Path, tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.erofs"
    images.make_image(tree, image, ())
    image.write_bytes(image.read_bytes()[:40960])
    why = "The root filesystem's disk 'rootfs' cannot be mounted: it is smaller than its filesystem: "
    fails(kernel, tmp_path, disk(image), f"{why}the image is truncated.")


def test_a_disk_that_cannot_be_read_ends_the_program_with_a_report(kernel: Path, tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.erofs"
    images.make_image(tree, image, ())
    extra = faulty(image, '[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nsector = "-1"\n')
    why = "The root filesystem's disk 'rootfs' cannot be mounted: its superblock cannot be read."
    fails(kernel, tmp_path, extra, why)
    assert "nano: the disk 'rootfs' could not read" in (tmp_path / "console.txt").read_text()


def test_a_program_on_bad_sectors_is_named(kernel: Path, tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.erofs"
    images.make_image(tree, image, ("-zlz4hc,9",))
    sector = images.first_extent(image, "/bin/program")[0] // 512
    rules = f'[inject-error]\nevent = "none"\niotype = "read"\nerrno = "5"\nsector = "{sector}"\n'
    fails(kernel, tmp_path, faulty(image, rules), "The program '/bin/program' cannot be run: it cannot be read.")


@pytest.mark.timeout(120)
def test_a_disk_that_does_not_answer_is_given_up(kernel: Path, tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.erofs"
    images.make_image(tree, image, ())
    # A byte a second: what is asked for comes in hours.
    extra = (
        *("-object", "throttle-group,id=slow,x-bps-read=1"),
        *("-blockdev", f"driver=file,node-name=image,read-only=on,filename={image}"),
        *("-blockdev", "driver=throttle,node-name=root,throttle-group=slow,file=image,read-only=on"),
        *("-device", "virtio-blk-device,drive=root,serial=rootfs"),
    )
    fails(kernel, tmp_path, extra, "The disk 'rootfs' has not answered for 30 seconds.")


def test_a_damaged_compressed_file_is_an_error_of_its_reader(kernel: Path, tree: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.erofs"
    images.make_image(tree, image, KINDS["lz4hc"])
    start, size = images.first_extent(image, "/data/text")
    data = bytearray(image.read_bytes())
    data[start : start + size] = b"\xff" * size
    image.write_bytes(data)
    end = nano.run(kernel, INITRD, tmp_path, extra=disk(image))
    assert end.console.splitlines()[-1] == "/data/text: pread: Input/output error"
    assert end.status == 1
