"""One tiny program a promise, run on nano."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.abi import nano

PROGRAMS = Path(__file__).with_name("programs")
ABORTED = 134
SEGMENTATION_FAULT = 139
KILLED = 137
BITS = 28
STARTS = 8

pytestmark = pytest.mark.boot


def run(name: str, kernel: Path, folder: Path, flags: tuple[str, ...] = (), memory: str = "32M") -> nano.End:
    """Compiles the program of that name and runs it."""
    program = nano.compile_static(PROGRAMS / f"{name}.c", folder / name, "gcc", flags)
    return nano.run(kernel, nano.root(program), folder, memory=memory)


@pytest.mark.parametrize(
    "name",
    [
        "write_text",
        "execute_data",
        "execute_stack",
        "execute_heap",
        "read_null",
        "overflow_stack",
        "jump_into_kernel",
        "read_kernel",
        "read_direct_map",
        "use_port",
        "close_interrupts",
        "read_descriptor_table",
    ],
)
def test_what_is_forbidden_faults(name: str, kernel: Path, tmp_path: Path) -> None:
    end = run(name, kernel, tmp_path)
    assert end.status == SEGMENTATION_FAULT, end.console
    assert "The program (thread 2) used memory that is not its own" in end.console


@pytest.mark.parametrize(
    "name", ["map_null", "write_and_execute", "kernel_pointers", "no_second_program", "bad_sigreturn"]
)
def test_what_is_forbidden_is_refused(name: str, kernel: Path, tmp_path: Path) -> None:
    end = run(name, kernel, tmp_path)
    assert end.status == 0, end.console


def test_code_made_at_run_time_is_refused_without_the_part_jit_and_runs_with_it(kernel: Path, tmp_path: Path) -> None:
    assert run("make_code", kernel, tmp_path).status == 1
    with_jit = nano.build_kernel(tmp_path / "kernel-jit", groups=("jit",))
    assert run("make_code", with_jit, tmp_path).status == 0


def test_a_smashed_canary_ends_the_program(kernel: Path, tmp_path: Path) -> None:
    end = run("smash_canary", kernel, tmp_path, ("-fstack-protector-all",))
    assert end.status == ABORTED, end.console
    assert "stack smashing detected" in end.console


def test_a_fork_and_an_exec_are_named_in_the_log(kernel: Path, tmp_path: Path) -> None:
    console = run("no_second_program", kernel, tmp_path).console
    words = "this kernel runs one program and starts no second one (kernels that do: linux, debian)"
    assert f"nano: the program called fork: {words}" in console
    assert f"nano: the program called execve: {words}" in console


def test_a_program_that_exhausts_memory_is_killed_with_a_report(kernel: Path, tmp_path: Path) -> None:
    end = run("exhaust_memory", kernel, tmp_path)
    assert end.status == KILLED
    assert "nano: The program has used up the machine's memory; it was killed by signal 9." in end.console


def test_addresses_differ_between_starts_by_28_bits(kernel: Path, tmp_path: Path) -> None:
    program = nano.compile_static(PROGRAMS / "addresses.c", tmp_path / "addresses", "gcc", ("-static-pie", "-fPIE"))
    starts = []
    for _ in range(STARTS):
        end = nano.run(kernel, nano.root(program), tmp_path, memory="32M")
        assert end.status == 0, end.console
        starts.append([int(word, 16) for word in end.console.split()])
    for what, seen in zip(("program", "heap", "mmap", "stack", "vDSO"), zip(*starts, strict=True), strict=True):
        assert len(set(seen)) == STARTS, what
        changed = 0
        for address in seen[1:]:
            changed |= address ^ seen[0]
        # With 28 random bits above the page's offset, 7 pairs leave a given bit unchanged once in 128 cases.
        assert (changed >> 12).bit_length() >= BITS - 2, f"{what}: {changed:x}"
        assert (changed >> 12).bit_count() >= BITS - 8, f"{what}: {changed:x}"
