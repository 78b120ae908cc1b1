"""Whole machines: images that the real build makes, started as a user starts them."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from rumpel.build.api import BuildOptions, build
from rumpel.machine.instance import Image, Instance, Options, image_of, start
from rumpel.resolve.plan import Plan

ROOT = Path(__file__).resolve().parents[2]

# Every promise of this folder is kept by each of these kernels on each of these machines, and by those of TARGETS.
KERNELS = ("debian",)
MACHINES = ("microvm", "q35")


@dataclass(frozen=True)
class Target:
    """A kernel on a machine."""

    kernel: str
    machine: str

    def __str__(self) -> str:
        return f"{self.kernel}-{self.machine}"


# The slim kernel on one machine only: all images here share one build of it, which takes minutes the first time.
TARGETS = (*(Target(kernel, machine) for kernel in KERNELS for machine in MACHINES), Target("linux", "microvm"))


@dataclass(frozen=True)
class Built:
    """An image and its plan."""

    plan: Plan
    image: Image


@functools.cache
def built(composition: str, target: Target, project: Path = ROOT) -> Built:
    """Build the composition for the target, or find it up to date."""
    manifest = build(composition, BuildOptions(project=project, kernel=target.kernel, machine=target.machine))
    directory = project / manifest.directory
    plan = Plan.from_json((directory / manifest.plan.path).read_bytes())
    return Built(plan, image_of(manifest, directory, project))


@dataclass(frozen=True)
class Database:
    """A running sqlite-web."""

    instance: Instance

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.instance.url("http"), trust_env=False, timeout=60)

    def query(self, sql: str, *parameters: object) -> list[list[Any]]:
        """The rows of one statement, which must succeed."""
        with self.client() as client:
            answer = client.post("/api/query", json={"sql": sql, "parameters": list(parameters)})
        assert answer.status_code == 200, answer.text
        rows: list[list[Any]] = answer.json()["rows"]
        return rows


StartDatabase = Callable[..., AbstractContextManager[Database]]


@contextmanager
def database(target: Target, **options: object) -> Iterator[Database]:
    """sqlite-web, ready; killed on the way out if it still runs."""
    made = built("sqlite-web", target)
    with start(made.plan, made.image, msgspec.convert({"accelerator": "tcg", **options}, Options)) as instance:
        yield Database(instance)


@pytest.fixture(scope="session")
def probe_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own with the program `probe`, which does what its first argument says."""
    folder = tmp_path_factory.mktemp("probe") / "project"
    shutil.copytree(Path(__file__).parent / "probe", folder)
    return folder


Probe = Callable[..., Instance]


@pytest.fixture
def probe(probe_project: Path) -> Iterator[Probe]:
    """`probe(target, "words", change=..., name=...)` launches a machine that is gone after the test; `change` makes
    another plan of the plan."""
    with ExitStack() as stack:

        def launch(target: Target, *words: str, change: Callable[[Plan], Plan] = lambda plan: plan, **options: Any):  # type: ignore[no-untyped-def]
            from rumpel.machine.instance import launch as launch_instance
            from rumpel.resolve.settings import StartSettings

            made = built("probe", target, probe_project)
            settings = options.pop("settings", StartSettings())
            settings = msgspec.structs.replace(settings, arguments=words)
            asked = Options(accelerator="tcg", settings=settings, **options)
            return stack.enter_context(launch_instance(change(made.plan), made.image, asked))

        yield launch
