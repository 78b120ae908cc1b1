"""Folders and files of any name are built as they are, or refused in a sentence."""

from __future__ import annotations

import os
from pathlib import Path

from rumpel.build.manifest import load_manifest

from .conftest import SmallProject, make_project

NAMES = ("do$llar.txt", "${HOME}.txt", "#hash", "a b,c=d", "w\u00e9b", "new\nline", "-dash", "%25", "back\\slash")


def test_names_that_mean_something_to_tools_mean_nothing_here(
    tmp_path: Path, checkout: Path, shared_cache: Path
) -> None:
    cache = tmp_path / "ca$che, x=1"
    cache.mkdir()
    (cache / "store").symlink_to(shared_cache / "store")
    project = make_project(tmp_path / "pro $ject, y=2", checkout, cache)
    for name in NAMES:
        project.write(f"components/pages/pages/{name}", name)
    ended = project.scons("composition=hello")
    assert (ended.status, ended.errors) == (0, "")
    contents = {entry.path for entry in load_manifest(project.image / "manifest.json").contents}
    assert {f"/srv/pages/{name}" for name in NAMES} <= contents
    project.write("components/greeting/include/greeting.h", "const char *greeting(void);\n#define CHANGED 1\n")
    assert "CC components/greeting/greeting.c" in project.scons("composition=hello").steps


def test_sources_that_differ_only_in_what_follows_the_dot_are_two_objects(project: SmallProject) -> None:
    project.write(
        "components/greeting/greeting.S",
        '.section .note.GNU-stack,"",@progbits\n.data\n.globl word\nword: .asciz "hi"\n',
    )
    source = '#include "greeting.h"\nextern const char word[];\nconst char *greeting(void)\n{\n\treturn word;\n}\n'
    project.write("components/greeting/greeting.c", source)
    description = (project.root / "components/greeting/component.yaml").read_text()
    project.write("components/greeting/component.yaml", description.replace("[greeting.c]", "[greeting.c, greeting.S]"))
    ended = project.scons("composition=hello")
    assert (ended.status, ended.errors) == (0, "")
    assert {"CC components/greeting/greeting.c", "CC components/greeting/greeting.S"} <= set(ended.steps)


def test_a_name_that_is_not_utf8_is_refused_with_its_bytes(project: SmallProject) -> None:
    os.close(os.open(os.fsencode(project.root / "components/pages/pages") + b"/bad\xff", os.O_CREAT | os.O_WRONLY))
    ended = project.scons("composition=hello")
    assert ended.status == 3
    assert ended.errors == (
        "The component 'pages' adds 'bad\\xff', whose name is not UTF-8 text.\nGive the file another name.\n"
    )
