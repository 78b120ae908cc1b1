"""nano gives its program what the Linux init gives it, and a program that crashes is named with its functions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rumpel
from rumpel.errors import MachineError

pytestmark = [pytest.mark.boot, pytest.mark.timeout(600)]

SECRET = b"correct horse\nbattery"
OF_THE_FUTURE = 40 * 365


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the program `tell`, which says what its start gave it."""
    folder = tmp_path_factory.mktemp("tell") / "project"
    shutil.copytree(Path(__file__).parent / "tell", folder)
    return folder


def run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", "--project", str(project), "run", "tell", "--accel", "tcg", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False, env=dict(os.environ),
    )  # fmt: skip


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.removeprefix("told: ") for line in done.stdout.splitlines() if line.startswith("told: ")]


def checksum(content: bytes) -> int:
    """As the program computes it."""
    total = 0
    for byte in content:
        total = (total * 31 + byte) & 0xFFFFFFFF
    return total


def test_every_setting_reaches_the_program_as_on_linux(project: Path, tmp_path: Path) -> None:
    token, other = tmp_path / "token", tmp_path / "other"
    token.write_bytes(SECRET)
    other.write_bytes(b"x" * 3000)
    words = (
        "--secret", f"token={token}", "--secret", f"other.key={other}", "-e", "B=of the host", "-e", "C=",
        "--hostname", "box.example", "--clock-offset", f"{OF_THE_FUTURE}d", "--", "two words", "",
    )  # fmt: skip
    nano, debian = run(project, *words), run(project, "--kernel", "debian", *words)
    lines = told(nano)
    assert lines[:2] == ["argument two words", "argument "], nano
    assert {"environment A=1", "environment B=of the host", "environment C="} <= set(lines)
    assert lines[-5:-1] == [
        "host box.example", "secrets mode 700", f"secret token mode 400 size {len(SECRET)} sum {checksum(SECRET)}",
        f"secret other.key mode 400 size 3000 sum {checksum(b'x' * 3000)}",
    ]  # fmt: skip
    assert int(lines[-1].removeprefix("year ")) >= 2060
    assert lines == told(debian), debian
    # Neither is ready before it ends, which is an error with the program's status in it.
    assert "ended with status 3 " in nano.stderr
    assert "ended with status 3 " in debian.stderr


def test_the_crash_of_a_stripped_program_is_shown_with_its_functions(project: Path) -> None:
    with pytest.raises(MachineError) as caught, rumpel.boot("tell", accel="tcg", project=project, arguments=["crash"]):
        pass
    error = caught.value
    assert error.message == "The program ended with status 139 before the machine was ready."
    console = error.evidence.console
    names = re.findall(
        r"^  [0-9a-f]{16}(?: \?)? (\w+)[.\w]*\+0x[0-9a-f]+ \(/bin/tell\+0x[0-9a-f]+\)$", console, re.MULTILINE
    )
    assert names[:3] == ["write_wildly", "lose_the_way", "main"], console
    assert "The program's registers:" in console
    assert "The last system calls:" in console
    assert "used memory that is not its own at address 0x123456789000" in console
