"""Versions that stand in for pins that are gone, remembered in the cache: the next run asks nobody.

One small file a pin, named by the pin's own content; a changed pin has another name, so nothing old is ever used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rumpel.model.lock import LockEntry
from rumpel.sources.progress import Progress
from rumpel.sources.store import Store

if TYPE_CHECKING:
    from rumpel.sources.apt import Archive


def archive_for(store: Store, release: str, progress: Progress) -> Archive:
    """Debian's archive, with its private apt state beside the store's files."""
    from rumpel.sources.apt import Archive

    return Archive(store.root / ".apt", release, progress)


def standing_in(newest: LockEntry, pinned: LockEntry) -> LockEntry:
    """`newest` as an effective entry: it says which pinned version it stands in for."""
    return msgspec.structs.replace(newest, pinned_version=pinned.version)


def recall(pinned: LockEntry, store: Store) -> LockEntry | None:
    """What stood in for this very pin before, or None. A damaged memory is no memory."""
    try:
        used = msgspec.json.decode(_memory(pinned, store).read_bytes(), type=LockEntry)
    except (OSError, msgspec.DecodeError):
        return None
    return used if used.name == pinned.name and used.files else None


def remember(pinned: LockEntry, used: LockEntry, store: Store) -> None:
    """Keep that `used` stands in for `pinned`. Where the cache cannot be written, it is found out again next time."""
    path = _memory(pinned, store)
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.encode(used))
        partial.replace(path)


def _memory(pinned: LockEntry, store: Store) -> Path:
    digest = hashlib.sha256(msgspec.json.encode(pinned)).hexdigest()
    return store.root / ".substitutions" / f"{digest}.json"
