"""Sources of the kind `npm`: the tarball of a package, fetched by npm. No script of the package runs."""

from __future__ import annotations

import re
from pathlib import Path

from rumpel.errors import SourceError
from rumpel.model.lock import LockEntry, LockFile
from rumpel.sources import tool
from rumpel.sources.declaration import Declaration
from rumpel.sources.progress import Progress, Step
from rumpel.sources.store import Store, digest_of

_ENVIRONMENT = {
    "npm_config_update_notifier": "false",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_ignore_scripts": "true",
    "npm_config_fetch_retry_mintimeout": "1000",
    "npm_config_fetch_retry_maxtimeout": "5000",
}


def fetch(entry: LockEntry, store: Store, progress: Progress) -> None:
    """Bring exactly what `entry` pins into the store. Raises SourceError."""
    total = sum(file.size for file in entry.files)
    with store.work_folder(entry.name) as folder:
        step = Step(f"fetching {entry.package} {entry.version} (npm)", 0, total)
        path = _pack(entry.name, entry.package, entry.version, folder, progress, step)
        store.add(path, entry.files[0])


def newest(declaration: Declaration, store: Store, progress: Progress) -> LockEntry:
    """Pin the newest version that the declaration allows (without a version: what npm's registry calls `latest`), and
    put its tarball into the store."""
    with store.work_folder(declaration.name) as folder:
        asked = declaration.version or "latest"
        step = Step(f"fetching {declaration.package} {asked} (npm)")
        path = _pack(declaration.name, declaration.package, asked, folder, progress, step)
        _check_integrity(path, declaration)
        version = _version_in(path, declaration)
        file = LockFile(name=path.name, sha256=digest_of(path), size=path.stat().st_size)
        store.add(path, file)
    return LockEntry(name=declaration.name, kind="npm", package=declaration.package, version=version, files=(file,))


def _pack(source: str, package: str, version: str, folder: Path, progress: Progress, step: Step) -> Path:
    if not re.fullmatch(r"(@[a-z0-9._~-]+/)?[a-z0-9._~-]+", package, re.IGNORECASE):
        raise SourceError(
            f"Source '{source}': '{package}' is not the name of an npm package.",
            hint="A name is written as `name` or `@scope/name`.",
            source=source,
        )
    ended = tool.run(
        ["npm", "pack", "--loglevel=error", f"{package}@{version}"],
        cwd=folder,
        environment=_ENVIRONMENT,
        debian_package="npm",
        progress=progress,
        step=step,
    )
    tarballs = sorted(folder.glob("*.tgz"))
    if ended.status != 0 or len(tarballs) != 1:
        raise ended.failure(
            f"Source '{source}': '{package}' {version} could not be fetched from npm's registry.",
            hint="Check that `npm` on this machine reaches its registry. If the version is gone there,"
            f" `rumpel lock --update {source}` pins the newest.",
            source=source,
        )
    return tarballs[0]


def _check_integrity(path: Path, declaration: Declaration) -> None:
    if not declaration.integrity:
        return
    import base64
    import hashlib

    with path.open("rb") as stream:
        found = base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()
    if f"sha512-{found}" not in declaration.integrity.split():
        raise SourceError(
            f"Source '{declaration.name}': what npm fetched as '{declaration.package}' {declaration.version} is not "
            f"what package-lock.json says: its digest should be {declaration.integrity} and is sha512-{found}.",
            hint="Do not use it. If the package-lock.json is wrong, write it anew: `npm install --package-lock-only`.",
            source=declaration.name,
        )


def _version_in(path: Path, declaration: Declaration) -> str:
    import tarfile

    import msgspec

    class Manifest(msgspec.Struct):
        version: str

    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and re.fullmatch(r"[^/]+/package\.json", member.name):
                    stream = archive.extractfile(member)
                    if stream is not None:
                        return msgspec.json.decode(stream.read(), type=Manifest).version
    except (tarfile.TarError, OSError, EOFError, msgspec.DecodeError) as error:
        reason = str(error)
    else:
        reason = "it holds no package.json"
    raise SourceError(
        f"Source '{declaration.name}': what npm fetched as '{declaration.package}' is not a package: {reason}.",
        hint="Try again; if it happens again, the registry or the proxy that this machine uses is at fault.",
        source=declaration.name,
    )
