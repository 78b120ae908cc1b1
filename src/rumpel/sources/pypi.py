"""Sources of the kind `pypi`: a wheel, or a source distribution where there is no pure wheel, fetched by pip.

A pinned file is given to pip with its digest (--require-hashes), so that nothing of it runs before it was checked.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import LockEntry, LockFile
from rumpel.sources import tool
from rumpel.sources.declaration import Declaration
from rumpel.sources.progress import Progress, Step
from rumpel.sources.store import Store, digest_of, mismatch

_PURE = ("--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none")
_SDIST = ("--no-binary=:all:",)


def fetch(entry: LockEntry, store: Store, progress: Progress) -> None:
    """Bring exactly what `entry` pins into the store. Raises SourceError."""
    (file,) = entry.files[:1]
    with store.work_folder(entry.name) as folder:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{entry.package}=={entry.version} --hash=sha256:{file.sha256}\n", encoding="utf-8")
        form = _PURE if file.name.endswith(".whl") else _SDIST
        ended = _download(
            folder,
            ("--require-hashes", *form, "-r", str(requirements)),
            progress,
            Step(f"fetching {entry.package} {entry.version} (PyPI)", 0, file.size),
        )
        if ended.status != 0:
            other = re.search(r"Got\s+([0-9a-f]{64})", ended.errors)
            if other is not None:
                raise mismatch(file, other[1])
            raise ended.failure(
                f"Source '{entry.name}': '{entry.package}' {entry.version} could not be fetched from the Python"
                " package index.",
                hint="Check that `python3 -m pip` on this machine reaches its index. If the version is gone there,"
                f" `rumpel lock --update {entry.name}` pins the newest.",
                source=entry.name,
            )
        store.add(_only_file(entry.name, entry.package, folder), file)


def newest(declaration: Declaration, store: Store, progress: Progress) -> LockEntry:
    """Pin the newest version that pip finds and the declaration allows; its file is in the store after. Raises
    SourceError."""
    _check_name(declaration)
    asked = f"{declaration.package}=={declaration.version}.*" if declaration.version else declaration.package
    with store.work_folder(declaration.name) as folder:
        step = Step(f"fetching the newest {declaration.package} (PyPI)")
        ended = _download(folder, (*_PURE, asked), progress, step)
        if ended.status != 0:
            ended = _download(folder, (*_SDIST, asked), progress, step)
        if ended.status != 0:
            raise ended.failure(
                f"Source '{declaration.name}': '{declaration.package}' could not be fetched from the Python package"
                " index.",
                hint="Check the name, and that `python3 -m pip` on this machine reaches its index.",
                source=declaration.name,
            )
        path = _only_file(declaration.name, declaration.package, folder)
        version = _version_of(path.name)
        file = LockFile(name=path.name, sha256=digest_of(path), size=path.stat().st_size)
        store.add(path, file)
    return LockEntry(name=declaration.name, kind="pypi", package=declaration.package, version=version, files=(file,))


def _download(folder: Path, words: tuple[str, ...], progress: Progress, step: Step) -> tool.Ended:
    target = folder / "files"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        f"--dest={target}",
        *words,
    ]
    return tool.run(command, cwd=folder, debian_package="python3-pip", progress=progress, step=step)


def _only_file(source: str, package: str, folder: Path) -> Path:
    files = sorted((folder / "files").iterdir()) if (folder / "files").is_dir() else []
    if len(files) != 1:
        raise SourceError(
            f"Source '{source}': pip was to fetch one file of '{package}' and fetched {len(files)}.",
            hint="Try again; if it happens again, the index that this machine uses is at fault.",
            source=source,
        )
    return files[0]


def _version_of(name: str) -> str:
    """The version in a distribution's file name (binary and source distribution formats of the packaging guide)."""
    if name.endswith(".whl"):
        return name.split("-")[1]
    return re.sub(r"\.(tar\.gz|tar\.bz2|tar\.xz|tgz|zip)$", "", name).rsplit("-", 1)[-1]


def _check_name(declaration: Declaration) -> None:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", declaration.package):
        raise SourceError(
            f"Source '{declaration.name}': '{declaration.package}' is not the name of a Python package.",
            hint="A name has letters, digits, '.', '_' and '-'.",
            source=declaration.name,
        )
