"""The programs of the harness's page run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]


def programs() -> list[str]:
    """Those that need nothing around them."""
    beginning = (ROOT / "docs/harness.md").read_text().partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", beginning, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(2), ids=["waiting", "asyncio"])
def test_a_program_of_the_page_runs(number: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", programs()[number]], cwd=ROOT, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_no_program_of_the_page_is_left_out() -> None:
    assert len(programs()) == 2
