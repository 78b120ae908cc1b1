"""One program in an image."""

from __future__ import annotations

import stat
import subprocess

import pytest

from rumpel.build.cpio import Entry, directory
from rumpel.build.programs import Allowed, check_programs
from rumpel.errors import BuildError

SCRIPT = b"#!/usr/bin/perl -w\nprint 1;\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("program") / "program"
    source = b"int main(void) { return 0; }"
    command = ["gcc", "-x", "c", "-nostdlib", "-static", "-Wl,-e,main", "-o", str(path), "-"]
    subprocess.run(command, input=source, check=True, timeout=60)
    return path.read_bytes()


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("dynamic") / "program"
    subprocess.run(["gcc", "-x", "c", "-o", path, "-"], input=b"int main(void) { return 0; }", check=True, timeout=60)
    return path.read_bytes()


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, data)


def refusal(entries: list[Entry], allowed: Allowed) -> str:
    owners = dict.fromkeys((entry.path for entry in entries), "component/tools")
    with pytest.raises(BuildError) as caught:
        check_programs(entries, owners, [allowed])
    return str(caught.value)


MAIN = Allowed(path="/bin/main", owner="component/main")


def test_the_program_that_the_plan_names_and_plain_files_may_be_there(program: bytes) -> None:
    entries = [directory("bin"), file("bin/main", program, 0o755), file("x.pl", SCRIPT), file("data", b"1", 0o755)]
    check_programs(entries, {}, [MAIN])


@pytest.mark.parametrize("mode", [0o755, 0o644])
def test_a_second_program_is_refused_whatever_its_mode(program: bytes, mode: int) -> None:
    entries = [file("bin/main", program, 0o755), file("bin/sh", program, mode)]
    assert refusal(entries, MAIN) == (
        "The file '/bin/sh' of component 'tools' is a program, but no 'entry' names it; an image holds one program.\n"
        "Leave it out: 'except' of the component, or a narrower pattern."
    )


def test_an_executable_script_is_refused(program: bytes) -> None:
    entries = [file("bin/main", program, 0o755), file("bin/tool", SCRIPT, 0o755)]
    assert refusal(entries, MAIN) == (
        "The file '/bin/tool' of component 'tools' is an executable script (for '/usr/bin/perl'), but no 'entry' names "
        "it; an image holds one program.\n"
        "Leave it out, or make it a file that cannot be executed (mode 0644)."
    )


def test_a_program_that_is_a_script_without_its_interpreter_is_refused() -> None:
    assert refusal([file("bin/main", SCRIPT, 0o755)], MAIN) == (
        "The program '/bin/main' of component 'main' is a script for '/usr/bin/perl', which is not in the image.\n"
        "Name the component of role 'runtime' that brings 'perl': 'runtime: NAME'."
    )


def test_a_script_with_a_runtime_is_a_program() -> None:
    check_programs([file("bin/main", SCRIPT)], {}, [Allowed(path="/bin/main", owner="component/main", runtime="perl")])


def test_a_program_that_the_plan_has_as_static_and_is_not_is_refused(dynamic: bytes) -> None:
    entries = [file("bin/main", dynamic, 0o755)]
    check_programs(entries, {}, [Allowed(path="/bin/main", owner="component/main", dynamic=True)])
    assert refusal(entries, MAIN) == (
        "The program '/bin/main' of component 'tools' is linked dynamically, but the plan has it as a static one.\n"
        "Take a static program; or remove 'static' from its component, or add 'dynamic-linking' to its 'needs'. Then "
        "it runs on kernels that provide 'dynamic-linking'."
    )


def test_a_program_that_no_part_brings_is_told() -> None:
    assert refusal([], MAIN) == (
        "The component 'main' names '/bin/main' as its program, but no part puts a file there.\n"
        "Correct its 'entry', or add the file under its 'files'."
    )


def test_a_library_for_another_architecture_is_refused(program: bytes) -> None:
    foreign = program[:18] + (183).to_bytes(2, "little") + program[20:]
    entries = [file("bin/main", program, 0o755), file("lib/native.node", foreign)]
    assert refusal(entries, MAIN) == (
        "The file '/lib/native.node' of component 'tools' is for the architecture 'ARM 64 (AArch64)', not for x86-64.\n"
        "Take the file for x86-64, or leave it out."
    )
