"""From a request to plans whose sources are in the store: resolve, fetch, and resolve again where versions changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rumpel import places
from rumpel.build.request import Known, Request
from rumpel.model.lock import load_lock
from rumpel.model.project import Project
from rumpel.resolve.plan import Plan, Source
from rumpel.resolve.resolver import Overrides, resolve
from rumpel.sources import SourcePolicy, Store, ensure, unpack

LOCK_FILE = "rumpel.lock"


@dataclass(frozen=True)
class PlannedImage:
    """A plan, every source of which is in the store."""

    plan: Plan


def known_parts(root: Path, others: Sequence[Path]) -> Known:
    """The names that a command line may use."""
    project = Project([root, *others])
    return Known(
        compositions=project.names("composition"),
        kernels=project.names("kernel"),
        machines=project.names("machine"),
    )


def summaries(root: Path, others: Sequence[Path], known: Known) -> list[tuple[str, str]]:
    """Each composition with its summary."""
    project = Project([root, *others])
    return [(name, project.composition(name).summary) for name in known.compositions]


def plan_all(root: Path, others: Sequence[Path], request: Request, say: Callable[[str], None]) -> list[PlannedImage]:
    """Plan every composition of `request` and bring its sources into the store.

    `say` gets a line for each thing that is fetched and for each version that stands in for one that is gone.
    """
    project = Project([root, *others])
    lock = load_lock(project.locate(LOCK_FILE))
    store = Store()
    policy = _policy(request)
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    images = []
    overrides = Overrides(kernel=request.kernel or None, machine=request.machine or None, variables=request.variables)
    for name in request.compositions:
        plan = resolve(project, name, lock, overrides)
        ensured = ensure(
            lock,
            [source.name for source in plan.sources],
            store,
            policy,
            project=root,
            progress=lambda step: tell(step.text),
        )
        for substitution in ensured.substitutions:
            tell(substitution.sentence())
        if ensured.lock != lock:
            plan = resolve(project, name, ensured.lock, overrides)
        images.append(PlannedImage(plan))
    return images


def unpacker() -> Callable[[Source], Path]:
    """A function that answers with a source's unpacked tree, and unpacks it where that was not done yet."""
    store = Store()
    trees: dict[Source, Path] = {}

    def tree(source: Source) -> Path:
        if source not in trees:
            trees[source] = unpack(source, store, places.trees_dir())
        return trees[source]

    return tree


def _policy(request: Request) -> SourcePolicy:
    if request.offline:
        return SourcePolicy.OFFLINE
    return SourcePolicy.LOCKED if request.locked else SourcePolicy.PINNED_OR_NEWEST
