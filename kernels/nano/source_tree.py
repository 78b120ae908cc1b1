#!/usr/bin/env python3
"""Prints the unpacked tree of a pinned source: `kernels/nano/source_tree.py NAME`. Fetches what is not there yet."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tree(name: str) -> Path:
    """The unpacked tree of the lock file's entry `name`."""
    sys.path.insert(0, str(ROOT / "src"))
    from rumpel import places
    from rumpel.model.lock import load_lock
    from rumpel.sources import Store, ensure, unpack

    store = Store()
    lock = ensure(load_lock(ROOT / "rumpel.lock"), [name], store, project=ROOT).lock
    entry = lock.get(name)
    if entry is None:
        sys.exit(f"The lock file has no source '{name}'.")
    return unpack(entry, store, places.trees_dir())


if __name__ == "__main__":
    print(tree(sys.argv[1]))
