"""What was made of other bytes than those that count is never taken for current: by this build, the next, or another
folder's out of the cache."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel.build.manifest import load_manifest

from .conftest import VENV_SCONS, Ended, SmallProject, make_cache, make_project

HELLO = "components/hello/hello.c"
WORD = "components/hello/word.h"
PROGRAM = '#include <stdio.h>\n{first}#include "word.h"\nint main(void)\n{{\n\tputs(WORD);\n\treturn 0;\n}}\n'


def say(project: SmallProject, word: str, first: str = "") -> None:
    """Have the program say `word`, which is in a header, and have `first` above the line that includes it."""
    project.write(HELLO, PROGRAM.format(first=first))
    project.write(WORD, f'#define WORD "{word}"\n')


def built(project: SmallProject) -> bytes:
    """Build, and answer with the root filesystem."""
    ended = project.scons("composition=hello")
    assert ended.status == 0, ended.errors
    return (project.image / "rootfs.cpio").read_bytes()


@pytest.fixture
def second(tmp_path: Path, checkout: Path, shared_cache: Path) -> SmallProject:
    return make_project(tmp_path / "second", checkout, shared_cache)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A header that the compiler waits for, so that a test can do something in the middle of its work."""
    path = tmp_path / "wait.h"
    os.mkfifo(path)
    return path


