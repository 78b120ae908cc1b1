"""Which project and which composition are meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from rumpel.errors import UsageError
from rumpel.places import own_root

CHECKOUT = own_root()


def project_root() -> Path:
    """The project's folder: --project or RUMPEL_PROJECT, else the nearest with 'compositions/', else the checkout."""
    context = click.get_current_context(silent=True)
    asked = context.find_root().params.get("project") if context is not None else None
    if asked:
        root = Path(asked).expanduser().absolute()
        if not (root / "compositions").is_dir():
            raise UsageError(
                f"'{asked}' is not a project: it has no folder 'compositions'.",
                hint="A project's folder holds 'compositions/NAME.yaml'.",
            )
        return root
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "compositions").is_dir()), CHECKOUT)


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not among `known`, with the nearest one."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(names) or 'none'}."
    return UsageError(f"There is no {kind} '{name}'.", hint=hint)
