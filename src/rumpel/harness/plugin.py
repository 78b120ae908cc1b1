"""Machines as fixtures of pytest.

    @pytest.mark.composition("sqlite-web", kernel=["debian", "linux"])
    def test_answers(vm):
        assert vm.http().get("/").status_code == 200

    def test_two(boot):
        one, two = boot("web"), boot("web", memory="64M")

`vm` is the machine of the marker, `boot` boots any number of others, with the words of `rumpel.boot`. A list in the
marker is a matrix: the test runs once for each value. Both give machines that are ready, and as they were when they
first became ready. `scope="module"` (or "class", "session") in the marker, and the fixtures `boot_class`, `boot_module`
and `boot_session`, keep one machine's state for all tests of that scope.
"""

from __future__ import annotations

import itertools
import secrets
import shlex
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rumpel.errors import RumpelError, UsageError
from rumpel.harness.pool import BootFailedBefore, Lease, Pool
from rumpel.harness.results import Result, folder_for, keep_recording, write_result
from rumpel.harness.scratch import scratch
from rumpel.harness.shown import add_section, evidence_left_out, leave_out_own_frames
from rumpel.harness.start import Start, make_start
from rumpel.harness.vm import Vm

Boot = Callable[..., Vm]

_SCOPES = ("function", "class", "module", "session")
_SHARED = "rumpel_shared"
_RECORDING = "recording"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rumpel", "machines")
    group.addoption(
        "--rumpel-accel", choices=["auto", "tcg", "kvm"], default="auto", help="How machines run. [auto: measured]"
    )
    group.addoption(
        "--rumpel-keep",
        action="store_true",
        help="Keep the files of all machines, and their folders for a look at them.",
    )
    group.addoption(
        "--rumpel-timeout-scale", type=float, default=1.0, metavar="FACTOR", help="Multiply every timeout. [1]"
    )
    group.addoption(
        "--rumpel-logs", default="rumpel-logs", metavar="FOLDER",
        help="Where the files of failed tests are put, from pytest's root. [rumpel-logs]",
    )  # fmt: skip
    group.addoption(
        "--rumpel-record", choices=["failed", "all"], default="",
        help="Record machines, for 'rumpel replay': keep the recordings of failed tests, or of all.",
    )  # fmt: skip
    group.addoption(
        "--rumpel-seed", default="", metavar="N",
        help="The guests' random numbers and clocks come from this number; 'random': from one that is said.",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "composition(name, *, scope='function', **options): the machine of the fixture 'vm'; options are those of "
        "rumpel.boot, and a list of values is a matrix.",
    )
    if config.getoption("--rumpel-timeout-scale") <= 0:
        raise pytest.UsageError("--rumpel-timeout-scale: the factor must be above 0.")
    config.option.rumpel_seed = _seed(config.getoption("--rumpel-seed"))  # of pytest-xdist's processes, too
    config.pluginmanager.register(Machines(config), "rumpel-machines")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Names the seed."""
    seed = config.getoption("--rumpel-seed")
    return [f"rumpel: the machines' seed is {seed}"] if seed else []


def _seed(word: str) -> str:
    """A number as the option gives it, or one by chance."""
    if word == "random":
        return str(secrets.randbelow(1 << 32))
    if word and not (word.isascii() and word.isdecimal() and int(word) < 1 << 32):
        raise pytest.UsageError("--rumpel-seed: it is a number from 0 to 4294967295, or 'random'.")
    return word


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The processes of pytest-xdist share a folder of the process that starts them."""
    machines = node.config.pluginmanager.getplugin("rumpel-machines")
    node.workerinput[_SHARED] = str(machines.shared())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A matrix of the marker: the test once for each combination."""
    if "rumpel_case" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("composition")
    cases = cases_of(marker) if marker is not None else []
    if len(cases) > 1:
        metafunc.parametrize("rumpel_case", cases, indirect=True, ids=[case.id for case in cases])


@dataclass(frozen=True)
class Case:
    """One combination of a marker's values: what is booted, and how pytest names it."""

    options: dict[str, Any]
    id: str = ""


def cases_of(marker: pytest.Mark) -> list[Case]:
    """The combinations of a marker `composition`."""
    if len(marker.args) != 1:
        raise pytest.UsageError("The marker 'composition' takes one name (or a list of names), and options by name.")
    given = {"composition": marker.args[0], **marker.kwargs}
    given.pop("scope", None)
    # Arguments of a program are a list of their own; a matrix of them is a list of lists.
    many = {
        name: list(value)
        for name, value in given.items()
        if isinstance(value, list) and (name != "arguments" or (value and isinstance(value[0], (list, tuple))))
    }
    single = {name: value for name, value in given.items() if name not in many}
    if any(not values for values in many.values()):
        raise pytest.UsageError("The marker 'composition' has an empty list.")
    cases = []
    for values in itertools.product(*many.values()):
        chosen = dict(zip(many, values, strict=True))
        cases.append(Case({**single, **chosen}, "-".join(str(value) for value in values)))
    return cases


