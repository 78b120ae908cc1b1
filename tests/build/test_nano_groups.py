"""What is linked into nano's kernels: the groups of system calls of the plan, and nothing of the others."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rumpel.build.api import BuildOptions, build
from rumpel.model.project import Project
from rumpel.resolve.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
NANO, HAL = ROOT / "kernels/nano", ROOT / "hal"
INSIDE = {
    "epoll_ready",
    "pipe_read",
    "event_read",
    "timer_file_read",
    "clone_thread",
    "enter_handler",
    "poll_wait",
    "rename_at",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def functions_of_groups() -> dict[str, set[str]]:
    """The functions that are defined in the files of each optional group, and in no other file."""
    defined = re.compile(r"^(?:static )?(?:HAL_NORETURN )?[a-z]\w*(?: \w+)*[ *]+(\w+)\([^;{}]*\) \{$", re.MULTILINE)
    found = {path: set(defined.findall(path.read_text())) for path in (*NANO.rglob("*.c"), *HAL.rglob("*.c"))}
    groups = {}
    for part in Project([ROOT]).kernel("nano").optional:
        own = {NANO / name for name in part.realisation.sources}
        elsewhere = set().union(*(names for path, names in found.items() if path not in own))
        groups[part.name] = set().union(*(found[path] for path in own)) - elsewhere
    return groups


@pytest.mark.parametrize("composition", ["hello", "web"])
def test_a_kernel_has_the_functions_of_the_groups_in_its_plan_and_of_no_other(composition: str) -> None:
    manifest = build(composition, BuildOptions(kernel="nano", machine="microvm"))
    folder = ROOT / manifest.directory
    plan = Plan.from_json((folder / manifest.plan.path).read_bytes())
    command = ["nm", "--defined-only", str(folder / "debug/kernel")]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    symbols = {line.split()[-1] for line in listing.splitlines()}
    groups = functions_of_groups()
    assert set().union(*groups.values()) >= INSIDE
    for name, functions in groups.items():
        assert bool(functions & symbols) == (name in plan.kernel.groups), (name, functions & symbols)
