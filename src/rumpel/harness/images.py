"""From a composition's name to an image that can be started: the project's parts first, then Rumpel's own.

    image = find_image(Wanted("sqlite-web", kernel="debian"))
    image.plan, image.files

An image is built once for each process. Several processes of one test run share a folder, in which the first one
leaves what the others would otherwise ask the build for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rumpel.errors import RumpelError, UsageError
from rumpel.harness.scratch import scratch
from rumpel.machine.instance import Image, image_of
from rumpel.resolve.plan import Frozen, Plan


class Wanted(Frozen, frozen=True):
    """Which image. Empty: what the composition says. `project` is the project's folder, absolute."""

    composition: str
    project: str
    kernel: str = ""
    machine: str = ""
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bootable:
    """An image, with the plan that it was built from."""

    plan: Plan
    files: Image


class _Kept(Frozen, frozen=True):
    """What one process leaves to the others of its run."""

    plan: Plan
    files: Image


class Images:
    """Builds each image once. `shared` is a folder of all processes of a test run; None: this process is alone."""

    def __init__(self, shared: Path | None = None, progress: Callable[[str], None] = lambda line: None) -> None:
        self._shared = shared
        self._progress = progress
        self._known: dict[Wanted, Bootable] = {}
        self._building = threading.Lock()

    def find(self, wanted: Wanted) -> Bootable:
        """The image; built now where it is not up to date. Raises what the build raises, and UsageError for a
        composition that there is not."""
        with self._building:
            if wanted not in self._known:
                self._known[wanted] = self._build(wanted) if self._shared is None else self._build_once(wanted)
            return self._known[wanted]

    def _build_once(self, wanted: Wanted) -> Bootable:
        assert self._shared is not None
        name = hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()[:32]
        done = self._shared / f"{name}.json"
        lock = os.open(self._shared / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if done.exists():
                kept = msgspec.json.decode(done.read_bytes(), type=_Kept)
                return Bootable(kept.plan, kept.files)
            image = self._build(wanted)
            fresh = done.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(_Kept(plan=image.plan, files=image.files)))
            fresh.replace(done)
            return image
        finally:
            os.close(lock)

    def _build(self, wanted: Wanted) -> Bootable:
        from rumpel.build.api import BuildOptions, build
        from rumpel.model.project import Project
        from rumpel.places import own_root

        project = Path(wanted.project)
        known = Project(tuple(dict.fromkeys((project, own_root()))))
        if not known.has("composition", wanted.composition):
            raise _unknown(wanted.composition, known.names("composition"))
        options = BuildOptions(
            project=project, kernel=wanted.kernel or None, machine=wanted.machine or None,
            variables=wanted.variables, scratch=scratch().root,
        )  # fmt: skip
        manifest = build(wanted.composition, options, self._progress)
        plan = Plan.from_json((project / manifest.directory / manifest.plan.path).read_bytes())
        return Bootable(plan, image_of(manifest, project / manifest.directory, project))


def project_of(folder: Path) -> Path:
    """The project that `folder` lies in: the nearest one above with a folder `compositions`, else `folder` itself,
    in which then only its `build` is made."""
    here = folder.absolute()
    return next((each for each in (here, *here.parents) if (each / "compositions").is_dir()), here)


def _unknown(name: str, known: tuple[str, ...]) -> RumpelError:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(known) or 'none'}."
    return UsageError(f"There is no composition '{name}'.", hint=hint)
