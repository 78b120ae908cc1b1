"""The firmware of nano's microvm hands on what QEMU was given, as QEMU's own does, and says where it cannot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.abi import nano
from tests.abi.nano import Status

from rumpel.build.firmware import BuildFirmware
from rumpel.build.plans import unpacker
from rumpel.build.step import Workspace
from rumpel.build.toolchain import detect
from rumpel.model.project import Project

pytestmark = [pytest.mark.boot, pytest.mark.timeout(300)]

MEMORY = """
#include <stdio.h>
#include <sys/sysinfo.h>
int main(int count, char **words) {
    struct sysinfo info;
    sysinfo(&info);
    printf("%lu KiB, %d words, the last is %s\\n", info.totalram / 1024 * info.mem_unit, count, words[count - 1]);
    return 0;
}
"""


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firmware that microvm's description names for nano."""
    machine = Project([nano.ROOT]).machine("microvm")
    names = next(each.firmware_sources for each in machine.kernels if each.kernel == "nano")
    folder = tmp_path_factory.mktemp("firmware")
    step = BuildFirmware(part="machine/microvm", tools=detect())
    sources = [nano.ROOT / machine.origin.directory / name for name in names]
    step.run(Workspace(root=nano.ROOT, unpack=unpacker()), sources, [folder / "firmware", folder / "symbols"])
    return folder / "firmware"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("memory")
    (folder / "memory.c").write_text(MEMORY)
    program = nano.compile_static(folder / "memory.c", folder / "memory", "musl-gcc")
    return nano.root(program, ("one", "the last"))


def test_it_is_a_file_that_ends_at_the_reset_vector(firmware: Path) -> None:
    content = firmware.read_bytes()
    assert len(content) == 64 << 10
    assert content[-16] == 0xE9  # jmp, relative, from f000:fff0


@pytest.mark.parametrize("memory", ["4M", "64M", "3G", "3073M", "5G"])
def test_memory_and_archive_are_those_that_qemus_own_firmware_hands_on(
    kernel: Path, firmware: Path, root: bytes, tmp_path: Path, memory: str
) -> None:
    ours = nano.run(kernel, root, tmp_path, memory=memory, extra=("-bios", str(firmware)))
    qemus = nano.run(kernel, root, tmp_path, memory=memory)
    assert ours.qemu == qemus.qemu == Status.PROGRAM
    assert ours.console.splitlines()[0].endswith(" KiB, 3 words, the last is the last")
    # qboot keeps a few pages below 1 MiB for its tables.
    sizes = [int(end.console.split()[0]) for end in (ours, qemus)]
    assert 0 <= sizes[0] - sizes[1] <= 256


def test_command_line_reaches_the_kernel(kernel: Path, firmware: Path, root: bytes, tmp_path: Path) -> None:
    end = nano.run(kernel, root, tmp_path, extra=("-bios", str(firmware), "-append", "no-such-word"))
    assert end.qemu == Status.SETTINGS
    assert "no-such-word" in end.last_line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "The firmware was given no kernel.\n"),
        (("-kernel", "KERNEL", "-append", "x" * 4096), "The kernel's command line is too long.\n"),
    ],
)
def test_what_it_cannot_start_it_names_on_the_console(
    kernel: Path, firmware: Path, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    command = [
        "qemu-system-x86_64", "-accel", "tcg", "-M", "microvm,acpi=off,isa-serial=off", "-bios", str(firmware),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "16M",
        "-chardev", f"file,id=console,path={tmp_path / 'console.txt'}", "-device", "isa-serial,chardev=console",
        "-device", "isa-debug-exit,iobase=0x501",
        *(word.replace("KERNEL", str(kernel)) for word in words),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (tmp_path / "console.txt").read_text() == says
    assert done.returncode == 0xFF
