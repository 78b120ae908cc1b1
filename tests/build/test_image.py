"""What a build makes: the image's files, their digests, and the same bytes wherever it is built."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from rumpel.build.manifest import load_manifest
from rumpel.errors import BuildError
from rumpel.places import store_dir
from rumpel.resolve.plan import Plan

from .conftest import DEBIAN_SCONS, VENV_SCONS, SmallProject, make_cache, make_project


@pytest.mark.parametrize("program", [VENV_SCONS, DEBIAN_SCONS], ids=["own SCons", "Debian's SCons"])
def test_each_scons_builds_the_image_and_then_finds_nothing_to_do(
    project: SmallProject, program: tuple[str, ...]
) -> None:
    first = project.scons("composition=hello", program=program)
    assert (first.status, first.errors) == (0, "")
    assert first.output.endswith("build/hello/debian-microvm is built.\n")
    second = project.scons("composition=hello", program=program)
    assert (second.status, second.errors) == (0, "")
    assert second.output == "build/hello/debian-microvm is up to date.\n"


def test_the_manifest_names_every_file_with_its_digest_and_size(project: SmallProject) -> None:
    assert project.scons("composition=hello").status == 0
    manifest = load_manifest(project.image / "manifest.json")
    assert (manifest.composition, manifest.directory) == ("hello", "build/hello/debian-microvm")
    assert manifest.tools.cc.startswith("x86_64-linux-gnu-gcc")
    assert (manifest.kernel.format, manifest.rootfs.format) == ("pvh", "cpio")
    assert [file.path for file in manifest.debug] == ["debug/hello", "debug/init"]
    for file in (manifest.kernel, manifest.rootfs, manifest.plan, *manifest.debug):
        data = (project.image / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    Plan.from_json((project.image / "plan.json").read_bytes())


def test_the_root_filesystem_holds_what_the_manifest_lists_and_every_file_has_an_owner(
    project: SmallProject, tmp_path: Path
) -> None:
    assert project.scons("composition=hello").status == 0
    manifest = load_manifest(project.image / "manifest.json")
    tree = tmp_path / "tree"
    tree.mkdir()
    with (project.image / "rootfs.cpio").open("rb") as stream:
        subprocess.run(["cpio", "-id", "--quiet"], stdin=stream, cwd=tree, check=True)
    found = {f"/{path.relative_to(tree)}" for path in tree.rglob("*")}
    assert found == {content.path for content in manifest.contents}
    owners = {content.path: content.owner for content in manifest.contents if content.kind == "file"}
    assert owners["/bin/hello"] == "component/hello"
    assert owners["/init"] == "kernel/debian"
    assert owners["/srv/pages/index.html"] == "component/pages"
    for content in manifest.contents:
        if content.kind == "file":
            assert hashlib.sha256((tree / content.path[1:]).read_bytes()).hexdigest() == content.sha256
    done = subprocess.run([tree / "bin/hello"], capture_output=True, text=True, check=True)
    assert done.stdout == "hello components/hello/hello.c\n"


def test_two_clean_builds_in_two_folders_with_two_caches_give_the_same_bytes(tmp_path: Path, checkout: Path) -> None:
    digests = []
    for number in (1, 2):
        cache = make_cache(tmp_path / f"cache-{number}", store_dir())
        project = make_project(tmp_path / f"{number * 'long-'}folder", checkout, cache)
        ended = project.scons("composition=hello", f"-j{number}")
        assert ended.status == 0, ended.errors
        assert any(step.startswith("KERNEL") for step in ended.steps)
        files = sorted(path for path in project.image.rglob("*") if path.is_file())
        digests.append(
            {str(path.relative_to(project.image)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        )
    assert len(digests[0]) >= 6
    assert digests[0] == digests[1]


def test_parts_of_another_root_give_the_same_bytes_as_the_project_s_own(tmp_path: Path, checkout: Path) -> None:
    digests = []
    for number in (1, 2):
        cache = make_cache(tmp_path / f"cache-{number}", store_dir())
        project = make_project(tmp_path / f"project-{number}", checkout, cache)
        words = ["composition=hello"]
        if number == 2:
            folder = tmp_path / "elsewhere"
            for name in ("compositions", "components/hello"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (project.root / name).rename(folder / name)
            (project.root / "compositions").mkdir()
            words += ["-f", str(project.root / "SConstruct"), "-C", str(folder)]
        ended = project.scons(*words)
        assert ended.status == 0, ended.errors
        image = (folder if number == 2 else project.root) / "build/hello/debian-microvm"
        digests.append(load_manifest(image / "manifest.json"))
    assert digests[0].rootfs == digests[1].rootfs
    assert digests[0].debug == digests[1].debug


def test_no_file_of_the_image_names_the_folder_that_it_was_built_in(project: SmallProject) -> None:
    assert project.scons("composition=hello").status == 0
    for path in project.image.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert str(project.root).encode() not in data, path
            assert str(project.cache).encode() not in data, path


def test_a_manifest_that_is_missing_or_damaged_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(BuildError) as caught:
        load_manifest(path)
    assert str(caught.value) == (
        f"The manifest '{path}' cannot be read: No such file or directory.\nBuild the image first: rumpel build NAME"
    )
    path.write_text(json.dumps({"schema": 1}))
    with pytest.raises(BuildError, match="is not a manifest of version 1"):
        load_manifest(path)
