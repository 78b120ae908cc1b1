"""The reference page is what the docstrings say, and every public name has one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import rumpel
from rumpel.harness import aio, console, events, faults, vm
from rumpel.harness.reference import page

PUBLIC = (
    vm.Vm, console.VmConsole, events.Events, events.Expected, faults.Faults, aio.AsyncVm, aio.AsyncConsole,
    aio.AsyncEvents, aio.AsyncExpected,
)  # fmt: skip


def test_the_reference_page_is_what_the_docstrings_say(checkout: Path) -> None:
    assert (checkout / "docs/harness-api.md").read_text() == page(), (
        "Write it anew: rumpel python -m rumpel.harness.reference > docs/harness-api.md"
    )


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_every_public_name_has_a_docstring(kind: type) -> None:
    members = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
    assert [name for name, member in members.items() if not inspect.getdoc(member)] == []


def test_the_asynchronous_machine_has_the_same_names() -> None:
    ours = {name for name in dir(vm.Vm) if not name.startswith("_")}
    theirs = {name for name in dir(aio.AsyncVm) if not name.startswith("_")}
    inner = {"instance", "disconnect", "end", "scaled", "watch", "raise_if_ending", "raise_crash", "too_late",
             "main_port", "life", "url_of", "host_port"}  # fmt: skip
    assert ours - inner <= theirs | {"folder"}
    assert {name for name in dir(faults.Faults) if not name.startswith("_")} - {"forget", "links"} == {
        name for name in vars(aio.AsyncFaults(faults.Faults.__new__(faults.Faults))) if not name.startswith("_")
    }


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
