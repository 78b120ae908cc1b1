"""Smaller pieces of the build: the ELF check, progress, the report of a build in another process, the scanner."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from rumpel.build.cprogram import Link
from rumpel.build.elfcheck import check_static_pie
from rumpel.build.kernel_linux_config import Configure
from rumpel.build.manifest import Place, WriteManifest
from rumpel.build.progress import BuildProgress
from rumpel.build.report import read_report, write_report
from rumpel.build.rootdisk import RootDisk
from rumpel.build.rootfs import RootFilesystem
from rumpel.build.scanner import embeds, included
from rumpel.build.step import Step, ToolError, code_digest, run_tool
from rumpel.errors import BuildError, HostError, Location, ModelError, Problem, RumpelError, SourceError, UsageError


def _linked(folder: Path, *flags: str) -> Path:
    source = folder / "p.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", str(source), "-o", str(folder / "p"), *flags], check=True)
    return folder / "p"


def test_a_static_position_independent_program_passes(tmp_path: Path) -> None:
    check_static_pie(_linked(tmp_path, "-static-pie", "-fPIE"), "component/web")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (
            ("-fPIE", "-pie"),
            "it asks for an interpreter (a dynamic linker); it needs the shared libraries 'libc.so.6'",
        ),
        (("-static", "-no-pie", "-fno-pie"), "it is not position-independent"),
        (("-static-pie", "-fPIE", "-Wl,-z,execstack"), "it asks for an executable stack"),
    ],
)
def test_any_other_program_is_refused_with_every_reason(tmp_path: Path, flags: tuple[str, ...], why: str) -> None:
    with pytest.raises(BuildError) as caught:
        check_static_pie(_linked(tmp_path, *flags), "component/web")
    assert caught.value.message == (
        f"The program of component 'web' is not a static position-independent executable: {why}."
    )


def test_what_is_no_elf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"#!/bin/sh\n")
    with pytest.raises(BuildError, match=r"^The program of component 'web' is not an ELF file: "):
        check_static_pie(tmp_path / "p", "component/web")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_plain_line_a_step_where_no_terminal_is() -> None:
    stream = io.StringIO()
    progress = BuildProgress(stream)
    progress.total = 140
    for _ in range(12):
        progress.visit()
    progress.begin("CC", "components/web/main.c")
    progress.say("done")
    assert stream.getvalue() == "[ 12/140] CC components/web/main.c\ndone\n"


def test_progress_on_a_terminal_is_written_in_place_and_leaves_only_lines_that_stay() -> None:
    stream = _Terminal()
    progress = BuildProgress(stream, environment={"TERM": "xterm"})
    progress.total = 2
    progress.begin("CC", "a.c")
    progress.begin("CC", "b.c")
    progress.say("done")
    assert stream.getvalue() == "\r\x1b[K[0/2] CC a.c\r\x1b[K[0/2] CC b.c\r\x1b[Kdone\n"


@pytest.mark.parametrize(
    "error",
    [
        BuildError("It failed.", hint="Do this.", output="tool\nwords"),
        SourceError("Gone.", hint="Wait.", source="sqlite3"),
        UsageError("Wrong.", hint="Did you mean 'x'?"),
        HostError("Missing.", hint="Install it."),
        ModelError([Problem(Location(Path("a.yaml"), 1, 2), "bad.", "Way out.")]),
    ],
)
def test_an_error_comes_back_from_another_process_as_it_was(error: RumpelError, tmp_path: Path) -> None:
    write_report(str(tmp_path / "report"), (), [error])
    (back,) = read_report(tmp_path / "report").failures()
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_a_build_that_wrote_no_report_has_an_empty_one(tmp_path: Path) -> None:
    report = read_report(tmp_path / "report")
    assert (report.directories, report.errors) == ((), ())


def test_includes_are_found_in_both_forms_and_once() -> None:
    text = '#include <stdio.h>\n  #  include "web.h"\n#include "web.h"\nchar *s = "#include <no.h>";\n'
    assert included(text) == ["stdio.h", "web.h"]
    assert not embeds(text)
    assert embeds('__asm__(".incbin \\"page.html\\"");')


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (RootFilesystem, "resolve/settings.py"),
        (RootFilesystem, "build/packages.py"),
        (RootDisk, "resolve/settings.py"),
        (Configure, "build/kernel_linux_kconfig.py"),
        (WriteManifest, "build/kernel_debian.py"),
        (Link, "build/elfcheck.py"),
        (Place, "build/manifest.py"),
        (Place, "build/step.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_step_has_another_signature_where_the_code_that_it_runs_is_another(
    step: type[Step], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code_digest.__wrapped__(step)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * str(path).endswith(f"rumpel/{code}"))
    assert code_digest.__wrapped__(step) != before


def test_a_tool_sees_a_fixed_environment_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O0")
    names = {line.partition("=")[0] for line in run_tool(["env"], cwd=tmp_path).splitlines()}
    assert names == {"PATH", "LC_ALL", "TZ", "SOURCE_DATE_EPOCH", "HOME"}


def test_a_tool_that_fails_gives_its_status_and_all_its_words(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        run_tool(["sh", "-c", "echo out; echo err >&2; exit 7"], cwd=tmp_path)
    assert (caught.value.status, caught.value.output) == (7, "out\nerr\n")


def test_a_missing_tool_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError) as caught:
        run_tool(["no-such-tool"], cwd=tmp_path)
    assert str(caught.value) == ("The program 'no-such-tool' is missing.\nInstall it, or correct the command's name.")
