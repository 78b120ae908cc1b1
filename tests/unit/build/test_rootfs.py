"""The root filesystem: which files a component adds, and what may not stand in one place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rumpel.build.rootfs import PlacedFile, check_collisions, component_files
from rumpel.build.step import Workspace
from rumpel.errors import BuildError
from rumpel.resolve.plan import Component, FileEntry, Source


def _no_sources(source: Source) -> Path:
    raise AssertionError(f"{source.name} is not needed")


def _files(root: Path, *entries: FileEntry) -> list[PlacedFile]:
    component = Component(
        name="site", kind="files", role="files", directory="components/site", summary="", license="", files=entries
    )
    return component_files(Workspace(root=root, unpack=_no_sources), component)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "components/site/pages"
    (folder / "sub").mkdir(parents=True)
    (folder / "index.html").write_text("hello")
    (folder / "index.html").chmod(0o600)
    (folder / "sub/run").write_text("x")
    (folder / "sub/run").chmod(0o700)
    return tmp_path


def test_a_folder_is_walked_and_its_modes_are_normalised(site: Path) -> None:
    placed = {file.target: file.mode for file in _files(site, FileEntry(source="pages", target="/srv"))}
    assert placed == {"/srv/index.html": stat.S_IFREG | 0o644, "/srv/sub/run": stat.S_IFREG | 0o755}


def test_a_single_file_has_the_mode_that_the_component_says(site: Path) -> None:
    (file,) = _files(site, FileEntry(source="pages/index.html", target="/etc/page", mode=0o600))
    assert (file.target, file.mode) == ("/etc/page", stat.S_IFREG | 0o600)


def test_a_link_inside_the_folder_stays_a_link(site: Path) -> None:
    (site / "components/site/pages/sub/home").symlink_to("../index.html")
    links = [file for file in _files(site, FileEntry(source="pages", target="/srv")) if file.link]
    assert [(file.target, file.link) for file in links] == [("/srv/sub/home", "../index.html")]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../outside"])
def test_a_link_that_leads_out_of_the_folder_is_refused(site: Path, target: str) -> None:
    (site / "components/site/pages/secret").symlink_to(target)
    with pytest.raises(BuildError) as caught:
        _files(site, FileEntry(source="pages", target="/srv"))
    assert str(caught.value) == (
        f"The component 'site' adds the symbolic link 'secret', which leads out of its folder, to '{target}'.\n"
        "Put the file itself there, or a relative link to a file in the same folder tree."
    )


def test_a_file_that_does_not_exist_names_the_component_and_the_place(site: Path) -> None:
    with pytest.raises(BuildError) as caught:
        _files(site, FileEntry(source="nowhere", target="/srv"))
    assert str(caught.value) == (
        "The component 'site' adds 'nowhere', but there is no file or folder 'components/site/nowhere'.\n"
        "Create it, or correct 'files' in components/site/component.yaml."
    )


def test_a_pipe_is_neither_file_folder_nor_link(site: Path) -> None:
    os.mkfifo(site / "components/site/pages/pipe")
    with pytest.raises(BuildError) as caught:
        _files(site, FileEntry(source="pages", target="/srv"))
    assert str(caught.value) == "The component 'site' adds 'pipe', which is neither a file, a folder nor a link."


def _placed(target: str, owner: str) -> PlacedFile:
    return PlacedFile(target=target, owner=owner, mode=stat.S_IFREG | 0o644)


def test_two_files_in_one_place_name_both_components() -> None:
    with pytest.raises(BuildError) as caught:
        check_collisions([_placed("/srv/a", "component/one"), _placed("/srv/a", "component/two")])
    assert str(caught.value) == (
        "'/srv/a' in the root filesystem is added twice: by component 'one' and by component 'two'.\n"
        "Give one of them another 'target', or take one of them out of the composition."
    )


def test_a_file_where_another_component_needs_a_folder_names_both() -> None:
    with pytest.raises(BuildError) as caught:
        check_collisions([_placed("/srv", "component/one"), _placed("/srv/a", "component/two")])
    assert caught.value.message == (
        "'/srv' in the root filesystem is a file of component 'one' and a folder of component 'two'."
    )


@pytest.mark.parametrize("target", ["/rumpel/settings", "/rumpel/modules/00-x.ko", "/dev", "/dev/console", "/proc"])
def test_no_component_takes_a_place_that_the_guest_needs(target: str) -> None:
    with pytest.raises(BuildError) as caught:
        check_collisions([_placed(target, "component/one")])
    assert caught.value.message == (
        f"'{target}' in the root filesystem is added twice: by Rumpel itself and by component 'one'."
    )
