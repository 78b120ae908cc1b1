"""A tool that is missing, fails or hangs is told of in whole sentences, and leaves nothing running."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rumpel.errors import HostError, SourceError
from rumpel.sources import Step, tool


def test_a_missing_tool_is_named_with_the_package_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        tool.run(["dpkg-sourcerer", "-x"], cwd=tmp_path, debian_package="dpkg-dev")
    assert str(caught.value) == (
        "'dpkg-sourcerer' is not installed on this machine; it is needed to fetch sources.\n"
        "On Debian, the package 'dpkg-dev' brings it: `apt-get install dpkg-dev`."
    )


def test_a_tool_that_hangs_is_ended_with_its_helpers(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(SourceError) as caught:
        tool.run(["sh", "-c", "sleep 60 & echo $! > helper; wait"], cwd=tmp_path, debian_package="dash", timeout=1)
    assert time.monotonic() - begin < 20
    assert str(caught.value) == (
        "`sh -c sleep 60 & echo $! > helper; wait` was ended because it took longer than 1 seconds.\n"
        "Check the network of this machine and try again."
    )
    helper = int((tmp_path / "helper").read_text())
    for _ in range(100):
        state = Path(f"/proc/{helper}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(helper, 0)
    pytest.fail("the helper still runs")


def test_a_failure_ends_with_the_tools_own_last_words(tmp_path: Path) -> None:
    ended = tool.run(["sh", "-c", "seq 1 20 >&2; exit 7"], cwd=tmp_path, debian_package="dash")
    error = ended.failure("It did not work.", hint="Try again.")
    words = "\n".join(f"    {number}" for number in range(13, 21))
    assert str(error) == f"It did not work. 'sh' ended with status 7 and said:\n{words}\nTry again."


def test_what_grows_is_reported_as_progress(tmp_path: Path) -> None:
    steps: list[Step] = []
    tool.run(
        ["sh", "-c", "head -c 5000 /dev/zero > file; sleep 0.7"],
        cwd=tmp_path,
        debian_package="dash",
        progress=steps.append,
        step=Step("fetching", 0, 5000),
    )
    assert steps[-1] == Step("fetching", 5000, 5000)
