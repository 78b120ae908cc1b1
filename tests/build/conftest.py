"""A small project in a folder of its own, built by the real SCons with real sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PARTS = (
    "SConstruct",
    "src",
    "schemas",
    "rumpel.lock",
    "hal",
    "kernels/boot",
    "kernels/debian",
    "kernels/init",
    "components/musl",
)
VENV_SCONS = (sys.executable, "-m", "SCons")
DEBIAN_SCONS = ("/usr/bin/python3", "/usr/bin/scons")

HELLO_YAML = """\
schema: 1
name: hello
summary: Prints a greeting
license: BSD-2-Clause
kind: c
role: program
needs: ["abi:linux-x86_64", console]
libraries: [greeting, musl]
c:
  sources: [hello.c, other.c]
entry: /bin/hello
ready: {exit: true}
"""
GREETING_YAML = """\
schema: 1
name: greeting
summary: What is printed
license: BSD-2-Clause
kind: c
role: library
libraries: [musl]
c:
  sources: [greeting.c]
  include: [include]
"""
PAGES_YAML = """\
schema: 1
name: pages
summary: A few files
license: BSD-2-Clause
kind: files
role: files
files:
  - {source: pages, target: /srv/pages}
"""
COMPOSITION = """\
schema: 1
name: hello
summary: Prints a greeting and ends
kernel: debian
machine: microvm
memory: 128M
components: [hello, pages]
"""
FILES = {
    "compositions/hello.yaml": COMPOSITION,
    "components/hello/component.yaml": HELLO_YAML,
    "components/hello/hello.c": '#include <stdio.h>\n#include "greeting.h"\n'
    'int main(void)\n{\n\tprintf("%s %s\\n", greeting(), __FILE__);\n\treturn 0;\n}\n',
    "components/hello/other.c": "int other(void);\nint other(void)\n{\n\treturn 1;\n}\n",
    "components/greeting/component.yaml": GREETING_YAML,
    "components/greeting/include/greeting.h": "const char *greeting(void);\n",
    "components/greeting/greeting.c": '#include "greeting.h"\nconst char *greeting(void)\n{\n\treturn "hello";\n}\n',
    "components/pages/component.yaml": PAGES_YAML,
    "components/pages/pages/index.html": "<p>hello</p>\n",
}


@dataclass(frozen=True)
class Ended:
    """How a build ended."""

    status: int
    output: str
    errors: str

    @property
    def steps(self) -> list[str]:
        """The steps that ran, without their numbers, sorted."""
        return sorted(re.findall(r"^\[ *\d+/\d+\] (.*)$", self.output, re.MULTILINE))


@dataclass(frozen=True)
class SmallProject:
    """A copy of what the build needs, with a composition `hello` of two small components."""

    root: Path
    cache: Path

    @property
    def image(self) -> Path:
        return self.root / "build/hello/debian-microvm"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "RUMPEL_CACHE": str(self.cache), "PYTHONDONTWRITEBYTECODE": "1"}

    def scons(self, *words: str, program: tuple[str, ...] = VENV_SCONS) -> Ended:
        done = subprocess.run(
            [*program, "-Q", "-j2", *words],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def make_project(root: Path, checkout: Path, cache: Path) -> SmallProject:
    """Copy the parts of the checkout that the build needs, and write the small components."""
    for name in PARTS:
        source, target = checkout / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (root / ".venv").symlink_to(sys.prefix)
    project = SmallProject(root, cache)
    for name, text in FILES.items():
        project.write(name, text)
    return project


def make_cache(folder: Path, fetched: Path) -> Path:
    """A cache that has nothing but the sources that were fetched already."""
    fetched.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    (folder / "store").symlink_to(fetched)
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests that do not ask how much is built, so that the kernel is unpacked once."""
    from rumpel.places import store_dir

    return make_cache(tmp_path_factory.mktemp("shared") / "cache", store_dir())


@pytest.fixture
def project(tmp_path: Path, checkout: Path, shared_cache: Path) -> SmallProject:
    return make_project(tmp_path / "project", checkout, shared_cache)
