"""The reference page is what the docstrings say, and every public name has one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import rumpel
from rumpel.errors import UsageError
from rumpel.harness import aio, console, dialog, events, faults, start, vm, warm
from rumpel.harness.reference import page

PUBLIC = (
    vm.Vm, console.VmConsole, events.Events, events.Expected, faults.Faults, aio.AsyncVm, aio.AsyncConsole,
    aio.AsyncDialog, aio.AsyncEvents, aio.AsyncExpected, warm.WarmPool, aio.AsyncWarmPool,
)  # fmt: skip


def test_the_reference_page_is_what_the_docstrings_say(checkout: Path) -> None:
    assert (checkout / "docs/harness-api.md").read_text() == page(), (
        "Write it anew: rumpel python -m rumpel.harness.reference > docs/harness-api.md"
    )


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_public_name_has_a_docstring(kind: type) -> None:
    members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
    assert [name for name, member in members.items() if not inspect.getdoc(member)] == []


# What the harness calls itself.
INNER = {
    "Vm": {"instance", "disconnect", "end", "scaled", "watch", "raise_if_ending", "raise_crash", "too_late",
           "main_port", "life"},
    "VmConsole": {"begin_here", "begin_anew", "read_more"},
    "Dialog": {"read_nonblocking"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "twin"),
    [
        (vm.Vm, aio.AsyncVm),
        (console.VmConsole, aio.AsyncConsole),
        (dialog.Dialog, aio.AsyncDialog),
        (events.Events, aio.AsyncEvents),
        (events.Expected, aio.AsyncExpected),
        (warm.WarmPool, aio.AsyncWarmPool),
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_asynchronous_twin_has_the_same_names(kind: type, twin: type) -> None:
    ours = {name for name in vars(kind) if not name.startswith("_")} - INNER.get(kind.__name__, set())
    assert ours - {name for name in dir(twin) if not name.startswith("_")} == set()


def test_the_asynchronous_faults_have_the_same_names() -> None:
    ours = {name for name in vars(faults.Faults) if not name.startswith("_")}
    theirs = vars(aio.AsyncFaults(vm.Vm.__new__(vm.Vm)))
    assert ours - {"forget", "links"} == {name for name in theirs if not name.startswith("_")}


def test_the_words_of_a_start_are_all_in_the_page() -> None:
    for function in ("boot", "launch", "pool"):
        [signature] = [line for line in page().splitlines() if line.startswith(f"{function}(composition")]
        assert all(f" {word}," in signature or f" {word})" in signature for word in start.Words.__annotations__)


def test_an_unknown_word_of_a_start_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        rumpel.boot("web", memroy="64M")  # type: ignore[call-arg]
    assert str(caught.value) == "A start has no option 'memroy'.\nDid you mean 'memory'?"
    with pytest.raises(UsageError) as caught:
        start.make_start("web", colour=3)  # type: ignore[call-arg]
    assert str(caught.value) == (
        "A start has no option 'colour'.\nThere are: kernel, machine, memory, cpus, arguments, env, variables, ports, "
        "hostname, clock, accel, name, project, seed, record."
    )


def test_importing_rumpel_loads_nothing_of_the_harness() -> None:
    code = (
        "import sys, rumpel; print([name for name in sys.modules if name.startswith(('rumpel.', 'httpx', 'asyncio'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE, check=True, env={
        "PYTHONPATH": str(Path(rumpel.__file__).parents[1])})  # fmt: skip
    assert done.stdout == "[]\n"


def test_a_name_that_there_is_not_is_said_so() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = rumpel.bot
    assert str(caught.value) == "module 'rumpel' has no attribute 'bot'"
