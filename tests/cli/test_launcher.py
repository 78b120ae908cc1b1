"""The launcher, in copies of the checkout whose only Python package is click: real pip, real dpkg-query."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

UNPRIVILEGED = 65534

pytestmark = pytest.mark.slow


def small_checkout(checkout: Path, folder: Path) -> Path:
    """A copy of the checkout as far as `rumpel version` needs it."""
    folder.mkdir()
    shutil.copy(checkout / "rumpel", folder)
    shutil.copytree(checkout / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "requirements").mkdir()
    lines = (checkout / "requirements/run.txt").read_text()
    click = re.search(r"^click==[^\n]*\n(?:    --hash[^\n]*\n)+", lines, re.MULTILINE)
    assert click is not None
    (folder / "requirements/run.txt").write_text(click.group(0))
    (folder / "requirements/dev.txt").write_text(click.group(0))
    (folder / "requirements/debian.txt").write_text("dpkg  # it is always there\n")
    (folder / "requirements/debian-test.txt").write_text("")
    return folder


@pytest.fixture
def fresh(checkout: Path, tmp_path: Path) -> Path:
    return small_checkout(checkout, tmp_path / "fresh")


def start(root: Path, *words: str, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, str(root / "rumpel"), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        cwd=root,
        start_new_session=True,
    )


def launch(root: Path, *words: str, before: Sequence[str] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    process = start(root, *words, before=before, **environment)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def environments(root: Path) -> list[Path]:
    return [path for path in (root / ".venvs").iterdir() if path.is_dir()]


def test_the_first_command_sets_up_and_the_next_one_finds_it_done(fresh: Path) -> None:
    first = launch(fresh, "version")
    assert (first.returncode, first.stdout) == (0, "rumpel 0.1.0\n"), first.stderr
    assert "Installing 1 Python packages, pinned in requirements/run.txt, through pip ...\n" in first.stderr
    assert "Making a Python environment" in first.stderr

    second = launch(fresh, "version")
    assert (second.returncode, second.stdout, second.stderr) == (0, "rumpel 0.1.0\n", "")
    assert len(environments(fresh)) == 1


def test_a_package_that_is_not_what_was_pinned_leaves_nothing_behind(fresh: Path) -> None:
    pins = fresh / "requirements/run.txt"
    pins.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, pins.read_text()))
    done = launch(fresh, "version")
    assert done.returncode == 4
    assert (
        "Installing 1 Python packages, pinned in requirements/run.txt, through pip failed with status 1." in done.stderr
    )
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "Nothing was left half-made. Put right what it says, then start again.\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (fresh / ".venv").is_symlink()
    assert environments(fresh) == []


def test_two_commands_at_once_set_up_once(fresh: Path) -> None:
    both = [start(fresh, "version"), start(fresh, "version")]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [stdout for stdout, _ in outputs] == ["rumpel 0.1.0\n"] * 2
    said = sorted(stderr for _, stderr in outputs)
    assert said[0] == "Another command sets this checkout up; waiting for it.\n"
    assert said[1].startswith("Making a Python environment")
    assert len(environments(fresh)) == 1


def test_other_requirements_another_place_or_a_vanished_python_make_a_new_environment(fresh: Path) -> None:
    launch(fresh, "version")
    made = {str((fresh / ".venv").readlink())}

    with (fresh / "requirements/run.txt").open("a") as pins:
        pins.write("# another digest\n")
    assert launch(fresh, "version").returncode == 0
    made.add(str((fresh / ".venv").readlink()))
    assert len(made) == 2
    assert len(environments(fresh)) == 2, "the one before is kept: a process may still run in it"

    moved = fresh.rename(fresh.with_name("moved"))
    assert launch(moved, "version").returncode == 0
    made.add(str((moved / ".venv").readlink()))
    assert len(made) == 3

    (moved / ".venv/bin/python3").unlink()
    (moved / ".venv/bin/python3").symlink_to("/nonexistent/python3")
    (moved / ".venv/bin/python").unlink()
    (moved / ".venv/bin/python").symlink_to("python3")
    last = launch(moved, "version")
    assert (last.returncode, last.stdout) == (0, "rumpel 0.1.0\n"), last.stderr
    assert len(environments(moved)) == 2


def test_an_environment_that_somebody_made_by_hand_is_moved_aside(fresh: Path) -> None:
    (fresh / ".venv").mkdir()
    (fresh / ".venv/mine").write_text("kept")
    done = launch(fresh, "version")
    assert done.returncode == 0
    assert "'.venv' was not made by Rumpel: it is '.venv.before-1' now.\n" in done.stderr
    assert (fresh / ".venv.before-1/mine").read_text() == "kept"


def test_a_killed_set_up_is_cleaned_up_by_the_next(fresh: Path) -> None:
    process = start(fresh, "version")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Making a Python environment")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (fresh / ".venv").is_symlink()
    assert len(environments(fresh)) == 1
    done = launch(fresh, "version")
    assert (done.returncode, done.stdout) == (0, "rumpel 0.1.0\n"), done.stderr
    assert len(environments(fresh)) == 1


def test_without_the_right_to_install_packages_the_line_to_paste_is_printed(fresh: Path, tmp_path: Path) -> None:
    (fresh / "requirements/debian.txt").write_text("dpkg  # there\nrumpel-no-such-package  # not there\n")
    refusing = tmp_path / "bin" / "sudo"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    refusing.chmod(0o755)
    before: list[str] = []
    if os.geteuid() == 0:
        give_to_everyone(tmp_path)
        before = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
    path = f"{refusing.parent}:/usr/bin:/bin"
    done = launch(fresh, "build", before=before, PATH=path, HOME=str(tmp_path))
    assert done.returncode == 4
    assert done.stderr == (
        "rumpel: Debian packages are missing, and only the administrator may install them: rumpel-no-such-package.\n"
        "Paste this line, then start again:\n"
        "    sudo apt-get update && "
        "sudo apt-get install --yes --no-install-recommends rumpel-no-such-package\n"
    )
    assert environments(fresh) == []


def give_to_everyone(folder: Path) -> None:
    """Let the unprivileged user reach and own what is below `folder`."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED, follow_symlinks=False)
    for parent in folder.parents:
        mode = stat.S_IMODE(parent.stat().st_mode)
        if parent.owner() != "root" or mode & 0o001 or len(parent.parts) <= 2:
            continue
        parent.chmod(mode | 0o001)


