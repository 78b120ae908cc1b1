"""A kernel without the optional groups of system calls: their calls are ENOSYS and named with what brings them.

What a C library needs to start, to end and for one thread is there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.abi import nano

SOURCE = Path(__file__).with_name("left_out") / "left_out.c"
OF_EACH = {
    "poll": {"poll", "ppoll", "select", "pselect6"},
    "epoll": {"epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2"},
    "eventfd": {"eventfd", "eventfd2"},
    "timerfd": {"timerfd_create", "timerfd_settime", "timerfd_gettime"},
    "pipes": {"pipe", "pipe2"},
    "threads": {"clone", "clone3", "futex"},
    "signals": {"sigaltstack", "rt_sigpending", "rt_sigtimedwait", "rt_sigaction"},
    "file-changes": {
        *("mkdir", "unlink", "rename", "symlink", "chmod", "chown", "truncate", "ftruncate", "fallocate", "utimensat")
    },
    "net": {"socket"},
}
HANDLER = "a handler"

pytestmark = pytest.mark.boot


@pytest.fixture(scope="module")
def least_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano kernel of the groups that every kernel has."""
    return nano.build_kernel(tmp_path_factory.mktemp("least-kernel") / "kernel", calls=())


def run(kernel: Path, folder: Path, compiler: str, *arguments: str) -> nano.End:
    program = nano.compile_static(SOURCE, folder / "left_out", compiler)
    return nano.run(kernel, nano.root(program, arguments), folder)


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
def test_a_call_of_a_group_that_is_left_out_is_enosys_and_named_once_with_what_brings_it(
    compiler: str, least_kernel: Path, tmp_path: Path
) -> None:
    end = run(least_kernel, tmp_path, compiler)
    assert end.status == 0, end.console
    calls = re.findall(r"^([a-z][a-z0-9_ ]*): (ENOSYS|is there)$", end.console, re.MULTILINE)
    assert {name for name, _ in calls} == set().union(*OF_EACH.values()) - {"rt_sigaction"} | {HANDLER}
    assert {answer for _, answer in calls} == {"ENOSYS"}
    told = re.findall(
        r"^nano: the program called (\w+) \(\d+\), which is left out of this kernel: ENOSYS\. "
        r"'needs: \[([\w-]+)\]' in its component brings it$",
        end.console,
        re.MULTILINE,
    )
    assert sorted(told) == sorted((name, part) for part, names in OF_EACH.items() for name in names)


@pytest.mark.parametrize("part", sorted(OF_EACH.keys() - {"net"}))
def test_a_group_that_is_linked_answers_its_calls_and_no_other_groups(part: str, tmp_path: Path) -> None:
    kernel = nano.build_kernel(tmp_path / "kernel", calls=(part,))
    end = run(kernel, tmp_path, "musl-gcc")
    answers = dict(re.findall(r"^([a-z][a-z0-9_ ]*): (ENOSYS|is there)$", end.console, re.MULTILINE))
    answers["rt_sigaction"] = answers.pop(HANDLER)
    assert {name for name, answer in answers.items() if answer == "is there"} == OF_EACH[part], end.console


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
def test_one_thread_locks_waits_and_writes_without_any_optional_group(
    compiler: str, least_kernel: Path, tmp_path: Path
) -> None:
    end = run(least_kernel, tmp_path, compiler)
    lines = end.console.splitlines()
    late = {"gcc": "Connection timed out", "musl-gcc": "Operation timed out"}[compiler]
    assert f"once 1, condition {late}, semaphore -1 {late}" in lines, end.console
    assert "a file: written" in lines
    assert any(line.startswith("a thread: ") and line != "a thread: Success" for line in lines)
    assert "ignored" in lines


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("exit", 7, ""),
        ("abort", 134, "ended by signal 6"),
        ("terminate", 143, "ended by signal 15"),
        ("fault", 139, "used memory that is not its own"),
    ],
)
def test_every_end_of_a_program_is_there_without_any_optional_group(
    how: str, status: int, said: str, compiler: str, least_kernel: Path, tmp_path: Path
) -> None:
    end = run(least_kernel, tmp_path, compiler, how)
    assert end.status == status, end.console
    assert said in end.console


def test_a_second_process_is_refused_with_words_of_its_own(least_kernel: Path, tmp_path: Path) -> None:
    """The part `threads` would not help."""
    source = tmp_path / "spawn.c"
    source.write_text(
        '#include <spawn.h>\n#include <stdio.h>\nint main(void) {\n    char *none[] = {"x", 0};\n'
        '    printf("spawn: %d\\n", posix_spawn(0, "/bin/x", 0, 0, none, none));\n}\n'
    )
    program = nano.compile_static(source, tmp_path / "spawn", "gcc")
    end = nano.run(least_kernel, nano.root(program), tmp_path)
    assert "spawn: 38" in end.console.splitlines(), end.console
    assert "called clone for a second process: this kernel runs one program" in end.console
    assert "left out" not in end.console