def in_the_middle(project: SmallProject, fifo: Path, action: Callable[[subprocess.Popen[str]], object]) -> Ended:
    """Build, and do `action` while the compiler waits for `fifo`."""
    with subprocess.Popen(
        [*VENV_SCONS, "-Q", "-j1", "composition=hello"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 200
        while True:
            try:
                held = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError as error:
                assert error.errno == errno.ENXIO  # nobody reads
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
        try:
            action(process)
        finally:
            os.close(held)
        output, errors = process.communicate(timeout=200)
    return Ended(process.returncode, output, errors)


def test_a_header_written_while_it_is_compiled_fails_the_build_and_reaches_neither_the_next_one_nor_the_cache(
    project: SmallProject, second: SmallProject, fifo: Path
) -> None:
    say(project, "the old word", f'#include "{fifo}"\n')
    say(second, "the old word", f'#include "{fifo}"\n')
    ended = in_the_middle(project, fifo, lambda _: project.write(WORD, '#define WORD "the new word"\n'))
    assert ended.status == 3
    assert ended.errors == (
        f"The file '{WORD}' was changed while the build used it: CC {HELLO}.\nStart the build again.\n"
    )
    assert in_the_middle(project, fifo, lambda _: None).status == 0
    assert b"the new word" in (project.image / "rootfs.cpio").read_bytes()
    assert in_the_middle(second, fifo, lambda _: None).status == 0
    assert b"the old word" in (second.image / "rootfs.cpio").read_bytes()


def test_a_step_whose_code_is_written_while_it_runs_fails(project: SmallProject, fifo: Path) -> None:
    say(project, "a word", f'#include "{fifo}"\n')
    code = project.root / "src/rumpel/build/cprogram.py"
    ended = in_the_middle(project, fifo, lambda _: code.write_text(code.read_text() + "# another line\n"))
    assert ended.status == 3
    assert ended.errors == (
        f"The file 'src/rumpel/build/cprogram.py' was changed while the build used it: CC {HELLO}.\n"
        "Start the build again.\n"
    )


def test_a_build_whose_own_code_is_written_while_it_begins_says_so(project: SmallProject) -> None:
    code = project.root / "src/rumpel/build/cprogram.py"
    begin = "environment.require(own)\n"
    text = (project.root / "SConstruct").read_text()
    assert begin in text
    project.write("SConstruct", text.replace(begin, f"{begin}Path({str(code)!r}).touch()\n"))
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert ended.errors == f"The file '{code}' was changed while the build began.\nStart the build again.\n"


@pytest.mark.parametrize("when", [1_600_000_000, 2_000_000_000])
def test_a_header_of_the_same_size_and_the_same_time_is_another_one(project: SmallProject, when: int) -> None:
    say(project, "morning")
    os.utime(project.root / WORD, (when, when))
    assert b"morning" in built(project)
    say(project, "evening")
    os.utime(project.root / WORD, (when, when))
    assert b"evening" in built(project)


def test_a_header_that_gets_an_older_time_is_another_one(project: SmallProject) -> None:
    say(project, "morning")
    assert b"morning" in built(project)
    say(project, "evening")
    os.utime(project.root / WORD, (1_000_000_000, 1_000_000_000))
    assert b"evening" in built(project)
    say(project, "morning")
    os.utime(project.root / WORD, (999_999_999, 999_999_999))
    assert b"morning" in built(project)


def test_two_builds_at_once_with_one_cache_have_each_their_own_header(
    project: SmallProject, second: SmallProject
) -> None:
    for round_ in range(2):
        running = []
        for number, each in enumerate((project, second)):
            say(each, f"word {round_ ^ number} of folder")
            command = [*VENV_SCONS, "-Q", "-j1", "composition=hello"]
            running.append(subprocess.Popen(command, cwd=each.root, env=each.environment(), stdout=subprocess.DEVNULL))
        assert [process.wait(200) for process in running] == [0, 0]
        for number, each in enumerate((project, second)):
            image = (each.image / "rootfs.cpio").read_bytes()
            assert f"word {round_ ^ number} of folder".encode() in image
            assert f"word {round_ ^ 1 ^ number} of folder".encode() not in image


def test_what_a_killed_build_left_is_not_taken_for_what_an_older_one_made(project: SmallProject, fifo: Path) -> None:
    late = "kernels/init/system.c"
    text = (project.root / late).read_text()
    say(project, "the first word")
    assert b"the first word" in built(project)
    say(project, "a later word")
    project.write(late, f'#include "{fifo}"\n{text}')
    ended = in_the_middle(project, fifo, lambda process: os.killpg(process.pid, signal.SIGKILL))
    assert ended.status == -signal.SIGKILL
    assert "LINK component/hello" in ended.steps
    say(project, "the first word")
    project.write(late, text)
    assert b"the first word" in built(project)


def test_a_built_file_that_somebody_wrote_is_built_again_with_all_that_shares_its_bytes(project: SmallProject) -> None:
    before = built(project)
    manifest = (project.image / "manifest.json").read_bytes()
    for name in ("debug/init", "rootfs.cpio", "plan.json"):
        with (project.image / name).open("r+b") as stream:
            stream.write(b"something else")
    assert built(project) == before
    assert (project.image / "manifest.json").read_bytes() == manifest
    for file in load_manifest(project.image / "manifest.json").debug:
        assert b"something else" not in (project.image / file.path).read_bytes()
    assert project.scons("composition=hello").steps == []


def test_a_damaged_piece_of_the_cache_is_built_again_and_replaced(project: SmallProject, tmp_path: Path) -> None:
    from rumpel.places import store_dir

    alone = SmallProject(project.root, make_cache(tmp_path / "alone", store_dir()))
    before = built(alone)
    entries = sorted((alone.cache / "build").glob("??/*"))
    assert len(entries) > 20
    damage: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: bytes([data[0] ^ 1]) + data[1:],
    )
    for number, entry in enumerate(entries):
        data = entry.read_bytes()
        entry.chmod(0o644)
        entry.write_bytes(damage[number % len(damage)](data))
    shutil.rmtree(project.root / "build")
    assert built(alone) == before
    shutil.rmtree(project.root / "build")
    ended = alone.scons("composition=hello")
    assert [step for step in ended.steps if not step.startswith("PLACE")] == []
    assert (alone.image / "rootfs.cpio").read_bytes() == before


def test_the_cache_shares_no_file_with_a_folder_and_its_entries_cannot_be_written(project: SmallProject) -> None:
    built(project)
    entries = list((project.cache / "build").glob("??/*"))
    assert entries
    for entry in entries:
        status = entry.stat()
        assert status.st_nlink == 1
        assert status.st_mode & 0o222 == 0
    for path in (project.root / "build/parts").rglob("*.o"):
        assert path.stat().st_mode & 0o200


def test_a_build_that_only_says_what_it_would_do_keeps_what_is_there(project: SmallProject) -> None:
    say(project, "kept")
    before = built(project)
    say(project, "other")
    assert project.scons("-n", "composition=hello").status == 0
    assert (project.image / "rootfs.cpio").read_bytes() == before
    assert b"other" in built(project)
