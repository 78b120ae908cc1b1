"""Optional parts of a kernel that compile files of a fetched source: there only where they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.errors import ModelError, ResolveError
from rumpel.model.lock import Lock, LockEntry, LockFile
from rumpel.model.project import Project
from rumpel.resolve.plan import GroupFiles, Kernel, Plan
from rumpel.resolve.resolver import resolve

HEAD = "schema: 1\nsummary: x\n"
KERNEL = (
    HEAD
    + """name: tiny
recipe: nano
machines: [pc]
command_line: {common: []}
provides: [threads, console]
sources:
  stack: {deb-src: stack}
  always: {deb-src: always}
optional:
  net:
    because: TCP/IP
    sources: [net/socket.c]
    include: [net/port]
    source: stack
    source_files: [core/tcp.c, core/udp.c]
    source_include: [include]
"""
)
PROGRAM = "license: MIT\nkind: c\nc: {}\nrole: program\nentry: /bin/app\nname: app\nready: {exit: true}\n"


def entry(name: str) -> LockEntry:
    files = (LockFile(name=f"{name}.dsc", sha256="0" * 64, size=1),)
    return LockEntry(name=name, kind="deb-src", package=name, version="1", release="bookworm", files=files)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose kernel has a network that its program does not ask for."""
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path, "hal/machines/pc/machine.yaml", "name: pc\narchitecture: x86_64\nprovides: [x]\nqemu: {machine: pc}\n"
    )
    path = tmp_path / "kernels/tiny/kernel.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(KERNEL)
    write(tmp_path, "components/app/component.yaml", PROGRAM)
    write(tmp_path, "compositions/demo.yaml", "name: demo\nkernel: tiny\nmachine: pc\ncomponents: [app]\n")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + text)


def plan(root: Path, *pins: str) -> Plan:
    return resolve(Project([root]), "demo", Lock(entries=tuple(entry(name) for name in pins)))


def kernel_of(found: Plan) -> Kernel:
    return Plan.from_json(found.to_json()).kernel


def test_a_part_that_is_not_needed_fetches_and_compiles_nothing(root: Path) -> None:
    found = plan(root, "always")
    assert [source.name for source in found.sources] == ["always"]
    assert kernel_of(found).sources == ("always",)
    assert kernel_of(found).group_files == () and kernel_of(found).group_include == ()


def test_a_part_that_is_needed_brings_its_source_and_its_files(root: Path) -> None:
    write(root, "components/app/component.yaml", PROGRAM + "needs: [net]\n")
    found = plan(root, "always", "stack")
    assert [source.name for source in found.sources] == ["always", "stack"]
    assert kernel_of(found).group_sources == ("net/socket.c",)
    assert kernel_of(found).group_include == ("net/port",)
    expected = GroupFiles(source="stack", files=("core/tcp.c", "core/udp.c"), include=("include",))
    assert kernel_of(found).group_files == (expected,)


def test_the_source_of_a_needed_part_must_be_pinned(root: Path) -> None:
    write(root, "components/app/component.yaml", PROGRAM + "needs: [net]\n")
    with pytest.raises(ResolveError) as caught:
        plan(root, "always")
    assert str(caught.value) == (
        "kernels/tiny/kernel.yaml:9:3: the source 'stack' of kernel 'tiny' is not in the lock file.\n"
        "Run `rumpel lock --update stack`."
    )


def test_a_part_with_an_unknown_source(root: Path) -> None:
    (root / "kernels/tiny/kernel.yaml").write_text(KERNEL.replace("source: stack", "source: stak"))
    with pytest.raises(ModelError) as caught:
        plan(root, "always")
    assert str(caught.value) == (
        "kernels/tiny/kernel.yaml:16:13: the part 'net' names the unknown source 'stak'. Did you mean 'stack'?"
    )


def test_files_of_a_source_need_its_name(root: Path) -> None:
    (root / "kernels/tiny/kernel.yaml").write_text(KERNEL.replace("    source: stack\n", ""))
    with pytest.raises(ModelError) as caught:
        plan(root, "always")
    assert str(caught.value) == (
        "kernels/tiny/kernel.yaml:16:5: 'optional.net.source_files' only goes with 'source'.\n"
        "kernels/tiny/kernel.yaml:17:5: 'optional.net.source_include' only goes with 'source'."
    )
