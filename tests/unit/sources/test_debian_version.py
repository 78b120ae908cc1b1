"""The order of versions is dpkg's own."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from rumpel.sources.debian_version import DebianVersion


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.2.3-1", "1.2.3-1+deb12u1"),
        ("1.2.3-1+deb12u9", "1.2.3-1+deb12u10"),
        ("6.1.176-1", "6.1.192-2"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0-1~bpo12+1", "1.0-1"),
        ("9.9", "1:0.1"),
        ("1.0-0~1", "1.0"),
        ("1.0a", "1.0+"),
    ],
)
def test_the_newer_version_is_greater(older: str, newer: str) -> None:
    assert DebianVersion(older) < DebianVersion(newer)
    assert not DebianVersion(newer) < DebianVersion(older)
    assert DebianVersion(older) != DebianVersion(newer)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.01", "1.1")])
def test_versions_written_differently_are_equal(one: str, other: str) -> None:
    assert DebianVersion(one) == DebianVersion(other)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="compares with dpkg, which is not installed")
def test_the_order_is_that_of_dpkg() -> None:
    generator = random.Random(1)
    pieces = ["1", "0", "10", "~", "+", "a", "b", "Z", ".", "deb12u1", "-", "01"]

    def version() -> str:
        return "1" + "".join(generator.choice(pieces) for _ in range(generator.randint(0, 6))) + "1"

    for _ in range(150):
        one, other = version(), version()
        done = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], timeout=30, check=False)
        assert (DebianVersion(one) < DebianVersion(other)) == (done.returncode == 0), (one, other)
