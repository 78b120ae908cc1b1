"""What all tests share: fetched and built things are kept between them, what an instance leaves behind is not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpel.places import cache_dir

ROOT = Path(__file__).resolve().parents[1]

# A shell without job control starts what it puts into the background with SIGINT ignored (POSIX, XCU 2.11), and that
# is inherited: tests that interrupt their children would wait for ever. A handler of ours is the default in theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Machines that several tests share leave nothing in the user's own state either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUMPEL_STATE", str(tmp_path_factory.mktemp("session-state")))
        yield


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a state folder of its own; the cache is the one that the session was started with."""
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("RUMPEL_STATE", str(state))
    monkeypatch.setenv("RUMPEL_CACHE", str(cache_dir()))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RUMPEL_PROJECT", raising=False)
    return state


@pytest.fixture
def checkout() -> Path:
    """The root of the repository under test."""
    return ROOT
