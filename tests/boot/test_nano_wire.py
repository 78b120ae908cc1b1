"""nano's network as the wire has it: a machine on a TAP in a network namespace of the test's own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEER = Path(__file__).with_name("tap_peer.py")

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.timeout(600)]


def own_network() -> list[str]:
    """The words before a command that run it in a network namespace of its own, in which it may make interfaces."""
    for way in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if subprocess.run([*way, "sh", "-c", ": <>/dev/net/tun"], capture_output=True, check=False).returncode == 0:
            return way
    pytest.skip("neither a network namespace nor a TAP can be made here")


def qemu_words(*options: str) -> list[str]:
    """What starts the web server on nano, its network a TAP in place of QEMU's own."""
    command = ["./rumpel", "run", "web", "--kernel", "nano", "--accel", "tcg", *options, "--print-command"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    words = shlex.split(done.stdout.splitlines()[-1])
    network = words.index("-netdev") + 1
    assert words[network].startswith("user,id=net0,")
    words[network] = "tap,id=net0,ifname=tap0,script=no,downscript=no"
    return words


# By a router's announcement, which is there each time, and by the setting: whose network the announced one is.
@pytest.mark.parametrize(
    ("options", "address"),
    [((), "fd00:6::5054:ff:fe12:3456"), (("--address6", "fd00:6::15/64,fd00:6::1"), "fd00:6::15")],
    ids=["announced", "fixed"],
)
def test_a_server_is_reached_over_ipv4_and_ipv6_and_its_connections_cannot_be_guessed(
    options: tuple[str, ...], address: str
) -> None:
    way, words = own_network(), qemu_words(*options)
    command = [*way, sys.executable, str(PEER), address, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    site = (ROOT / "components/static-site/site/index.html").read_text()
    assert seen["pages"] == {
        "10.0.2.15": site,
        "fe80::5054:ff:fe12:3456": site,
        address: site,
    }
    numbers = list(dict.fromkeys(number for number, _, _ in seen["greetings"]))  # a segment may come twice
    assert len(numbers) >= 6
    steps = {(after - before) % 2**32 for before, after in pairwise(numbers)}
    assert len(steps) == len(numbers) - 1, "each number follows from the one before"
    assert all((mss, scale) == (1460, 2) for _, mss, scale in seen["greetings"])
