"""Damaged programs, archives and settings: a sentence that says what is wrong, and the end."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.abi import nano

PROGRAMS = Path(__file__).with_name("programs")
SETTINGS = b"schema=1\0program=/bin/program\0"

pytestmark = pytest.mark.boot


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A program that works."""
    output = tmp_path_factory.mktemp("good") / "program"
    return nano.compile_static(PROGRAMS / "map_null.c", output, "gcc").read_bytes()


def fails(kernel: Path, initrd: bytes, folder: Path, why: str, status: nano.Status) -> None:
    """The machine ends with `fail WHY`, also as the console's last line, and this status."""
    end = nano.run(kernel, initrd, folder, memory="32M")
    assert end.control[-1:] == (f"fail {why}",)
    assert end.last_line == f"nano: {why}"
    assert end.qemu == status


def program(data: bytes) -> bytes:
    """A root filesystem with this as its program."""
    return nano.archive({"rumpel/settings": SETTINGS, "bin/program": data})


def changed(data: bytes, offset: int, value: bytes) -> bytes:
    """The bytes with some of them replaced."""
    return data[:offset] + value + data[offset + len(value) :]


def test_the_unchanged_program_runs(kernel: Path, good: bytes, tmp_path: Path) -> None:
    assert nano.run(kernel, program(good), tmp_path).status == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda good: b"#!/bin/sh\n", "it is no ELF program"),
        (lambda good: b"", "it is no ELF program"),
        (lambda good: good[:100], "its table of program headers lies outside the file"),
        (lambda good: good[: len(good) // 2], "a segment lies outside the file: the file is truncated or damaged"),
        (lambda good: changed(good, 4, b"\1"), "it is made for another kind of CPU than x86-64"),
        (lambda good: changed(good, 18, b"\xb7\0"), "it is made for another kind of CPU than x86-64"),
        (lambda good: changed(good, 16, b"\4\0"), "it is an ELF file, but no program"),
        (lambda good: changed(good, 54, b"\1\0"), "its table of program headers cannot be"),
        (lambda good: changed(good, 56, b"\xff\xff"), "its table of program headers cannot be"),
        (lambda good: changed(good, 32, b"\xff" * 8), "its table of program headers lies outside the file"),
        (lambda good: changed(good, 24, b"\0" * 8), "its entry point is in no executable segment"),
        (lambda good: changed(good, 64 + 16, struct.pack("<Q", 0xFFFF800000000000)), "a segment's address cannot be"),
        (
            lambda good: changed(good, 64, struct.pack("<I", 3)),
            "it is linked dynamically; this kernel runs static programs",
        ),
        (lambda good: changed(good, 64 + 4, struct.pack("<I", 7)), "a segment is both writable and executable"),
    ],
)
def test_a_damaged_program_is_named(change: object, why: str, kernel: Path, good: bytes, tmp_path: Path) -> None:
    assert callable(change)
    why = f"The program '/bin/program' cannot be run: {why}."
    fails(kernel, program(change(good)), tmp_path, why, nano.Status.UNUSABLE)


def test_a_missing_program_is_named(kernel: Path, tmp_path: Path) -> None:
    image = nano.archive({"rumpel/settings": SETTINGS})
    why = "The program '/bin/program' is not in the root filesystem."
    fails(kernel, image, tmp_path, why, nano.Status.UNUSABLE)


