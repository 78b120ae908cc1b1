"""Taking a built emulator into use. A shell script stands in for what minutes of compiling would give; the real build
is in tests/e2e/test_own_qemu.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel.build import emulator
from rumpel.build.emulator import PROGRAM, build_emulator, changed_source, linked_versions, plan_digest
from rumpel.build.emulators import built_emulator, folder_of, forget_built, program_of
from rumpel.build.lock import hold
from rumpel.build.step import Workspace
from rumpel.errors import BuildError, HostError
from rumpel.model.parts import SourceChange
from rumpel.resolve.emulator import EmulatorPlan
from rumpel.resolve.plan import Source

RUNS = """#!/bin/sh
case "$*" in
--version) echo "QEMU emulator version 7.2" ;;
"-M help") printf 'Supported machines are:\\nmicrovm microvm (i386)\\n' ;;
"-device help") echo 'name "isa-serial", bus ISA' ;;
esac
"""
PLAN = EmulatorPlan(name="qemu", target="x86_64-softmmu", symbols=("MICROVM",), sources=())


class Compiler:
    """Gives `content` for a program, and counts how often it was asked."""

    def __init__(self) -> None:
        self.content = RUNS
        self.asked = 0

    def __call__(self, plan: EmulatorPlan, workspace: Workspace, work: Path, trainer: Callable[[Path], Path]) -> Path:
        self.asked += 1
        program = work / PROGRAM
        program.write_text(self.content)
        program.chmod(0o755)
        return program


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path / "cache"))
    compiler = Compiler()
    monkeypatch.setattr(emulator, "_build", compiler)
    return compiler


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(root=tmp_path, unpack=lambda source: tmp_path)


def no_image(folder: Path) -> Path:
    raise AssertionError("nothing is compiled here that would be measured")


def folders() -> set[str]:
    return {path.name for path in folder_of().iterdir() if path.is_dir()}


def name_of(linked: str) -> str:
    return plan_digest(PLAN, (linked,))[:32]


def test_it_is_built_once_and_told_of_as_it_speaks_of_itself(compiler: Compiler, workspace: Workspace) -> None:
    built = build_emulator(PLAN, workspace, ("zlib 1",), no_image)
    assert (built.version, built.machines, built.devices) == ("7.2", ("microvm",), ("isa-serial",))
    assert build_emulator(PLAN, workspace, ("zlib 1",), no_image) == built == built_emulator()
    forget_built()
    assert build_emulator(PLAN, workspace, ("zlib 1",), no_image) == built == built_emulator()
    assert compiler.asked == 1


def test_a_newer_library_is_linked_in_by_another_build(compiler: Compiler, workspace: Workspace) -> None:
    before = build_emulator(PLAN, workspace, ("zlib 1", "gcc 12"), no_image)
    assert build_emulator(PLAN, workspace, ("gcc 12", "zlib 1"), no_image) == before
    assert build_emulator(PLAN, workspace, ("zlib 2", "gcc 12"), no_image).program != before.program
    assert compiler.asked == 2


@pytest.mark.parametrize("content", ["", "no program\n", "#!/no/such/shell\n", "#!/bin/sh\nexit 3\n"])
def test_a_program_that_does_not_run_is_not_kept(compiler: Compiler, workspace: Workspace, content: str) -> None:
    compiler.content = content
    with pytest.raises(BuildError, match=r"The emulator was built, but 'qemu-system-x86_64 --version' "):
        build_emulator(PLAN, workspace, (), no_image)
    assert built_emulator() is None
    assert folders() == set()
    compiler.content = RUNS
    assert build_emulator(PLAN, workspace, (), no_image) == built_emulator()


@pytest.mark.parametrize("content", ["", "#!/bin/sh\n", "#!/bin/sh\nexit 3\n"])
def test_a_program_that_was_damaged_counts_as_none_and_is_built_again(
    compiler: Compiler, workspace: Workspace, content: str
) -> None:
    built = build_emulator(PLAN, workspace, (), no_image)
    program_of(built).write_text(content)
    assert built_emulator() is None
    assert build_emulator(PLAN, workspace, (), no_image) == built == built_emulator()
    assert compiler.asked == 2


def test_the_program_before_stays_until_the_build_after_next(compiler: Compiler, workspace: Workspace) -> None:
    for linked in ("1", "2"):
        build_emulator(PLAN, workspace, (linked,), no_image)
    assert folders() == {name_of("1"), name_of("2")}
    build_emulator(PLAN, workspace, ("1",), no_image)  # it comes back: now '2' is the one before
    assert compiler.asked == 2
    build_emulator(PLAN, workspace, ("3",), no_image)
    assert folders() == {name_of("1"), name_of("3")}


def test_the_second_of_two_builds_says_for_whom_it_waits(compiler: Compiler, workspace: Workspace) -> None:
    said: list[str] = []
    heard = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        heard.set()

    first = hold(folder_of(), said.append)
    second = threading.Thread(target=build_emulator, args=(PLAN, workspace, (), no_image, say))
    second.start()
    assert heard.wait(20)
    assert "waiting for it to end" in said[0]
    assert compiler.asked == 0
    first.close()
    second.join(20)
    assert compiler.asked == 1


def test_what_is_linked_in_is_told_with_its_version() -> None:
    compiler, linker, library = linked_versions(["libc6-dev"])
    assert "gcc" in compiler
    assert "ld" in linker
    assert library.startswith("libc6-dev 2.")
    with pytest.raises(HostError, match="that QEMU is built with: no-such-package"):
        linked_versions(["libc6-dev", "no-such-package"])


def changed_plan(*changes: SourceChange, files: tuple[tuple[str, str], ...] = ()) -> EmulatorPlan:
    return EmulatorPlan(
        name="qemu",
        target="x86_64-softmmu",
        symbols=(),
        sources=(Source(name="qemu", kind="deb-src", package="qemu", version="1:7.2+x", files=()),),
        files=files,
        changes=changes,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "qom").mkdir(parents=True)
    (folder / "qom/object.c").write_text("one();\nfar:\none();\none();\n")
    (folder / "VERSION").write_text("7.2\n")
    return folder


def test_a_change_is_made_behind_its_place_in_a_tree_of_its_own(tree: Path, tmp_path: Path) -> None:
    change = SourceChange(file="qom/object.c", because="it is faster", after="far:", old="one();", new="two();")
    place = changed_source(changed_plan(change), tree, tmp_path / "place")
    assert (place / "qom/object.c").read_text() == "one();\nfar:\ntwo();\none();\n"
    assert (tree / "qom/object.c").read_text() == "one();\nfar:\none();\none();\n"
    assert (place / "VERSION").read_text() == "7.2\n"


def test_a_file_of_our_own_is_laid_into_a_tree_of_its_own(tree: Path, tmp_path: Path) -> None:
    place = changed_source(changed_plan(files=(("tcg/mine.h", "int x;\n"),)), tree, tmp_path / "place")
    assert (place / "tcg/mine.h").read_text() == "int x;\n"
    assert not (tree / "tcg").exists()


def test_a_file_of_our_own_takes_the_place_of_none(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        changed_source(changed_plan(files=(("VERSION", "8\n"),)), tree, tmp_path / "place")
    said = str(caught.value).splitlines()[0]
    assert said == "QEMU has a file 'VERSION' of its own, where the emulator 'qemu' lays one."
    assert caught.value.hint == "Give it another name under 'files' in 'hal/emulators/qemu/emulator.yaml'."
    assert (tree / "VERSION").read_text() == "7.2\n"


def test_a_source_without_changes_is_used_where_it_lies(tree: Path, tmp_path: Path) -> None:
    assert changed_source(changed_plan(), tree, tmp_path / "place") == tree


@pytest.mark.parametrize(
    ("file", "after", "old", "said"),
    [
        ("qom/object.c", "", "three();", "has no text 'three();'"),
        ("qom/object.c", "near:", "one();", "has no text 'near:'"),
        ("qom/objects.c", "", "one();", "is no file"),
    ],
)
def test_a_change_that_does_not_fit_is_named_with_its_reason(
    tree: Path, tmp_path: Path, file: str, after: str, old: str, said: str
) -> None:
    change = SourceChange(file=file, because="it is faster", after=after, old=old, new="x")
    with pytest.raises(BuildError) as caught:
        changed_source(changed_plan(change), tree, tmp_path / "place")
    assert str(caught.value).splitlines()[0] == (
        f"QEMU's '{file}' {said}. The emulator 'qemu' changes it, because it is faster."
    )
    assert caught.value.hint == (
        "QEMU 1:7.2+x is another one than the change was written for. Correct 'changes' in "
        "'hal/emulators/qemu/emulator.yaml', or take this one out."
    )
