"""What a crash says on the console: registers, who called whom by name, the last system calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.abi import nano

PROGRAM = Path(__file__).with_name("programs") / "crash.c"
FRAMES = ("-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
NO_FRAMES = ("-fomit-frame-pointer", "-fno-optimize-sibling-calls")
REGISTERS = ("rip", "rsp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{n}" for n in range(8, 16)))

pytestmark = pytest.mark.boot


def functions(console: str) -> list[str]:
    """The names in the program's backtrace, the innermost first, without guesses that are none of ours."""
    report = console.split("Backtrace of the program")[1].split("The last system calls")[0]
    names = re.findall(
        r"^  [0-9a-f]{16}(?: \?)? (\w+)\+0x[0-9a-f]+ \(/bin/program\+0x[0-9a-f]+\)$", report, re.MULTILINE
    )
    return [name for name in names if name in {"innermost", "middle", "outermost", "main"}]


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("gcc", FRAMES), ("musl-gcc", NO_FRAMES), ("gcc", (*FRAMES, "-static-pie", "-fPIE"))],
    ids=["frame-pointers", "guessed-from-the-stack", "at-a-random-address"],
)
def test_a_program_that_crashes_is_reported_with_its_functions(
    compiler: str, flags: tuple[str, ...], kernel: Path, tmp_path: Path
) -> None:
    program = nano.compile_static(PROGRAM, tmp_path / "crash", compiler, flags)
    end = nano.run(kernel, nano.root(program), tmp_path)
    assert (end.status, end.qemu) == (139, nano.Status.PROGRAM)
    assert functions(end.console) == ["innermost", "middle", "outermost", "main"], end.console
    for name in REGISTERS:
        assert re.search(rf"\b{name} +[0-9a-f]{{16}}\b", end.console), name
    assert "error 0x6 address 0x123456789000" in end.console
    calls = re.findall(r"^  thread 2 (\w+) = (-?\d+)$", end.console, re.MULTILINE)
    assert calls[-2:] == [("getppid", "1"), ("write", "19")]
    assert re.fullmatch(
        r"nano: The program \(thread 2\) used memory that is not its own at address 0x123456789000; "
        r"it was killed by signal 11\. Memory: \d+ KiB in use by its pages, \d+ KiB free of \d+ KiB\.",
        end.last_line,
    )


def test_a_program_without_names_is_reported_with_offsets_of_its_file(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAM, tmp_path / "crash", "gcc", (*FRAMES, "-s"))
    end = nano.run(kernel, nano.root(program), tmp_path)
    assert end.status == 139
    assert len(re.findall(r"^  [0-9a-f]{16} /bin/program\+0x[0-9a-f]+$", end.console, re.MULTILINE)) >= 4


def test_a_crash_of_the_kernel_names_what_the_program_did(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAM, tmp_path / "crash", "gcc", FRAMES)
    _, end = nano.run_with_monitor(kernel, nano.root(program, ("spin",)), tmp_path, ("nmi",))
    assert end.control[-1] == "panic A non-maskable interrupt came."
    assert (end.last_line, end.qemu) == ("Panic: A non-maskable interrupt came.", nano.Status.PANIC)
    assert functions(end.console) == ["innermost", "middle", "outermost", "main"], end.console