def test_a_truncated_archive_is_named(kernel: Path, good: bytes, tmp_path: Path) -> None:
    image = program(good)
    at = image.rindex(b"070701", 0, image.rindex(b"070701"))
    why = f"The root filesystem's archive is truncated: the entry at byte {at} reaches beyond its end."
    fails(kernel, image[: len(image) // 2], tmp_path, why, nano.Status.ARCHIVE)


def test_an_archive_without_its_last_entry_is_named(kernel: Path, tmp_path: Path) -> None:
    image = nano.archive({"rumpel/settings": SETTINGS})
    why = "The root filesystem's archive is truncated: it has no last entry."
    fails(kernel, image[: image.rindex(b"070701")], tmp_path, why, nano.Status.ARCHIVE)


def test_a_damaged_header_is_named(kernel: Path, tmp_path: Path) -> None:
    image = nano.archive({"rumpel/settings": SETTINGS})
    why = "The root filesystem's archive is damaged: no cpio header at byte 0."
    fails(kernel, b"X" + image[1:], tmp_path, why, nano.Status.ARCHIVE)
    why = "The root filesystem's archive is damaged: the header at byte 0 has a field that is no number."
    fails(kernel, changed(image, 54, b"ZZZZZZZZ"), tmp_path, why, nano.Status.ARCHIVE)


@pytest.mark.parametrize(("path", "mounted"), [("tmp", "tmp"), ("dev", "dev/shm"), ("proc", "proc")])
def test_a_file_where_the_kernel_mounts_a_folder_is_named(
    kernel: Path, good: bytes, tmp_path: Path, path: str, mounted: str
) -> None:
    files = {"rumpel/settings": SETTINGS, "bin/program": good, path: b"a file"}
    why = (
        f"The root filesystem has '/{mounted}', where the kernel mounts a folder, as something else (error 20):"
        " it must be a folder, or not be there."
    )
    fails(kernel, nano.archive(files), tmp_path, why, nano.Status.ARCHIVE)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (b"schema=1\0program", "The settings from the image do not end with a NUL byte."),
        (b"schema=1\0program\0", "The settings from the image have a record without '=': 'program'."),
        (b"program=/x\0", "The settings from the image do not begin with 'schema=1', the only version known."),
        (b"schema=1\0arg=x\0", "The settings name no program."),
        (b"schema=1\0colour=red\0", "The settings from the image have a key that is not known: 'colour'."),
        (SETTINGS + b"clear=env\0", "The setting 'clear' from the image is 'env': it must be 'arg' or 'volume'."),
        (SETTINGS + b"program=/x\0", "The setting 'program' from the image is '/x': it was given before."),
        (
            b"schema=1\0program=x\0",
            "The setting 'program' from the image is 'x': it must be an absolute path of a file.",
        ),
        (SETTINGS + b"env==x\0", "The setting 'env' from the image is '...': it must be 'NAME=VALUE'."),
        (
            SETTINGS + b"secret=../x=y\0",
            "The setting 'secret' from the image is '...': it must be 'NAME=VALUE', the name of letters, digits, '.',"
            " '_' and '-'.",
        ),
        (SETTINGS + b"hostname=-\n-\0", "The setting 'hostname' from the image is '-?-': it is not a host name."),
        (
            SETTINGS + b"hostname=" + b"x" * 65 + b"\0",
            f"The setting 'hostname' from the image is '{'x' * 65}': a host name has at most 64 characters.",
        ),
        (
            SETTINGS + b"clock=1h\0",
            "The setting 'clock' from the image is '1h': it must be whole seconds, at most a century either way.",
        ),
        (
            SETTINGS + b"volume=data,/data,ext4,rw\0",
            "The setting 'volume' from the image is 'data,/data,ext4,rw': this kernel has no filesystem for volumes"
            " (kernels that have: linux, debian).",
        ),
        (
            SETTINGS + b"root=disk,erofs\0",
            "The setting 'root' says that the root filesystem is on a disk, but this kernel has no part 'root-disk'.",
        ),
    ],
)
def test_malformed_settings_are_named(settings: bytes, why: str, kernel: Path, tmp_path: Path) -> None:
    fails(kernel, nano.archive({"rumpel/settings": settings}), tmp_path, why, nano.Status.SETTINGS)


def test_an_unknown_word_on_the_command_line_is_named(kernel: Path, good: bytes, tmp_path: Path) -> None:
    end = nano.run(kernel, program(good), tmp_path, memory="32M", extra=("-append", "colour=red"))
    why = "The kernel's command line has a word that is not known: 'colour=red'."
    assert (end.control, end.last_line, end.qemu) == ((f"fail {why}",), f"nano: {why}", nano.Status.SETTINGS)


@pytest.mark.parametrize("address", ["800000000000", "7ffffffff000", "3ffffffff000", "fffffffffffff000"])
def test_a_device_where_no_memory_can_be_is_not_there(kernel: Path, good: bytes, tmp_path: Path, address: str) -> None:
    line = f"virtio_mmio.device=512@0x{address}:5"
    end = nano.run(kernel, program(good), tmp_path, memory="32M", extra=("-append", line))
    assert f"virtio-mmio: No virtio device is at {address}, which the command line names." in end.console
    assert end.status == 0


def test_a_machine_without_randomness_starts_no_program(kernel: Path, good: bytes, tmp_path: Path) -> None:
    end = nano.run(kernel, program(good), tmp_path, memory="32M", cpu="qemu64", rng=False)
    why = "The machine has no source of randomness: no virtio-rng device, and a CPU without RDSEED and RDRAND."
    assert end.control == (f"fail {why}",)
    assert (end.last_line, end.qemu) == (f"nano: {why}", nano.Status.RANDOMNESS)
    end = nano.run(kernel, program(good), tmp_path, memory="32M", cpu="qemu64")
    assert end.status == 0, "virtio-rng alone is enough"


def test_too_little_memory_ends_with_a_report(kernel: Path, good: bytes, tmp_path: Path) -> None:
    image = nano.archive({"rumpel/settings": SETTINGS, "bin/program": good, "srv/ballast": bytes(900_000)})
    end = nano.run(kernel, image, tmp_path, memory="3M")
    assert end.control, end.console
    assert end.control[-1].split()[0] in {"exit", "fail", "panic"}
