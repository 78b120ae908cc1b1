"""`rumpel component new`: a first description of a component."""

from __future__ import annotations

import re

import click

from rumpel.cli.images import lock_of, open_project
from rumpel.cli.project import project_root
from rumpel.cli.terminal import end_status, say
from rumpel.errors import UsageError

_NAME = re.compile(r"[a-z0-9]([a-z0-9.+-]*[a-z0-9+])?")


@click.group()
def component() -> None:
    """Make components."""


@component.command()
@click.option("--deb", "package", required=True, metavar="PACKAGE", help="The Debian package that it is made from.")
@click.option("--name", metavar="NAME", help="The component's name. Default: the package's.")
@click.option("--release", metavar="RELEASE", help="The Debian release. Default: bookworm.")
def new(package: str, name: str | None, release: str | None) -> None:
    """Write 'components/NAME/component.yaml' for a Debian package.

    The package is fetched and looked into: its program, the packages of all shared libraries that the program needs,
    its licence. A folder that exists is never written to.
    """
    from rumpel.build.describe import describe, write_component, yaml_of
    from rumpel.cli.sources import Told
    from rumpel.sources.declaration import DEFAULT_RELEASE

    chosen = name or package
    for what, word in (("package", package), ("component", chosen)):
        if _NAME.fullmatch(word) is None:
            raise UsageError(
                f"'{word}' cannot be the name of a {what}.",
                hint="A name has small letters, digits, '-', '.' and '+', such as nginx-light.",
            )
    folder = project_root() / "components" / chosen
    if folder.exists() or folder.is_symlink():
        raise _exists(chosen)
    found = describe(package, release or DEFAULT_RELEASE, Told())
    end_status()
    try:
        write_component(folder, lambda: yaml_of(chosen, package, found))
    except FileExistsError:
        raise _exists(chosen) from None
    pinned = lock_of(open_project())
    updates = " ".join(f"--update {each}" for each in found.packages if pinned.get(each) is None)
    pin = f"Pin its packages: rumpel lock {updates}" if updates else "Its packages are pinned already."
    say(
        f"Wrote components/{chosen}/component.yaml: {found.program}, from {len(found.packages)} packages.\n"
        "Next:\n"
        f"  1. Say in it which ports it listens on, when it is ready, and which files and capabilities it needs.\n"
        f"  2. {pin}\n"
        f"  3. Write compositions/{chosen}.yaml with 'components: [{chosen}]', then: rumpel run {chosen}"
    )


def _exists(name: str) -> UsageError:
    return UsageError(
        f"The folder 'components/{name}' exists already; nothing was changed.",
        hint="Choose another name: --name NAME.",
    )
