"""Memory that an image does not fit into is told from memory that it does, before the boot."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rumpel.errors import UsageError
from rumpel.machine.memory import MIB, check_memory
from rumpel.resolve.plan import PLAN_SCHEMA, Kernel, Machine, Plan, Ready, Settings


def plan(*, minimum: int = 70, init: tuple[str, ...] = ("init.c",)) -> Plan:
    return Plan(
        schema=PLAN_SCHEMA, composition="web", summary="", machine=Machine(name="microvm", qemu_machine="microvm"),
        kernel=Kernel(
            name="debian", recipe="debian", directory="kernels/debian", summary="", memory=minimum, init=init
        ),
        drivers=(), devices=(), components=(), settings=Settings(), ports=(), ready=Ready(kind="exit"), volumes=(),
        sources=(), reasons=(), capabilities=(),
    )  # fmt: skip


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """An ELF file whose two segments take 44 MiB, and a third that is not loaded."""
    path = tmp_path / "kernel"
    header = b"\x7fELF\x02\x01".ljust(32, b"\0") + struct.pack("<Q14xHH", 64, 56, 3)
    segments = [(1, 40 * MIB), (1, 4 * MIB), (4, 500 * MIB)]
    table = b"".join(struct.pack("<IIQQQQQQ", kind, 0, 0, 0, 0, 0, size, 0) for kind, size in segments)
    path.write_bytes(header.ljust(64, b"\0") + table)
    return path


def rootfs(folder: Path, size: int, magic: bytes = b"070701") -> Path:
    path = folder / "rootfs"
    with path.open("wb") as file:
        file.write(magic)
        file.truncate(size)
    return path


def least(kernel: Path, root: Path | None, made: Plan) -> int:
    """The least memory that is not refused, in MiB."""
    for memory in range(1, 1000):
        try:
            check_memory(made, kernel, root, memory)
        except UsageError:
            continue
        return memory
    raise AssertionError


@pytest.mark.parametrize(("size", "fails", "starts"), [(123_904, 69, 71), (8_512_752, 80, 82), (33_678_576, 141, 143)])
def test_the_bound_lies_at_what_was_measured(kernel: Path, tmp_path: Path, size: int, fails: int, starts: int) -> None:
    """The measurements of docs/guest-linux.md: nothing that starts is refused, and the bound is close."""
    bound = least(kernel, rootfs(tmp_path, size), plan())
    assert bound <= starts
    assert bound > fails - 4


def test_a_root_for_which_the_minimum_has_room_is_not_named(kernel: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_memory(plan(), kernel, rootfs(tmp_path, 2 * MIB), 24)
    assert str(caught.value) == (
        "24M is too little for 'web': the kernel 'debian' takes 70M.\n"
        "Give it at least 72M, with '--memory 72M' or by the composition's 'memory'."
    )


def test_the_words_name_what_takes_the_memory_and_how_much_to_give(kernel: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check_memory(plan(), kernel, rootfs(tmp_path, 20 * MIB), 64)
    assert str(caught.value) == (
        "64M is too little for 'web': the kernel 'debian' takes 70M, "
        "the root filesystem 20M and as much again while it is unpacked.\n"
        "Give it at least 104M, with '--memory 104M' or by the composition's 'memory'."
    )
    check_memory(plan(), kernel, rootfs(tmp_path, 20 * MIB), 104)


def test_a_root_filesystem_on_a_disk_takes_no_memory(kernel: Path, tmp_path: Path) -> None:
    assert least(kernel, rootfs(tmp_path, 200 * MIB, b"\xe2\xe1\xf5\xe0\0\0"), plan()) == 70
    assert least(kernel, None, plan()) == 70


def test_nothing_is_said_of_a_kernel_whose_need_is_not_known_nor_of_files_that_are_missing(tmp_path: Path) -> None:
    check_memory(plan(minimum=0), tmp_path / "kernel", rootfs(tmp_path, MIB), 1)
    check_memory(plan(), tmp_path / "none", None, 1)


def test_a_kernel_that_is_no_elf_file_counts_by_its_minimum(tmp_path: Path) -> None:
    image = tmp_path / "bzimage"
    image.write_bytes(b"MZ" + bytes(1000))
    assert least(image, rootfs(tmp_path, 8 * MIB), plan()) == 80
    image.write_bytes(b"\x7fELF")
    assert least(image, rootfs(tmp_path, 8 * MIB), plan()) == 80


def test_a_kernel_that_reads_the_archive_where_it_lies_needs_room_for_both(kernel: Path, tmp_path: Path) -> None:
    nano = plan(minimum=2, init=())
    assert least(kernel, rootfs(tmp_path, 10 * MIB), nano) == 1 + 44 + 10
    assert least(kernel, rootfs(tmp_path, 10 * MIB + 1), nano) == 1 + 44 + 10 + 1
    with pytest.raises(UsageError) as caught:
        check_memory(nano, kernel, rootfs(tmp_path, 10 * MIB), 54)
    assert str(caught.value).startswith(
        "54M is too little for 'web': the kernel 'debian' takes 2M, the root filesystem 10M.\n"
    )
