"""Running Linux's make: what a person sees of it, and what is said where it ends badly."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from rumpel.build import kernel_linux_make
from rumpel.build.kernel_linux_make import make, make_error, require_tools
from rumpel.build.progress import BuildProgress
from rumpel.build.step import ToolError, Workspace
from rumpel.errors import HostError
from rumpel.resolve.plan import Source


def _workspace(folder: Path, progress: BuildProgress | None = None) -> Workspace:
    def unpack(source: Source) -> Path:
        raise AssertionError("nothing is to be unpacked here")

    shown = progress or BuildProgress(io.StringIO())
    return Workspace(root=folder, unpack=unpack, show_progress=shown.advance)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A makefile that says what Linux's would."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "Makefile").write_text(
        "objects:\n"
        '\t@for i in $$(seq 40); do echo "  CC      file$$i.o"; echo "  LD      file$$i.o"; done\n'
        "environment:\n"
        '\t@env | sort > "$(O)/environment"; echo "$(ARCH) $(CROSS_COMPILE)" >> "$(O)/environment"\n'
        "broken:\n"
        '\t@for i in $$(seq 100); do echo "  CC      file$$i.o"; done; echo "file.c:1:1: error: no"; exit 2\n'
        "interrupted:\n"
        '\t@echo "make[2]: *** [Makefile:1: x] Interrupt"; exit 2\n'
    )
    return folder


def test_a_line_tells_of_each_tenth_of_the_objects(tree: Path, tmp_path: Path) -> None:
    stream = io.StringIO()
    make(_workspace(tmp_path, BuildProgress(stream)), tree, tmp_path, "objects", total=40)
    assert stream.getvalue().splitlines() == [f"KERNEL objects: {count} of about 40" for count in range(4, 41, 4)]


def test_more_objects_than_expected_are_never_more_than_all(tree: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    workspace = Workspace(
        root=tmp_path,
        unpack=lambda source: tmp_path,
        show_progress=lambda what, done, total: seen.append((done, total)),
    )
    make(workspace, tree, tmp_path, "objects", total=10)
    assert max(done for done, _ in seen) == 40
    assert all(done <= total for done, total in seen)


def test_on_a_terminal_the_count_runs_in_place() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = BuildProgress(stream, environment={"TERM": "xterm"})
    progress.advance("KERNEL objects:", 1, 1000)
    progress.advance("KERNEL objects:", 2, 1000)
    assert stream.getvalue() == "\r\x1b[KKERNEL objects: 1 of about 1000\r\x1b[KKERNEL objects: 2 of about 1000"


def test_make_sees_a_fixed_environment(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCFLAGS", "-O0")
    monkeypatch.setenv("MAKEFLAGS", "-k")
    make(_workspace(tmp_path), tree, tmp_path, "environment")
    text = (tmp_path / "environment").read_text()
    assert "KCFLAGS" not in text
    assert "KBUILD_BUILD_USER=rumpel\n" in text
    assert "KBUILD_BUILD_TIMESTAMP=Wed Jan  1 00:00:00 UTC 2020\n" in text
    assert text.endswith("x86_64 x86_64-linux-gnu-\n")


def test_an_error_is_shown_without_the_lines_of_what_went_well(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        make(_workspace(tmp_path), tree, tmp_path, "broken")
    error = make_error("The kernel 'linux' does not compile.", caught.value)
    assert error.message == "The kernel 'linux' does not compile."
    assert "file.c:1:1: error: no" in error.output.splitlines()
    assert "  CC " not in error.output


def test_an_interrupted_build_is_no_failure_to_compile(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        make(_workspace(tmp_path), tree, tmp_path, "interrupted")
    assert str(make_error("The kernel 'linux' does not compile.", caught.value)) == (
        "The build of Linux was interrupted.\nWhat was compiled so far is kept by ccache."
    )


def test_a_missing_program_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tools(_workspace(tmp_path))
    monkeypatch.setattr(kernel_linux_make, "_TOOLS", ("make", "flex"))
    monkeypatch.setattr(kernel_linux_make, "TOOL_PATH", str(tmp_path))
    (tmp_path / "make").touch()
    with pytest.raises(HostError) as caught:
        require_tools(_workspace(tmp_path))
    assert str(caught.value) == "The program 'flex' is missing.\nInstall it: apt-get install flex"
