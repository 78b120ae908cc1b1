"""Sources: what a plan pins, brought into a content-addressed store.

    store = Store()
    ensured = ensure(lock, plan_source_names, store, SourcePolicy.PINNED_OR_NEWEST)
    for substitution in ensured.substitutions:
        print(substitution.sentence())
    tree = unpack(ensured.lock.get("sqlite3"), store, trees_dir())

`ensure` asks the network only for what the store lacks. Everything goes through apt, npm and pip as the machine has
them set up, needs no privilege, and is checked against the lock's SHA-256.
"""

from rumpel.sources.ensure import Ensured, SourcePolicy, Substitution, ensure, with_substitutions
from rumpel.sources.progress import Progress, Step, silent
from rumpel.sources.store import Pinned, PinnedFile, Store
from rumpel.sources.unpack import unpack
from rumpel.sources.update import Declaration, update

__all__ = [
    "Declaration",
    "Ensured",
    "Pinned",
    "PinnedFile",
    "Progress",
    "SourcePolicy",
    "Step",
    "Store",
    "Substitution",
    "ensure",
    "silent",
    "unpack",
    "update",
    "with_substitutions",
]