@dataclass
class Lent:
    """What one scope holds: the machines of its tests."""

    leases: list[Lease] = field(default_factory=list)
    by_start: dict[Start, Lease] = field(default_factory=dict)


class Machines:
    """The machines of this process, and what is told about them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._pool: Pool | None = None
        self._lent: list[Lent] = []
        self._shared: Path | None = None
        self._item: pytest.Item | None = None
        self._not_booted: list[Result] = []
        self._keep = bool(config.getoption("--rumpel-keep"))
        self._record = str(config.getoption("--rumpel-record"))
        self._recordings: list[tuple[Lease, Path]] = []  # of machines in use, those to be kept, and where
        self._home = config.rootpath / config.getoption("--rumpel-logs")

    def shared(self) -> Path:
        """The folder of all processes of this run."""
        given = getattr(self._config, "workerinput", {}).get(_SHARED)
        if given:
            return Path(given)
        if self._shared is None:
            self._shared = scratch().new("run")
        return self._shared

    def pool(self) -> Pool:
        if self._pool is None:
            scale = self._config.getoption("--rumpel-timeout-scale")
            self._pool = Pool(shared=self.shared(), scale=scale, on_failure=self._boot_failed)
        return self._pool

    def open(self) -> Lent:
        """A scope begins."""
        lent = Lent()
        self._lent.append(lent)
        return lent

    def finish(self, lent: Lent) -> None:
        """A scope ends: its machines wait for the next one."""
        self._lent.remove(lent)
        for lease in lent.leases:
            for kept, folder in self._recordings:
                if kept is lease:
                    keep_recording(lease.vm, folder)
            self.pool().give_back(lease)
        self._recordings = [each for each in self._recordings if each[0] not in lent.leases]

    def boot(self, lent: Lent, options: dict[str, Any]) -> Lease:
        """A machine for a scope. Skips the test where an earlier one has reported that it does not boot."""
        __tracebackhide__ = True
        try:
            lease = self.pool().lend(self._start(options))
        except BootFailedBefore as before:
            pytest.skip(str(before))
        lent.leases.append(lease)
        return lease

    def boot_shared(self, lent: Lent, options: dict[str, Any]) -> Lease:
        """The machine that a scope has already for these words, else a new one."""
        __tracebackhide__ = True
        start = self._start(options)
        if start not in lent.by_start:
            lent.by_start[start] = self.boot(lent, options)
        return lent.by_start[start]

    def _start(self, options: dict[str, Any]) -> Start:
        """What a test asks for, and what was asked for all tests."""
        words = {"accel": self._config.getoption("--rumpel-accel"), **options}
        seed = self._config.getoption("--rumpel-seed")
        if seed:
            words.setdefault("seed", int(seed))
        start = make_start(**words)
        if self._record and words.get("record") is None:
            return msgspec.structs.replace(start, record=_RECORDING)
        return start

    def _boot_failed(self, lease: Lease) -> None:
        """A machine did not become ready: keep what it left."""
        if self._item is not None:
            name = f"{lease.vm.name}-not-booted"
            folder = folder_for(self._item.nodeid, self._home) / name
            self._not_booted.append(write_result(lease, folder, name))
            if self._record and lease.vm.recording is not None:
                keep_recording(lease.vm, folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._item = item
        self._not_booted.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        leases = [lease for lent in self._lent for lease in lent.leases]
        commands = {each.command for each in self._not_booted} | {each.vm.instance.command for each in leases}
        if call.excinfo is None:
            report = yield
        else:
            leave_out_own_frames(call.excinfo)
            with evidence_left_out(call.excinfo.value, commands):
                report = yield
        named = list(zip(leases, _distinct([lease.vm.name for lease in leases]), strict=True))
        home = folder_for(item.nodeid, self._home)
        if self._record and (report.failed or (self._record == "all" and report.when == "call")):
            kept = [lease for lease, _ in self._recordings]
            recorded = [(lease, home / name) for lease, name in named if lease.vm.recording is not None]
            self._recordings += [each for each in recorded if each[0] not in kept]
        if not (report.failed or (self._keep and report.when == "call")):
            return report
        results = list(self._not_booted)
        for lease, name in named:
            results.append(write_result(lease, home / name, name))
        seed = self._config.getoption("--rumpel-seed")
        if report.failed and seed and results:
            again = shlex.join(["pytest", item.nodeid, f"--rumpel-seed={seed}"])
            add_section(report, "Seed", f"The machines' seed was {seed}. To run it again with the same:\n    {again}")
        said = str(report.longrepr)
        for result in results:
            name = result.name
            if report.failed:
                end = f"{result.end}\n" if result.end and result.end not in said else ""
                add_section(report, f"Machine '{name}'", end + result.text)
            for file in sorted(result.folder.iterdir()):
                pair = (f"rumpel.{name}.{file.name}", str(file))
                if file.is_file() and pair not in item.user_properties:
                    item.user_properties.append(pair)
        report.user_properties = list(item.user_properties)
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        for lent in list(self._lent):
            self.finish(lent)
        if self._pool is not None:
            if self._keep:
                self._pool.end()
            else:
                self._pool.close()
        if self._keep and (self._pool is not None or self._shared is not None):
            scratch().keep()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._pool is not None and self._keep:
            terminalreporter.write_line(f"The machines' folders are kept in {scratch().root}")


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of which none is there twice: the second 'web' is 'web-2'."""
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name}-{counts[name]}")
    return found


