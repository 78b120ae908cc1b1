"""Makes Rumpel's Python dependencies importable for a SCons that runs outside of Rumpel's environment.

Debian's `scons` runs with the machine's own Python. Rumpel's environment (`.venv` in the project's root) is made by
the launcher with the same Python version, so its packages can be used from there; they are added behind the
machine's own. This module uses the standard library only.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

STARTED = time.time_ns()  # this module is the first of the build's own that is imported

DEPENDENCIES = {"msgspec": "msgspec", "yaml": "PyYAML", "elftools": "pyelftools", "filelock": "filelock"}


def missing() -> list[str]:
    """The dependencies that cannot be imported, by the names of their packages."""
    return [package for module, package in DEPENDENCIES.items() if importlib.util.find_spec(module) is None]


def require(root: Path) -> None:
    """Make every dependency importable, or say what brings them and end with status 2."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a person may run any SCons with any Python
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        _end(f"This SCons runs with Python {version}; Rumpel needs 3.11 or later.", "./rumpel scons ARGUMENTS")
    if not missing():
        return
    packages = root / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    if packages.is_dir():
        sys.path.append(str(packages))
        importlib.invalidate_caches()
    lacking = missing()
    if lacking:
        _end(f"Python packages are missing: {', '.join(lacking)}. One command brings them:", "./rumpel setup")


def _end(message: str, command: str) -> None:
    sys.stderr.write(f"{message}\n    {command}\n")
    raise SystemExit(2)
