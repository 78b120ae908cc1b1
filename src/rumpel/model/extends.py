"""`extends:` of compositions: mappings merge key by key, everything else replaces. Merged values keep their places."""

from __future__ import annotations

from collections.abc import Callable

from rumpel.errors import Location, ModelError, Problem
from rumpel.model.document import Entry, Mapping, Scalar

Reader = Callable[[str, Location | None], Mapping]


def merged(name: str, at: Location | None, read: Reader) -> tuple[Mapping, tuple[str, ...]]:
    """The tree of composition `name` with all that it extends, and the names read, itself first.

    `read` gives the tree of one composition, `at` being where it is named. Raises ModelError for a cycle.
    """
    chain: list[tuple[str, Location]] = []
    trees: list[Mapping] = []
    current: str | None = name
    named_at = at
    while current is not None:
        visited = [each for each, _ in chain]
        if current in visited:
            raise _cycle(chain[visited.index(current) :])
        tree = read(current, named_at)
        trees.append(tree)
        base = tree.get("extends")
        if isinstance(base, Scalar) and isinstance(base.value, str):
            chain.append((current, base.location))
            current, named_at = base.value, base.location
        else:
            chain.append((current, tree.location))
            current = None
    result = trees[-1]
    for tree in reversed(trees[:-1]):
        result = _over(result, tree)
    return result, tuple(each for each, _ in chain)


def _cycle(ring: list[tuple[str, Location]]) -> ModelError:
    names = [name for name, _ in ring]
    message = f"'extends' goes round in a circle: {' -> '.join([*names, names[0]])}."
    places = "; ".join(f"'{name}' says so at {location}" for name, location in ring[1:])
    hint = "Remove one of these lines" + (f" ({places})." if places else ".")
    return ModelError([Problem(ring[0][1], message, hint)])


def _over(base: Mapping, child: Mapping) -> Mapping:
    entries = {key: entry for key, entry in base.entries.items() if key != "extends"}
    for key, entry in child.entries.items():
        below = entries.get(key)
        if below is not None and isinstance(below.value, Mapping) and isinstance(entry.value, Mapping):
            entries[key] = Entry(key, _over(below.value, entry.value), entry.location)
        else:
            entries[key] = entry
    return Mapping(entries, child.location)
