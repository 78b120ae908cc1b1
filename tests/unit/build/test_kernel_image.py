"""Kernels: the payload of a bzImage in each compression, the PVH note, and the packed ELF file."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
from pathlib import Path

import pytest

from rumpel.build import bzimage, pvh
from rumpel.errors import BuildError, HostError

KERNEL = bytes(range(256)) * 5000


def _bzimage(payload: bytes, *, version: int = 0x20F, sectors: int = 4) -> bytes:
    image = bytearray((sectors + 1) * 512 + 100)
    image[0x1F1] = sectors
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, version)
    struct.pack_into("<II", image, 0x248, 100, len(payload))
    return bytes(image) + payload + b"what follows the payload"


def _compressed(kind: str) -> bytes:
    size = struct.pack("<I", len(KERNEL))
    if kind == "gzip":
        return gzip.compress(KERNEL)
    if kind == "xz":
        return lzma.compress(KERNEL, check=lzma.CHECK_CRC32) + size
    command = {"lz4": ["lz4", "-l", "-c"], "zstd": ["zstd", "-c", "--quiet"]}[kind]
    return subprocess.run(command, input=KERNEL, stdout=subprocess.PIPE, check=True).stdout + size


@pytest.mark.parametrize("kind", ["gzip", "xz", "lz4", "zstd"])
def test_a_kernel_in_each_compression_comes_out_whole(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(_bzimage(_compressed(kind)))
    assert bzimage.vmlinux(path) == KERNEL


def test_no_setup_sectors_in_the_header_means_four() -> None:
    image = bytearray(_bzimage(b"the payload"))
    image[0x1F1] = 0
    assert bzimage.payload(bytes(image), "vmlinuz") == b"the payload"


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"\x7fELF", "The kernel 'vmlinuz' is not a bzImage: it has no setup header."),
        (_bzimage(b"x", version=0x207), "The kernel 'vmlinuz' has boot protocol 2.07; 2.08 or later is needed."),
        (
            _bzimage(b"x" * 1000)[:3000],
            "The kernel 'vmlinuz' is damaged: its setup header names a payload of 1000 bytes at offset 2660, "
            "but the file has 3000 bytes.",
        ),
    ],
)
def test_what_is_no_whole_bzimage_is_refused(image: bytes, words: str) -> None:
    with pytest.raises(BuildError) as caught:
        bzimage.payload(image, "vmlinuz")
    assert str(caught.value) == words


def test_an_unknown_compression_is_named_by_its_first_bytes() -> None:
    with pytest.raises(BuildError) as caught:
        bzimage.decompress(b"\x01\x02\x03\x04 and more", "vmlinuz")
    assert str(caught.value) == (
        "The kernel 'vmlinuz' is compressed in a way that is not known here (it begins with 01 02 03 04); "
        "gzip, xz, LZ4 and Zstandard are."
    )


def test_a_damaged_payload_is_an_error_that_names_the_kernel() -> None:
    data = bytearray(gzip.compress(KERNEL))
    data[40:60] = bytes(20)
    with pytest.raises(BuildError, match=r"^The kernel 'vmlinuz' cannot be decompressed: .+\.$"):
        bzimage.decompress(bytes(data), "vmlinuz")


def test_a_missing_decompressor_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = _compressed("lz4")
    monkeypatch.setattr(bzimage, "TOOL_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        bzimage.decompress(data, "vmlinuz")
    assert str(caught.value) == "The program 'lz4' is missing.\nInstall it: apt-get install lz4"


def _note(name: bytes, kind: int, value: bytes) -> bytes:
    data = struct.pack("<III", len(name), len(value), kind)
    return data + name + bytes(-len(name) % 4) + value + bytes(-len(value) % 4)


def _elf(notes: bytes) -> bytes:
    """A kernel with two segments: one with zero bytes at its end, one that is in the file 2 MiB further on."""
    header_size = 64 + 3 * 56
    first = b"text" * 100 + bytes(8192)
    second = b"data" * 10
    image = bytearray(0x200000 + len(second))
    image[0x1000 : 0x1000 + len(first)] = first
    image[0x200000:] = second
    image[0x5000 : 0x5000 + len(notes)] = notes
    image[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
        2,
        62,
        1,
        0x1000000,
        64,
        0,
        0,
        64,
        56,
        3,
        0,
        0,
        0,
    )
    for index, (kind, offset, virtual, physical, size, memory) in enumerate(
        [
            (1, 0x1000, 0xFFFFFFFF81000000, 0x1000000, len(first), len(first) + 4096),
            (1, 0x200000, 0xFFFFFFFF82000000, 0x2000000, len(second), 0x300000),
            (4, 0x5000, 0, 0, len(notes), len(notes)),
        ]
    ):
        struct.pack_into(
            "<IIQQQQQQ",
            image,
            64 + index * 56,
            kind,
            5,
            offset,
            virtual,
            physical,
            size,
            memory,
            4 if kind == 4 else 0x200000,
        )
    assert header_size < 0x1000
    return bytes(image)


XEN_ENTRY = _note(b"Xen\0", 18, struct.pack("<Q", 0x1000370))


def test_the_pvh_entry_is_found_behind_other_notes() -> None:
    elf = pvh.parse(_elf(_note(b"GNU\0", 3, b"build-id-of-20-bytes") + _note(b"Xen\0", 6, b"linux") + XEN_ENTRY))
    assert elf is not None
    assert pvh.entry_point(elf) == 0x1000370


@pytest.mark.parametrize("notes", [b"", _note(b"Xen\0", 6, b"linux"), _note(b"GNU\0", 18, bytes(8)), XEN_ENTRY[:-4]])
def test_a_kernel_without_a_whole_pvh_note_has_no_entry(notes: bytes) -> None:
    elf = pvh.parse(_elf(notes))
    assert elf is not None
    assert pvh.entry_point(elf) is None


@pytest.mark.parametrize("image", [b"", b"MZ" + bytes(100), _elf(XEN_ENTRY)[:0x180000]])
def test_what_is_no_whole_x86_64_elf_file_is_not_parsed(image: bytes) -> None:
    assert pvh.parse(image) is None


def _loaded(elf: pvh.Elf) -> dict[int, bytes]:
    return {
        segment.physical: segment.data.ljust(segment.memory_size, b"\0")
        for segment in elf.segments
        if segment.kind == 1
    }


def test_the_packed_kernel_loads_to_the_same_memory_from_a_much_smaller_file() -> None:
    image = _elf(XEN_ENTRY)
    elf = pvh.parse(image)
    assert elf is not None
    small = pvh.packed(elf)
    again = pvh.parse(small)
    assert again is not None
    assert len(small) < len(image) / 50
    assert _loaded(again) == _loaded(elf)
    assert again.entry == elf.entry
    assert pvh.entry_point(again) == 0x1000370


def test_readelf_finds_nothing_wrong_with_the_packed_kernel(tmp_path: Path) -> None:
    elf = pvh.parse(_elf(XEN_ENTRY))
    assert elf is not None
    path = tmp_path / "kernel"
    path.write_bytes(pvh.packed(elf))
    done = subprocess.run(["readelf", "-lnW", str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("LOAD") == 2
