"""However little memory there is, and whatever the program does: an end that says why. The table of ends is whole."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tests.abi import nano
from tests.abi.nano import Status

PROGRAMS = Path(__file__).with_name("programs")
SETTINGS = b"schema=1\0program=/bin/program\0"

pytestmark = pytest.mark.boot


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small program that works."""
    output = tmp_path_factory.mktemp("small") / "program"
    return nano.compile_static(PROGRAMS / "map_null.c", output, "musl-gcc").read_bytes()


def fails_for_memory(end: nano.End, why: str) -> None:
    assert (end.control[-1:], end.last_line, end.qemu) == ((f"fail {why}",), f"nano: {why}", Status.MEMORY)


def end_of(kernel: Path) -> int:
    """The first byte of memory behind the kernel's image."""
    with kernel.open("rb") as file:
        return max(int(each["p_paddr"] + each["p_memsz"]) for each in ELFFile(file).iter_segments("PT_LOAD"))


def archive(program: bytes, ballast: int = 0) -> bytes:
    files = {"rumpel/settings": SETTINGS, "bin/program": program}
    return nano.archive(files | ({"srv/ballast": bytes(ballast)} if ballast else {}))


def test_an_archive_that_lies_on_the_kernel_is_told(kernel: Path, small: bytes, tmp_path: Path) -> None:
    """QEMU puts it at the memory's end, over the kernel's last pages where there is no room."""
    initrd = archive(small, (3 << 20) - end_of(kernel) - len(small))
    end = nano.run(kernel, initrd, tmp_path, memory="3M")
    fails_for_memory(end, "The machine has too little memory for the kernel and the root filesystem's archive.")


def test_memory_that_ends_within_the_kernel_is_told(kernel: Path, small: bytes, tmp_path: Path) -> None:
    (tmp_path / "root.cpio").write_bytes(archive(small))
    words = nano.command(kernel, tmp_path, f"{end_of(kernel) // 1024 - 16}K")
    at = words.index("-initrd")
    done = subprocess.run(words[:at] + words[at + 2 :], check=False, capture_output=True, timeout=60)
    end = nano.read_end(tmp_path, done.returncode)
    fails_for_memory(end, "The machine has too little memory for the kernel and the root filesystem's archive.")


def test_a_list_of_files_that_does_not_fit_is_told(kernel: Path, small: bytes, tmp_path: Path) -> None:
    files = {"rumpel/settings": SETTINGS, "bin/program": small} | {f"srv/{n}": b"" for n in range(10000)}
    end = nano.run(kernel, nano.archive(files), tmp_path, memory="3M")
    fails_for_memory(end, "The machine has too little memory for the list of the root filesystem's files.")


def test_a_program_that_does_not_fit_is_killed_with_a_report(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAMS / "exhaust_memory.c", tmp_path / "program", "musl-gcc")
    end = nano.run(kernel, archive(program.read_bytes()), tmp_path, memory="3M")
    assert (end.status, end.qemu) == (137, Status.MEMORY)
    assert re.fullmatch(
        r"nano: The program has used up the machine's memory; it was killed by signal 9\. "
        r"Memory: \d+ KiB in use by its pages, \d+ KiB free of \d+ KiB\.",
        end.last_line,
    )


def line_of(pipe: int) -> bytes:
    """The next line."""
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(pipe, 1)
    return line


def test_a_program_that_spins_ends_when_the_host_asks(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAMS / "spin.c", tmp_path / "program", "musl-gcc")
    (tmp_path / "root.cpio").write_bytes(nano.root(program))
    for name in ("in", "out"):
        os.mkfifo(tmp_path / f"control.{name}")
    said, heard = os.open(tmp_path / "control.in", os.O_RDWR), os.open(tmp_path / "control.out", os.O_RDWR)
    control = f"file,id=control,path={tmp_path / 'control.txt'}"
    words = [
        f"pipe,id=control,path={tmp_path / 'control'}" if word == control else word
        for word in nano.command(kernel, tmp_path, "32M")
    ]
    with subprocess.Popen(words) as machine:
        try:
            assert line_of(heard) == b"start\n"
            os.write(said, b"stop 5\n")
            assert machine.wait(60) == Status.PROGRAM
        finally:
            machine.kill()
    assert line_of(heard) == b"exit 143\n"
    for each in (said, heard):
        os.close(each)
    assert (tmp_path / "console.txt").read_text().splitlines()[-1] == "nano: the program was ended by signal 15"


def test_the_table_of_ends_names_each_status_as_the_kernel_has_it() -> None:
    header = (nano.ROOT / "kernels/nano/include/nano/program.h").read_text()
    names = re.findall(r"^    FAIL_(\w+)", header, re.MULTILINE)
    of_the_kernel = {"UNUSABLE" if name == "PROGRAM" else name: 5 + 2 * at for at, name in enumerate(names)}
    assert of_the_kernel == {status.name: int(status) for status in Status if status > Status.PANIC}
    table = (nano.ROOT / "docs/nano.md").read_text().split("## How it ends")[1].split("\n## ")[0]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(Status)
