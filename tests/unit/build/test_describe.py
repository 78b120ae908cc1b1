"""A first description of a component: what is read out of a Debian package, and what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.build.describe import Described, license_of, write_component, yaml_of
from rumpel.model.project import Project

FOUND = Described(
    packages=("demo", "libc6"),
    program="/usr/sbin/demo",
    others=("/usr/bin/democtl",),
    license="MIT",
    summary="it's a demo",
    related=("demo-common",),
)


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("Expat", "MIT"),
        ("BSD-2-clause", "BSD-2-Clause"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+", "GPL-2.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("GPL-3+ or Apache-2.0", "GPL-3.0-or-later OR Apache-2.0"),
        ("something-of-our-own", ""),
    ],
)
def test_the_licence_of_all_files_is_an_spdx_expression_where_it_has_one(name: str, spdx: str) -> None:
    text = (
        f"Format: 1.0\n\nFiles: debian/*\nLicense: GPL-1\n\nFiles: *\nCopyright: somebody\nLicense: {name}\n the text\n"
    )
    assert license_of(text) == spdx


def test_a_licence_in_prose_is_not_guessed() -> None:
    assert license_of("This package was made by hand.\nIt may be used under the terms of the GPL-2.\n") == ""


def test_what_is_written_is_a_correct_component(tmp_path: Path) -> None:
    path = write_component(tmp_path / "components/mine", lambda: yaml_of("mine", "demo", FOUND))
    component = Project([tmp_path]).component("mine")
    assert (component.kind, component.role, component.entry) == ("deb", "program", "/usr/sbin/demo")
    assert [source.package for source in component.sources] == ["demo", "libc6"]
    assert (component.license, component.summary) == ("MIT", "It's a demo")
    assert "# Other programs of the package: /usr/bin/democtl\n" in path.read_text()
    assert "where some may be; add them above: demo-common)\n" in path.read_text()


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "components/mine"
    folder.mkdir(parents=True)
    (folder / "notes").write_text("mine")
    with pytest.raises(FileExistsError):
        write_component(folder, lambda: yaml_of("mine", "demo", FOUND))
    assert [each.name for each in folder.iterdir()] == ["notes"]
