"""A project whose tests keep machines busy, for a runner that is killed: `python leak_project.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS = f"""
import threading, pytest, rumpel

def test_busy_pool():
    with rumpel.pool("web", size=2, kernel="nano", accel="tcg", project={str(ROOT)!r}) as pool:
        for _ in range(5):
            with pool.take() as vm:
                assert vm.http().get("/").status_code == 200

@pytest.mark.composition("web", project={str(ROOT)!r})
@pytest.mark.parametrize("number", range(50))
def test_busy(vm, boot, number):
    other = boot("sqlite-web", project={str(ROOT)!r})
    other.faults.network_lossy(delay=0.01)
    vm.snapshot("mine")
    assert vm.http().get("/").status_code == 200
    assert other.http().get("/").status_code == 200
    vm.restore("mine")
"""


def write_project(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test_busy.py").write_text(TESTS)
    return folder


if __name__ == "__main__":
    write_project(Path(sys.argv[1]))
