"""Mistakes of a person: exact words, the exit status, no traceback and none of SCons' own noise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rumpel.build.api import BuildOptions, build
from rumpel.errors import BuildError, UsageError

from .conftest import DEBIAN_SCONS, VENV_SCONS, SmallProject

BOTH = pytest.mark.parametrize("program", [VENV_SCONS, DEBIAN_SCONS], ids=["own SCons", "Debian's SCons"])


@BOTH
@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("compositon=hello", "There is no option 'compositon'.\nDid you mean 'composition'?\n"),
        ("composition=helo", "There is no composition 'helo'.\nDid you mean 'hello'?\n"),
        ("hello", "'hello' is not an option.\nWrite it as composition=hello.\n"),
    ],
)
def test_a_misspelt_word_ends_with_status_2_and_a_suggestion(
    project: SmallProject, program: tuple[str, ...], word: str, words: str
) -> None:
    ended = project.scons(word, program=program)
    assert (ended.status, ended.output, ended.errors) == (2, "", words)


@BOTH
@pytest.mark.parametrize("words", [(), ("-h",)], ids=["no word", "-h"])
def test_the_help_is_printed_with_status_0(
    project: SmallProject, program: tuple[str, ...], words: tuple[str, ...]
) -> None:
    ended = project.scons(*words, program=program)
    assert (ended.status, ended.errors) == (0, "")
    assert "usage: scons composition=NAME [OPTION=VALUE ...] [-j JOBS]\n" in ended.output
    assert "  hello        Prints a greeting and ends\n" in ended.output
    assert "Machines: microvm, q35\n" in ended.output


@BOTH
def test_a_compiler_error_is_shown_whole_under_a_sentence(project: SmallProject, program: tuple[str, ...]) -> None:
    project.write("components/hello/other.c", "int other(void)\n{\n\treturn missing_name;\n}\n")
    ended = project.scons("composition=hello", program=program)
    assert ended.status == 3
    first, rest = ended.errors.split("\n", 1)
    assert first == "The component 'hello' does not compile: 'components/hello/other.c'."
    assert "components/hello/other.c:3:16: error: 'missing_name' undeclared" in rest
    assert "scons:" not in ended.errors
    assert "Traceback" not in ended.errors


def test_a_build_that_failed_goes_on_where_it_was_when_the_source_is_right_again(project: SmallProject) -> None:
    good = (project.root / "components/hello/other.c").read_text()
    project.write("components/hello/other.c", "broken\n")
    assert project.scons("composition=hello").status == 3
    project.write("components/hello/other.c", good)
    assert project.scons("composition=hello").status == 0


def test_an_undefined_symbol_is_an_error_that_names_the_component(project: SmallProject) -> None:
    project.write("components/greeting/greeting.c", "int nothing;\n")
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert ended.errors.startswith("The component 'hello' cannot be linked.\n")
    assert "undefined reference to `greeting'" in ended.errors


def test_a_missing_source_file_is_named_with_the_place_that_names_it(project: SmallProject) -> None:
    (project.root / "components/hello/other.c").unlink()
    ended = project.scons("composition=hello")
    assert ended.status == 2
    assert ended.errors == (
        "components/hello/component.yaml:10:22: there is no file 'other.c' in 'components/hello'.\n"
    )


def test_no_host_header_reaches_a_program(project: SmallProject) -> None:
    project.write("components/hello/other.c", "#include <gnu/libc-version.h>\n")
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert "gnu/libc-version.h: No such file or directory" in ended.errors


FOREIGN = bytearray(Path("/bin/true").resolve().read_bytes())
FOREIGN[18:20] = (183).to_bytes(2, "little")  # e_machine: EM_AARCH64


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"#!/usr/bin/perl\n",
            "The program '/bin/tool' of component 'tool' is a script for '/usr/bin/perl', which is not in the image.\n"
            "Name the component of role 'runtime' that brings 'perl': 'runtime: NAME'.\n",
        ),
        (
            bytes(FOREIGN),
            "The file '/bin/tool' of component 'tool' is for the architecture 'ARM 64 (AArch64)', not for x86-64.\n"
            "Take the file for x86-64, or leave it out.\n",
        ),
        (
            b"words\n",
            "The program '/bin/tool' of component 'tool' is neither an ELF program nor a script.\n"
            "Name the component of role 'runtime' that runs it: 'runtime: NAME'.\n",
        ),
    ],
    ids=["script", "architecture", "text"],
)
def test_what_cannot_run_is_no_program(project: SmallProject, content: bytes, says: str) -> None:
    project.write(
        "components/tool/component.yaml",
        "schema: 1\nname: tool\nsummary: x\nlicense: MIT\nkind: files\nrole: program\n"
        'files: [{source: tool, target: /bin/tool, mode: "0755"}]\nentry: /bin/tool\nready: {exit: true}\n',
    )
    (project.root / "components/tool/tool").write_bytes(content)
    project.write(
        "compositions/tool.yaml",
        "schema: 1\nname: tool\nsummary: x\nkernel: debian\nmachine: microvm\ncomponents: [tool]\n",
    )
    ended = project.scons("composition=tool")
    assert (ended.status, ended.errors) == (3, says)


def test_a_preparation_that_fails_shows_its_command_and_its_words(project: SmallProject) -> None:
    text = (project.root / "components/greeting/component.yaml").read_text()
    text = text.replace("c:\n", "sources:\n  musl-dev: {deb: musl-dev}\nc:\n")
    text += "  prepare:\n    commands: [[sh, -c, 'echo working; echo broken >&2; exit 9']]\n    outputs: [made.c]\n"
    text += "  source_files: [made.c]\n"
    project.write("components/greeting/component.yaml", text)
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert ended.errors.startswith(
        "The component 'greeting' cannot be prepared: 'sh -c echo working; echo broken >&2; exit 9' "
        "ended with status 9.\nworking\nbroken\nIt ran in a copy of the source 'musl-dev' "
    )


def test_a_preparation_that_makes_nothing_names_the_file_that_it_should_have_made(project: SmallProject) -> None:
    text = (project.root / "components/greeting/component.yaml").read_text()
    text = text.replace("c:\n", "sources:\n  musl-dev: {deb: musl-dev}\nc:\n")
    text += "  prepare: {commands: [['true']], outputs: [made.c]}\n  source_files: [made.c]\n"
    project.write("components/greeting/component.yaml", text)
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert ended.errors == (
        "The component 'greeting' was prepared, but its commands made no file 'made.c'.\n"
        "Correct 'c.prepare.outputs' or the commands in its component.yaml.\n"
    )


def test_a_missing_environment_is_said_with_the_one_command_that_brings_it(project: SmallProject) -> None:
    (project.root / ".venv").unlink()
    ended = project.scons("composition=hello", program=("/usr/bin/python3", "-S", "-c", _SCONS_ALONE))
    assert (ended.status, ended.output) == (2, "")
    assert ended.errors == (
        "Python packages are missing: msgspec, PyYAML, pyelftools, filelock. One command brings them:\n"
        "    ./rumpel setup\n"
    )


# SCons without any other package that this machine may have installed beside it.
_SCONS_ALONE = """
import importlib.machinery, sys
class Alone(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is None and name == "SCons":
            path = ["/usr/lib/python3/dist-packages"]
        return super().find_spec(name, path, target)
sys.meta_path[-1] = Alone
import SCons.Script
SCons.Script.main()
"""


def test_the_python_interface_raises_the_error_of_the_build(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    project.write("components/hello/other.c", "broken\n")
    with pytest.raises(BuildError) as caught:
        build("hello", BuildOptions(project=project.root, jobs=2))
    assert caught.value.message == "The component 'hello' does not compile: 'components/hello/other.c'."
    assert "components/hello/other.c:1:1: error:" in caught.value.output
    with pytest.raises(UsageError) as misspelt:
        build("helo", BuildOptions(project=project.root))
    assert misspelt.value.hint.startswith("Did you mean 'hello'")


def test_the_python_interface_answers_with_the_manifest_and_the_lines_of_the_build(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    lines: list[str] = []
    manifest = build("hello", BuildOptions(project=project.root, machine="q35", jobs=2), progress=lines.append)
    assert manifest.directory == "build/hello/debian-q35"
    assert (project.root / manifest.directory / manifest.kernel.path).stat().st_size == manifest.kernel.size
    assert lines[-1] == "build/hello/debian-q35 is built."


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(project: SmallProject) -> None:
    Path(project.root / "build").write_text("in the way\n")
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert ended.errors == (
        f"The folder '{project.root / 'build'}' cannot be written: {os.strerror(17)}.\n"
        "Check its permissions and its disk.\n"
    )
