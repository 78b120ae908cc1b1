"""Groups of system calls that a kernel links only where a component needs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpel.model.lock import Lock, LockEntry, LockFile
from rumpel.model.project import Project
from rumpel.resolve.explain import explain
from rumpel.resolve.plan import Plan
from rumpel.resolve.resolver import resolve

HEAD = "schema: 1\nsummary: x\n"
KERNEL = """name: tiny
recipe: nano
machines: [pc]
command_line: {common: []}
provides: [console]
optional:
  jit: {because: code that is made}
  net: {needs: [net-device], because: sockets}
  pipes: {because: the pipe calls}
  poll: {because: waiting}
  threads: {because: clone}
calls: {file: files, net: sockets, pipes: pipes, poll: waiting for several, threads: more than one}
"""
PART = "license: MIT\n"
COMPILED = PART + "kind: c\nc: {}\nrole: program\nname: app\nentry: /bin/app\nready: {exit: true}\n"
LOCK = Lock(
    entries=(
        LockEntry(
            name="run",
            kind="deb",
            package="run",
            version="1",
            release="bookworm",
            files=(LockFile(name="run.deb", sha256="0" * 64, size=1),),
        ),
    )
)
COPIED = COMPILED.replace("kind: c\nc: {}\n", "kind: files\nfiles: [{source: app, target: /bin/app}]\n")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a kernel of three groups of calls that need no device; its program is yet to be written."""
    monkeypatch.chdir(tmp_path)
    machine = "name: pc\narchitecture: x86_64\nprovides: [x]\nqemu: {machine: pc}\n"
    write(tmp_path, "hal/machines/pc/machine.yaml", machine)
    write(tmp_path, "kernels/tiny/kernel.yaml", KERNEL)
    write(tmp_path, "compositions/demo.yaml", "name: demo\nkernel: tiny\nmachine: pc\ncomponents: [app]\n")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEAD + text)


def plan_of(root: Path, program: str, **others: str) -> Plan:
    """The plan of a program and of components beside it, by name."""
    for name, text in {"app": program, **others}.items():
        write(root, f"components/{name}/component.yaml", text)
        (root / f"components/{name}/app").write_text("")
    found = resolve(Project([root]), "demo", LOCK)
    assert Plan.from_json(found.to_json()) == found
    return found


def linked(plan: Plan) -> list[str]:
    """The groups that are linked; the others are left out."""
    groups = [name for name, _ in plan.kernel.calls]
    left_out = [name for name, _ in plan.kernel.left_out]
    assert sorted([*groups, *left_out]) == ["file", "net", "pipes", "poll", "threads"]
    return groups


def why(plan: Plan, group: str) -> list[tuple[str, str]]:
    return [(reason.by, reason.because) for reason in plan.reasons if reason.part == f"group/{group}"]


def test_a_compiled_program_gets_the_groups_that_it_names_and_no_other(root: Path) -> None:
    assert linked(plan_of(root, COMPILED)) == ["file"]
    plan = plan_of(root, COMPILED + "needs: [poll]\n")
    assert linked(plan) == ["file", "poll"]
    assert why(plan, "poll") == [("component/app", "it needs 'poll': waiting")]


def test_a_library_brings_the_groups_that_it_names(root: Path) -> None:
    library = PART + "name: lib\nkind: c\nc: {}\nrole: library\nneeds: [threads]\n"
    plan = plan_of(root, COMPILED + "libraries: [lib]\nneeds: [poll]\n", lib=library)
    assert linked(plan) == ["file", "poll", "threads"]
    assert why(plan, "threads") == [("component/lib", "it needs 'threads': clone")]


def test_a_program_that_is_not_compiled_here_and_names_no_group_gets_all_that_need_no_device(root: Path) -> None:
    plan = plan_of(root, COPIED + "needs: [jit]\n")
    assert linked(plan) == ["file", "pipes", "poll", "threads"]
    unsaid = "it is not compiled here, and does not say which calls it makes"
    assert why(plan, "pipes") == [("component/app", f"{unsaid}: the pipe calls")]
    assert "jit" in plan.kernel.groups and "net" not in plan.kernel.groups


def test_a_program_that_is_not_compiled_here_gets_what_it_names_if_it_names_any_group(root: Path) -> None:
    assert linked(plan_of(root, COPIED + "needs: [pipes]\n")) == ["file", "pipes"]


def test_the_calls_of_a_program_that_a_runtime_runs_are_the_runtimes(root: Path) -> None:
    runtime = PART + "name: run\nkind: deb\nrole: runtime\nentry: /bin/run\nsources: {run: {deb: run}}\n"
    runtime += "deb: {static: true}\n"
    script = COPIED + "runtime: run\n"
    assert linked(plan_of(root, script, run=runtime)) == ["file", "pipes", "poll", "threads"]
    assert linked(plan_of(root, script, run=runtime + "needs: [poll]\n")) == ["file", "poll"]
    assert linked(plan_of(root, script + "needs: [pipes]\n", run=runtime + "needs: [poll]\n")) == [
        "file", "pipes", "poll"
    ]  # fmt: skip


def test_a_kernel_that_has_all_calls_is_not_asked_for_those_that_nobody_named(root: Path) -> None:
    everything = KERNEL.split("optional:")[0].replace("[console]", "[console, pipes, poll, threads]")
    write(root, "kernels/tiny/kernel.yaml", everything)
    plan = plan_of(root, COPIED)
    assert plan.kernel.calls == plan.kernel.left_out == ()
    assert [name for name, _ in plan.capabilities] == ["console"]
    write(root, "components/app/component.yaml", COPIED + "needs: [poll]\n")
    assert ("poll", "kernel/tiny") in resolve(Project([root]), "demo", LOCK).capabilities


def test_explain_names_each_group_once_with_its_reason_and_those_that_are_left_out(root: Path) -> None:
    lines = [line.strip("│ ") for line in explain(plan_of(root, COMPILED + "needs: [poll, jit]\n")).splitlines()]
    at = lines.index("├─ poll: waiting for several")
    assert lines[at + 1] == "· component app: it needs 'poll': waiting"
    assert "├─ part jit" in lines and not any("part poll" in line for line in lines)
    at = lines.index("└─ left out, because nothing needs them; 'needs' of a component brings")
    assert lines[at : at + 5] == [
        lines[at],
        "them by name",
        "├─ net: sockets",
        "├─ pipes: pipes",
        "└─ threads: more than one",
    ]