def _machines(request: pytest.FixtureRequest) -> Machines:
    machines = request.config.pluginmanager.getplugin("rumpel-machines")
    assert isinstance(machines, Machines)
    return machines


def _lent(request: pytest.FixtureRequest) -> Iterator[Lent]:
    machines = _machines(request)
    lent = machines.open()
    yield lent
    machines.finish(lent)


rumpel_lent_function = pytest.fixture(scope="function", name="rumpel_lent_function")(_lent)
rumpel_lent_class = pytest.fixture(scope="class", name="rumpel_lent_class")(_lent)
rumpel_lent_module = pytest.fixture(scope="module", name="rumpel_lent_module")(_lent)
rumpel_lent_session = pytest.fixture(scope="session", name="rumpel_lent_session")(_lent)


@pytest.fixture
def rumpel_case(request: pytest.FixtureRequest) -> Case | None:
    """The combination that this test runs with."""
    case = getattr(request, "param", None)
    if isinstance(case, Case):
        return case
    marker = request.node.get_closest_marker("composition")
    return None if marker is None else cases_of(marker)[0]


@pytest.fixture
def vm(request: pytest.FixtureRequest, rumpel_case: Case | None) -> Vm:
    """The machine of the test's marker `composition`, ready."""
    __tracebackhide__ = True
    marker = request.node.get_closest_marker("composition")
    if rumpel_case is None or marker is None:
        raise UsageError(
            "The fixture 'vm' needs the marker 'composition'.", hint='Write @pytest.mark.composition("NAME").'
        )
    scope = marker.kwargs.get("scope", "function")
    if scope not in _SCOPES:
        raise UsageError(f"There is no scope '{scope}'.", hint=f"There are: {', '.join(_SCOPES)}.")
    lent = request.getfixturevalue(f"rumpel_lent_{scope}")
    return _machines(request).boot_shared(lent, rumpel_case.options).vm


def _factory(machines: Machines, lent: Lent, case: Case | None) -> Boot:
    def boot(composition: str = "", /, **options: Any) -> Vm:
        __tracebackhide__ = True
        base = dict(case.options) if case is not None else {}
        if composition:
            base["composition"] = composition
        if "composition" not in base:
            raise UsageError("'boot' was not told what to boot.", hint="Name it, or use the marker 'composition'.")
        return machines.boot(lent, {**base, **options}).vm

    return boot


@pytest.fixture
def boot(request: pytest.FixtureRequest, rumpel_lent_function: Lent, rumpel_case: Case | None) -> Boot:
    """`boot("web", memory="64M")`: a ready machine with the words of `rumpel.boot`, given back after the test. What the
    test's marker `composition` says holds where it is not said here."""
    return _factory(_machines(request), rumpel_lent_function, rumpel_case)


@pytest.fixture(scope="class")
def boot_class(request: pytest.FixtureRequest, rumpel_lent_class: Lent) -> Boot:
    """As `boot`, for fixtures of a class's tests."""
    return _factory(_machines(request), rumpel_lent_class, None)


@pytest.fixture(scope="module")
def boot_module(request: pytest.FixtureRequest, rumpel_lent_module: Lent) -> Boot:
    """As `boot`, for fixtures of a module's tests."""
    return _factory(_machines(request), rumpel_lent_module, None)


@pytest.fixture(scope="session")
def boot_session(request: pytest.FixtureRequest, rumpel_lent_session: Lent) -> Boot:
    """As `boot`, for fixtures of all tests."""
    return _factory(_machines(request), rumpel_lent_session, None)


__all__ = ["Boot", "BootFailedBefore", "RumpelError", "boot", "boot_class", "boot_module", "boot_session", "vm"]
