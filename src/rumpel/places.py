"""Where things are kept on this machine: the cache (may be deleted at any time) and the state (what a user made).

`RUMPEL_CACHE` and `RUMPEL_STATE` name the folders themselves; otherwise the XDG base directories hold a folder
`rumpel` each (XDG Base Directory Specification 0.8: a relative path in an XDG variable is ignored).
Nothing here creates a folder or touches the disk.
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder of everything that can be fetched or built again; an absolute path."""
    return _place("RUMPEL_CACHE", "XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """The folder of what cannot be made again: instances, their logs, their volumes; an absolute path."""
    return _place("RUMPEL_STATE", "XDG_STATE_HOME", ".local/state")


def own_root() -> Path:
    """The folder of Rumpel's own compositions, components, kernels, machines and drivers: in the installed package, or
    the root of the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "own"
    return installed if installed.is_dir() else package.parents[1]


def store_dir() -> Path:
    """Fetched sources, by SHA-256."""
    return cache_dir() / "store"


def trees_dir() -> Path:
    """Unpacked sources and sysroots, by the digest of what was unpacked."""
    return cache_dir() / "trees"


def build_cache_dir() -> Path:
    """Built pieces, by what went into them (SCons CacheDir)."""
    return cache_dir() / "build"


def emulators_dir() -> Path:
    """Built emulators, a folder each."""
    return cache_dir() / "emulators"


def accelerator_file() -> Path:
    """The result of the accelerator probe."""
    return cache_dir() / "accelerator.json"


def instances_dir() -> Path:
    """One folder for each instance."""
    return state_dir() / "instances"


def volumes_dir() -> Path:
    """One folder for each instance that has volumes."""
    return state_dir() / "volumes"


def _place(own: str, xdg: str, below_home: str) -> Path:
    value = os.environ.get(own, "")
    if value:
        return Path(value).expanduser().absolute()
    base = Path(os.environ.get(xdg, ""))
    if not base.is_absolute():
        base = Path.home() / below_home
    return base / "rumpel"
