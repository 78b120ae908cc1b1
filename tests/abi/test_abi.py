"""Small programs that print what they see of each system call: the same on this machine's Linux and on nano."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.abi import nano

PROGRAMS = Path(__file__).with_name("programs")
NAMES = sorted(path.stem for path in PROGRAMS.glob("*.c"))
NETWORK_NAMES = sorted(path.stem for path in PROGRAMS.glob("net/*.c"))
DIFFERENCES = Path(__file__).with_name("differences") / "differences.c"
AT_LEAST = 300

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="nano's program is root, so the program on Linux must be")


def on_linux(program: Path) -> tuple[list[str], int]:
    """The program's lines and exit status, with an empty tmpfs of its own as /tmp, a loopback network of its own, and
    the priority that a program usually has, whatever the tests run with."""
    place = 'mount -t tmpfs none /mnt && cp "$0" /mnt/program && mount -t tmpfs none /tmp && cd /'
    script = f"renice 0 $$ >/dev/null && {place} && exec /mnt/program"
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script, str(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    return done.stdout.splitlines(), done.returncode


def on_nano(kernel: Path, program: Path, folder: Path) -> tuple[list[str], int | None]:
    """The same on nano; the kernel's own messages left out."""
    end = nano.run(kernel, nano.root(program), folder)
    return [line for line in end.console.splitlines() if not line.startswith("nano: ")], end.status


@pytest.mark.boot
@needs_root
@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_sees_the_same_on_nano_as_on_linux(name: str, compiler: str, kernel: Path, tmp_path: Path) -> None:
    same_on_both(PROGRAMS / f"{name}.c", compiler, kernel, tmp_path)


@pytest.mark.boot
@needs_root
@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_a_program_sees_the_same_sockets_on_nano_as_on_linux(
    name: str, compiler: str, network_kernel: Path, tmp_path: Path
) -> None:
    same_on_both(PROGRAMS / f"net/{name}.c", compiler, network_kernel, tmp_path)


def same_on_both(source: Path, compiler: str, kernel: Path, folder: Path) -> None:
    program = nano.compile_static(source, folder / source.stem, compiler)
    linux_lines, linux_status = on_linux(program)
    nano_lines, nano_status = on_nano(kernel, program, folder)
    assert linux_lines, "the program printed nothing on Linux"
    assert nano_lines == linux_lines
    assert nano_status == linux_status


@pytest.mark.boot
@needs_root
def test_what_differs_is_what_the_documentation_lists_with_a_reason(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(DIFFERENCES, tmp_path / "differences", "gcc")
    linux_lines, nano_lines = on_linux(program)[0], on_nano(kernel, program, tmp_path)[0]
    text = (nano.ROOT / "docs/nano.md").read_text().split("## What differs from Linux")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (\S+) \| (\S+) \| \w.+ \|$", text, re.MULTILINE)
    listed = [(what, linux, ours) for what, linux, ours in rows if linux != "Linux"]
    assert [f"{what}: {linux}" for what, linux, _ in listed] == linux_lines
    assert [f"{what}: {ours}" for what, _, ours in listed] == nano_lines


@needs_root
def test_the_programs_check_at_least_three_hundred_behaviours(tmp_path: Path) -> None:
    lines = 0
    for name in NAMES:
        program = nano.compile_static(PROGRAMS / f"{name}.c", tmp_path / name, "gcc")
        lines += sum(not line.startswith("==") for line in on_linux(program)[0])
    assert lines >= AT_LEAST