def test_a_checkout_that_may_not_be_written_is_an_error_that_names_it(fresh: Path, tmp_path: Path) -> None:
    before: list[str] = []
    if os.geteuid() == 0:
        give_to_everyone(tmp_path)
        os.chown(fresh, 0, 0)
        before = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
    fresh.chmod(0o555)
    done = launch(fresh, "version", before=before, PATH="/usr/bin:/bin", HOME=str(tmp_path))
    fresh.chmod(0o755)
    assert done.returncode == 4
    assert done.stderr == (
        f"rumpel: The set-up needs to write to the checkout: '{fresh}/.venvs': Permission denied.\n"
        f"Run it once as the owner of '{fresh}', or use a clone of your own.\n"
    )


def test_a_python_that_will_not_do_is_named(fresh: Path) -> None:
    done = launch(fresh, "version", RUMPEL_PYTHON="/bin/false")
    assert done.returncode == 4
    assert done.stderr == (
        "rumpel: Rumpel needs Python 3.11, 3.12 or 3.13, and '/bin/false' is not one of them.\n"
        "On Debian 12: sudo apt-get install python3. Or name another one in RUMPEL_PYTHON.\n"
    )


def test_once_set_up_the_launcher_starts_work_within_its_budget(checkout: Path) -> None:
    """In CPU seconds, which other load on the machine does not change: 0.3 to start work, 0.2 for the help."""
    for words, budget in ((["version"], 0.3), (["--help"], 0.2)):
        used = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([str(checkout / "rumpel"), *words], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert min(used) < budget, used
