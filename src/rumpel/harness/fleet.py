"""A test matrix over several computers, by Dask: the same function, called for each case wherever a worker is free.

    def answers(words):
        with rumpel.boot(**words) as vm:
            return vm.http().get("/").status_code

    cases = rumpel.fleet.matrix(composition=["web", "sqlite-web"], kernel=["linux", "debian"])
    for outcome in rumpel.fleet.run(answers, cases, scheduler="tcp://10.1.0.5:8786"):
        print(outcome.case, outcome.result())

Machines belong to the worker that runs the case, and end with it. Needs the extra 'dask'.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rumpel.errors import HostError, UsageError

if TYPE_CHECKING:
    from distributed import Client

C = TypeVar("C")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[C, R]):
    """What came of one case: what the function returned, or what it raised, with a note of the worker's address."""

    case: C
    value: R | None = None
    error: BaseException | None = None

    def result(self) -> R:
        """What the function returned. Raises what it raised."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value] # None is then what it returned


def matrix(**words: Any) -> list[dict[str, Any]]:
    """One case for each combination of the values that are given as lists: words for `rumpel.boot`. A program's
    `arguments` are one list themselves, so a matrix of them is a list of lists. Raises UsageError for an empty list."""
    many = {name: value for name, value in words.items() if _is_many(name, value)}
    for name, values in many.items():
        if not values:
            raise UsageError(f"A matrix over no value of '{name}' has no case.", hint="Leave it out, or name one.")
    single = {name: value for name, value in words.items() if name not in many}
    return [{**single, **dict(zip(many, chosen, strict=True))} for chosen in itertools.product(*many.values())]


def _is_many(name: str, value: object) -> bool:
    if name == "arguments" and isinstance(value, list) and value:
        return isinstance(value[0], (list, tuple))
    return isinstance(value, list)


def accelerator_of(case: object) -> str:
    """The accelerator that a case asks for by the word `accel`, where it is a mapping of words; else empty."""
    return str(case.get("accel", "")) if isinstance(case, Mapping) else ""


def run(
    function: Callable[[C], R],
    cases: Iterable[C],
    *,
    scheduler: str | Client,
    accelerator: Callable[[C], str] = accelerator_of,
    timeout: float = 30.0,
) -> list[Outcome[C, R]]:
    """Call `function` once for each case on the workers of a Dask scheduler, and return what came of them, in the order
    of the cases. `scheduler` is its address, or a client of it.

    What `function` raises is the outcome of its case and stops no other. A case whose worker is lost is run again on
    another one, so that `function` may be called more than once for it; a case that a few workers died of (Dask's
    setting `distributed.scheduler.allowed-failures`) has a HostError as its outcome.

    A case for which `accelerator` says "kvm" runs only on workers that have declared it (`dask worker --resources
    kvm=1`), on each as many at once as it declared; under TCG every worker will do. `timeout`, in seconds, is for
    reaching the scheduler and its first worker.

    Raises UsageError where Dask is not installed; HostError where the scheduler cannot be reached, or where no worker
    is there for a case.
    """
    listed = list(cases)
    with _client(scheduler, timeout) as client:
        _require_workers(client, {accelerator(case) for case in listed}, timeout)
        return _collect(client, function, listed, accelerator)


@contextlib.contextmanager
def _client(scheduler: str | Client, timeout: float) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "A fleet needs Dask, which is not installed.", hint="Install it with: pip install 'rumpel[dask]'"
        ) from error
    if isinstance(scheduler, Client):
        yield scheduler
        return
    try:
        client = Client(scheduler, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise HostError(
            f"The Dask scheduler '{scheduler}' cannot be reached: {error}.",
            hint="Start one with 'dask scheduler', and give its address, such as tcp://127.0.0.1:8786.",
        ) from error
    with client:
        yield client


def _require_workers(client: Client, accelerators: set[str], timeout: float) -> None:
    """Dask itself would wait for ever."""
    where = client.scheduler.addr if client.scheduler is not None else ""
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise HostError(
            f"The Dask scheduler '{where}' has had no worker for {timeout:g} s.",
            hint=f"Start one on each computer with: dask worker {where}",
        ) from error
    declared = {
        name for worker in client.scheduler_info(n_workers=-1)["workers"].values() for name in worker["resources"]
    }
    lacking = sorted(each for each in map(_resource, accelerators) if each and each not in declared)
    if lacking:
        raise HostError(
            f"No worker of the Dask scheduler '{where}' declares the accelerator '{lacking[0]}'.",
            hint=f"Start one where there is one with: dask worker {where} --resources {lacking[0]}=1",
        )


def _resource(accelerator: str) -> str:
    """What a worker must have declared; under TCG, and where the worker may choose, nothing."""
    return "" if accelerator in ("", "auto", "tcg") else accelerator


def _collect(
    client: Client, function: Callable[[C], R], cases: list[C], accelerator: Callable[[C], str]
) -> list[Outcome[C, R]]:
    from distributed import as_completed

    run_id = secrets.token_hex(8)
    futures: dict[Any, int] = {}
    for number, case in enumerate(cases):
        resource = _resource(accelerator(case))
        future = client.submit(
            _call, function, case, key=f"rumpel-{run_id}-{number}", pure=False,
            resources={resource: 1} if resource else None,
        )  # fmt: skip
        futures[future] = number
    outcomes: dict[int, Outcome[C, R]] = {}
    try:
        for future, result in as_completed(list(futures), loop=client.loop, with_results=True, raise_errors=False):
            number = futures.pop(future)
            outcomes[number] = _outcome(cases[number], future.status, result)
            future.release()  # it is here: were its worker lost now, it would be computed again
    except BaseException:
        client.cancel(list(futures))
        raise
    return [outcomes[number] for number in range(len(cases))]


def _call(function: Callable[[C], R], case: C) -> R:
    """On a worker."""
    from distributed import get_worker

    try:
        return function(case)
    except BaseException as error:
        error.add_note(f"On the worker {get_worker().address}.")
        raise


def _outcome(case: C, status: str, result: Any) -> Outcome[C, Any]:
    from distributed import CancelledError, KilledWorker

    if status == "finished":
        return Outcome(case, result)
    error = result if isinstance(result, BaseException) else result[1]
    if isinstance(error, KilledWorker):
        words = f"The case {case!r} was given up: every worker that ran it was lost."
        return Outcome(case, error=HostError(words, hint="Look at the workers' own logs: they may lack memory."))
    if isinstance(error, CancelledError):
        return Outcome(case, error=HostError(f"The case {case!r} was given up: the scheduler was lost."))
    return Outcome(case, error=error)
