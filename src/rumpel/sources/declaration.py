"""What a part says about a source: where it comes from, without a version."""

from __future__ import annotations

from dataclasses import dataclass

from rumpel.model.lock import LockEntry, SourceKind

DEFAULT_RELEASE = "bookworm"


@dataclass(frozen=True)
class Declaration:
    """One source of a part: `package` is the package's name, or for kind `file` a path from the project's root.

    `follow` (kind `deb`): `package` is a metapackage, the source is its one dependency that matches this pattern.
    `release` (kinds `deb` and `deb-src`): the Debian release to take it from. `version` (kinds `npm` and `pypi`): the
    version, or its first numbers. `integrity` (kind `npm`): what its content must be, "sha512-" and base64.
    """

    name: str
    kind: SourceKind
    package: str
    follow: str = ""
    release: str = DEFAULT_RELEASE
    version: str = ""
    integrity: str = ""

    @staticmethod
    def of(entry: LockEntry) -> Declaration:
        """The declaration that led to a pin."""
        return Declaration(
            name=entry.name,
            kind=entry.kind,
            package=entry.followed or entry.package,
            follow=entry.follow,
            release=entry.release or DEFAULT_RELEASE,
        )
