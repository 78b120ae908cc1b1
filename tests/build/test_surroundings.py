"""What a person has set or keeps for other purposes does not change a build."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rumpel.build.api import BuildOptions, build

from .conftest import SmallProject


def test_a_build_from_python_ignores_what_is_set_for_other_scons_builds(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    monkeypatch.setenv("SCONSFLAGS", "--clean")
    (project.root / "site_scons").mkdir()
    (project.root / "site_scons/site_init.py").write_text("raise SystemExit('site_init.py ran')\n")
    manifest = build("hello", BuildOptions(project=project.root, offline=True))
    assert (project.root / manifest.directory / manifest.rootfs.path).is_file()


def test_a_file_of_the_project_does_not_stand_in_for_a_module_of_python(
    project: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(project.cache))
    for module in ("secrets.py", "tempfile.py", "yaml.py"):
        project.write(module, "raise SystemExit('the project took the place of a module')\n")
    assert build("hello", BuildOptions(project=project.root, offline=True)).composition == "hello"


def test_a_relative_cache_is_where_the_command_runs(
    project: SmallProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUMPEL_CACHE", os.path.relpath(project.cache, tmp_path))
    build("hello", BuildOptions(project=project.root, offline=True))
    assert not (project.root / os.environ["RUMPEL_CACHE"]).exists()


def _readers(fifo: Path) -> list[str]:
    """The processes beside this one that have the FIFO open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and any(
                descriptor.readlink() == fifo for descriptor in (process / "fd").iterdir()
            ):
                found.append(process.name)
    return found


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_build_ends_with_the_tools_that_it_runs_when_its_command_does(
    project: SmallProject, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    fifo = tmp_path / "never written"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)  # the compiler reads it until it is killed
    project.write("components/hello/other.c", f'#include "{fifo}"\n')
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "rumpel", "--project", str(project.root), "build", "hello", "--offline"],
        env=project.environment(), stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as command:  # fmt: skip
        assert command.stderr is not None
        said = ""
        while "components/hello/other.c" not in said:
            said += command.stderr.readline() or pytest.fail(said)
        end = time.monotonic() + 30
        while not _readers(fifo) and time.monotonic() < end:
            time.sleep(0.05)
        assert _readers(fifo)
        command.send_signal(number)
        try:
            assert command.wait(30) == status
            end = time.monotonic() + (0 if number == signal.SIGTERM else 30)
            while _readers(fifo) and time.monotonic() < end:
                time.sleep(0.05)
            assert _readers(fifo) == []
        finally:
            os.close(held)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(command.pid, signal.SIGKILL)
