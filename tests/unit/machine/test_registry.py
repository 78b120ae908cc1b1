"""Names of instances belong to one owner at a time, and looking disturbs nobody."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from rumpel.errors import InstanceError
from rumpel.machine.registry import Claim


def test_who_only_looks_at_an_instance_is_not_taken_for_its_owner(tmp_path: Path) -> None:
    Claim("web", tmp_path).release()
    with (tmp_path / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        end = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        end.start()
        Claim("web", tmp_path).release()
        end.join()


def test_a_name_that_is_taken_is_refused_at_once(tmp_path: Path) -> None:
    owner = Claim("web", tmp_path)
    begun = time.monotonic()
    with pytest.raises(InstanceError, match="An instance named 'web' is already running"):
        Claim("web", tmp_path)
    assert time.monotonic() - begun < 0.5
    owner.release()
    Claim("web", tmp_path).release()


def test_a_name_is_free_at_once_although_a_process_that_is_being_started_has_its_file_open(tmp_path: Path) -> None:
    owner = Claim("web", tmp_path)
    files = [path for path in Path("/proc/self/fd").iterdir() if path.exists() and path.samefile(tmp_path / "lock")]
    (inherited,) = [os.dup(int(path.name)) for path in files]
    try:
        owner.release()
        Claim("web", tmp_path).release()
    finally:
        os.close(inherited)
