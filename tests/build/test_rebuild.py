"""What is built again: only what a change touches; and two builds at once."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from rumpel.build.manifest import load_manifest
from rumpel.places import own_root

from .conftest import FILES, VENV_SCONS, SmallProject, make_project

AFTER_PROGRAM = ["LINK component/hello", "MANIFEST composition/hello", "ROOTFS composition/hello"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> SmallProject:
    project = make_project(tmp_path_factory.mktemp("built") / "project", own_root(), shared_cache)
    ended = project.scons("composition=hello")
    assert ended.status == 0, ended.errors
    return project


@pytest.fixture
def built(template: SmallProject, tmp_path: Path) -> SmallProject:
    """A copy of a project that was built: what is in files counts, not where they lie or when they were written."""
    root = tmp_path / "project"
    shutil.copytree(template.root, root, symlinks=True)
    return SmallProject(root, template.cache)


def test_one_changed_source_rebuilds_its_object_the_program_and_the_root_only(built: SmallProject) -> None:
    name = "components/hello/other.c"
    built.write(name, FILES[name].replace("return 1", "return 2").replace("other(void)\n", "other(void)\n", 1))
    # --gc-sections drops the function, so the program itself may stay the same: change one that is used, too.
    name = "components/greeting/greeting.c"
    built.write(name, FILES[name].replace('"hello"', '"good day"'))
    ended = built.scons("composition=hello")
    assert ended.steps == sorted(["CC components/greeting/greeting.c", "CC components/hello/other.c", *AFTER_PROGRAM])


def test_a_changed_header_rebuilds_who_includes_it(built: SmallProject) -> None:
    name = "components/greeting/include/greeting.h"
    built.write(name, FILES[name] + "#define ANOTHER 1\n")
    steps = built.scons("composition=hello").steps
    compiled = [step for step in steps if step.startswith("CC ")]
    assert compiled == ["CC components/greeting/greeting.c", "CC components/hello/hello.c"]


def test_a_line_that_moves_changes_what_gdb_is_told_and_no_byte_of_the_image(built: SmallProject) -> None:
    before = load_manifest(built.image / "manifest.json")
    built.write("components/hello/hello.c", "/* A comment. */\n\n" + FILES["components/hello/hello.c"])
    ended = built.scons("composition=hello")
    assert ended.steps == ["CC components/hello/hello.c", "LINK component/hello", "MANIFEST composition/hello"]
    after = load_manifest(built.image / "manifest.json")
    assert (after.rootfs, after.contents) == (before.rootfs, before.contents)
    assert after.debug != before.debug


def test_a_touched_source_rebuilds_nothing(built: SmallProject) -> None:
    (built.root / "components/hello/hello.c").touch()
    assert built.scons("composition=hello").steps == []


def test_a_changed_setting_of_the_plan_rebuilds_no_program(built: SmallProject) -> None:
    built.write("compositions/hello.yaml", FILES["compositions/hello.yaml"] + "environment: {LIMIT: '5'}\n")
    steps = built.scons("composition=hello").steps
    assert steps == ["MANIFEST composition/hello", "PLAN composition/hello", "ROOTFS composition/hello"]


def test_a_changed_file_of_a_files_component_rebuilds_the_root_only(built: SmallProject) -> None:
    built.write("components/pages/pages/index.html", "<p>changed</p>\n")
    assert built.scons("composition=hello").steps == ["MANIFEST composition/hello", "ROOTFS composition/hello"]


def test_a_removed_build_folder_comes_back_from_the_cache_without_compiling(built: SmallProject) -> None:
    before = (built.image / "manifest.json").read_bytes()
    shutil.rmtree(built.root / "build")
    ended = built.scons("composition=hello")
    assert ended.status == 0
    assert [step for step in ended.steps if not step.startswith("PLACE")] == []
    assert (built.image / "manifest.json").read_bytes() == before


def test_nothing_to_do_takes_less_than_a_second_and_a_half_of_processor_time(built: SmallProject) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert built.scons("composition=hello").steps == []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


def test_a_second_build_in_one_checkout_waits_for_the_first_and_says_so(project: SmallProject) -> None:
    name = "components/greeting/component.yaml"
    slow = "  prepare: {commands: [[sleep, '3'], [touch, made.c]], outputs: [made.c]}\n  source_files: [made.c]\n"
    source = "sources:\n  musl-dev: {deb: musl-dev}\nc:\n"
    project.write(name, FILES[name].replace("c:\n", source) + slow)
    command = [*VENV_SCONS, "-Q", "composition=hello"]
    first = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lock = project.root / "build/.lock"
        deadline = time.monotonic() + 30
        while not (lock.exists() and lock.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        second = project.scons("composition=hello")
        output, _ = first.communicate(timeout=200)
    finally:
        first.kill()
        first.wait()
    assert first.returncode == 0, output
    assert second.status == 0
    waiting = f"Another build (process {first.pid}) runs in '{project.root / 'build'}'; waiting for it to end."
    assert second.output.splitlines() == [waiting, "build/hello/debian-microvm is up to date."]


def test_a_cache_over_its_limit_is_pruned_after_a_build(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("limited")
    for name in ("store", "trees"):
        (project.cache / name).mkdir(exist_ok=True) if name == "trees" else None
        (cache / name).symlink_to(project.cache / name)
    limited = SmallProject(project.root, cache)
    monkeypatch.setenv("RUMPEL_CACHE_LIMIT", "1M")
    assert limited.scons("composition=hello").status == 0
    sizes = [path.stat().st_size for path in (cache / "build").glob("??/*")]
    assert 0 < sum(sizes) <= 1 << 20


def test_a_changed_header_of_ours_rebuilds_the_fetched_sources_that_may_include_it(
    checkout: Path, tmp_path: Path
) -> None:
    """Declared, not built: the objects of libmicrohttpd and of lwIP ask for what their configuration includes."""
    tree = subprocess.run(
        [
            *VENV_SCONS,
            "-Q",
            "-n",
            "--tree=all,prune",
            "-f",
            str(checkout / "SConstruct"),
            "composition=web",
            "kernel=nano",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    ).stdout
    nodes = re.findall(r"^([ |]*)\+-\[?([^\]\n]+)\]?$", tree, re.MULTILINE)
    needs: dict[str, set[str]] = {}
    above: list[str] = []
    for indent, name in nodes:
        depth = len(indent) // 2
        above[depth:] = [name]
        for each in above[:depth]:
            needs.setdefault(each, set()).add(name)
    microhttpd = next(name for name in needs if name.endswith("/microhttpd/daemon.c.o"))
    assert f"{checkout}/components/libmicrohttpd/config/MHD_config.h" in needs[microhttpd]
    lwip = next(name for name in needs if name.endswith("/lwip/src/core/tcp.c.o"))
    ours = ("kernels/nano/net/port/lwipopts.h", "hal/include/hal/boot.h", "hal/include/hal/string.h")
    assert {f"{checkout}/{name}" for name in ours} <= needs[lwip]
