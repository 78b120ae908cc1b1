"""Every error that the docstrings of the public interface name has a test, which is found by its marker `documents`.

@pytest.mark.documents("Vm.restore", UsageError)
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.boot.conftest import PlanFactory

import rumpel
from rumpel import errors
from rumpel.errors import (
    BuildError,
    HostError,
    MachineError,
    ModelError,
    ResolveError,
    SourceError,
    UsageError,
    VolumeError,
)
from rumpel.harness import api, console, dialog, events, faults, fleet, vm, warm
from rumpel.harness.api import launch_image
from rumpel.harness.images import Bootable, Wanted
from rumpel.harness.start import Start
from rumpel.harness.vm import Vm
from rumpel.harness.warm import WarmPool
from rumpel.machine import snapshots
from rumpel.machine.emulator import find_qemu
from rumpel.machine.instance import Image
from rumpel.model.lock import LockEntry, LockFile, load_lock

pytestmark = [pytest.mark.boot, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
CLASSES = (
    vm.Vm, console.VmConsole, dialog.Dialog, events.Events, events.Expected, faults.Faults, warm.WarmPool,
    fleet.Outcome,
)  # fmt: skip
FUNCTIONS = (api.boot, api.launch, api.pool, fleet.run, fleet.matrix)
PROGRAM = """kind: c
role: program
libraries: [musl]
c:
  sources: [part.c]
entry: /bin/part
needs: ["abi:linux-x86_64", console, %s]
ready: {console: "^up$"}
"""
FILES = """kind: files
role: files
files:
  - {source: data.bin, target: /data.bin}
sources:
  data: {file: data.bin}
"""

Make = Callable[..., Path]


def documented() -> set[tuple[str, str]]:
    """The names and errors that docstrings speak of."""
    things = [(function.__name__, function) for function in FUNCTIONS]
    for kind in CLASSES:
        things += [(f"{kind.__name__}.{name}", member) for name, member in vars(kind).items() if name[0] != "_"]
    known = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    return {
        (name, error)
        for name, thing in things
        for error in re.findall(r"\b(\w+Error)s?\b", inspect.getdoc(thing) or "")
        if error in known
    }


def shown() -> set[tuple[str, str]]:
    """The names and errors that tests of the harness are marked with; each of these tests speaks of the error."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        source = path.read_text()
        for function in ast.walk(ast.parse(source)):
            if not isinstance(function, ast.FunctionDef):
                continue
            body = "\n".join(ast.get_source_segment(source, statement) or "" for statement in function.body)
            for marker in function.decorator_list:
                if not (isinstance(marker, ast.Call) and ast.unparse(marker.func) == "pytest.mark.documents"):
                    continue
                name, error = marker.args
                assert isinstance(name, ast.Constant) and isinstance(error, ast.Name)
                assert re.search(rf"raises\(\s*{error.id}\b|error_of\(|isinstance\([^)]*{error.id}", body), (
                    function.name
                )
                found.add((str(name.value), error.id))
    return found


def test_every_documented_error_has_a_test_and_every_tested_one_is_documented() -> None:
    assert shown() == documented()


@pytest.fixture
def project(tmp_path: Path) -> Make:
    """`project(composition, component, **files)`: a project with a composition 'it', whose component is 'part'."""

    def project(composition: str, component: str = "", **files: str) -> Path:
        (tmp_path / "compositions").mkdir()
        (tmp_path / "compositions/it.yaml").write_text(
            f"schema: 1\nname: it\nsummary: One\nkernel: nano\nmachine: microvm\n{composition}"
        )
        if component:
            part = tmp_path / "components/part"
            part.mkdir(parents=True)
            (part / "component.yaml").write_text(
                f"schema: 1\nname: part\nsummary: A part\nlicense: BSD-2-Clause\n{component}"
            )
            for name, text in files.items():
                (part / name.replace("_", ".")).write_text(text)
        return tmp_path

    return project


@pytest.mark.documents("boot", UsageError)
def test_an_unknown_composition_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        rumpel.boot("wbe", project=ROOT)
    assert str(caught.value) == "There is no composition 'wbe'.\nDid you mean 'web'?"


@pytest.mark.documents("boot", ModelError)
def test_a_composition_with_a_mistake_is_refused_with_its_place(project: Make) -> None:
    with pytest.raises(ModelError) as caught:
        rumpel.boot("it", project=project("components: [web]\nmemory: lots\n"))
    assert str(caught.value) == (
        "compositions/it.yaml:7:9: 'memory' is 'lots'. Expected a size: a whole number with M (MiB) or G (GiB), such "
        "as 128M."
    )


@pytest.mark.documents("boot", ResolveError)
def test_parts_that_do_not_fit_together_are_refused(project: Make) -> None:
    where = project("components: [part]\n", PROGRAM % "teleport", part_c="int main(void) { return 0; }\n")
    with pytest.raises(ResolveError) as caught:
        rumpel.boot("it", project=where)
    assert str(caught.value) == (
        "components/part/component.yaml:11:38: component 'part' needs 'teleport', which no part provides.\n"
        "Remove the need, or add a part that provides it."
    )


@pytest.mark.documents("boot", SourceError)
def test_a_source_that_is_not_what_was_pinned_is_refused(project: Make) -> None:
    where = project("components: [web, part]\n", FILES, data_bin="changed")
    pinned = "0" * 64
    entry = LockEntry(
        name="data", kind="file", package="components/part/data.bin", version=pinned[:12],
        files=(LockFile(name="data.bin", sha256=pinned, size=7),),
    )  # fmt: skip
    (where / "rumpel.lock").write_bytes(load_lock(ROOT / "rumpel.lock").replace(entry).to_json())
    with pytest.raises(SourceError) as caught:
        rumpel.boot("it", project=where)
    assert str(caught.value) == (
        f"Source 'data': '{where}/components/part/data.bin' is not what was pinned: its SHA-256 should be {pinned} and "
        f"is {hashlib.sha256(b'changed').hexdigest()}.\n"
        "If the change is meant, `rumpel lock --update data` pins the file as it is now."
    )


@pytest.mark.documents("boot", BuildError)
def test_a_program_that_does_not_compile_is_told_with_the_compilers_words(project: Make) -> None:
    where = project("components: [part]\n", PROGRAM % "entropy", part_c="int main(void) { return nothing; }\n")
    with pytest.raises(BuildError) as caught:
        rumpel.boot("it", project=where)
    assert str(caught.value) == "The component 'part' does not compile: 'components/part/part.c'."
    assert "'nothing' undeclared" in caught.value.output


@pytest.mark.documents("boot", HostError)
def test_a_port_that_somebody_has_is_refused_with_who_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(HostError) as caught:
        number = taken.getsockname()[1]
        rumpel.boot("web", kernel="nano", accel="tcg", project=ROOT, ports={"http": number})
    name = Path("/proc/self/comm").read_text().strip()
    assert caught.value.message == (
        f"The port {number} was asked for, but it is in use by '{name}' (pid {os.getpid()})."
    )


@pytest.mark.documents("boot", VolumeError)
def test_a_volume_that_cannot_hold_its_files_is_refused(project: Make) -> None:
    where = project("components: [web, static-site]\nvolumes:\n  data: {mount: /data, size: 8M, files: seed}\n")
    (where / "compositions/it.yaml").write_text(
        (where / "compositions/it.yaml").read_text().replace("kernel: nano", "kernel: debian")
    )
    (where / "compositions/seed").mkdir()
    (where / "compositions/seed/large").write_bytes(bytes(16 << 20))
    with pytest.raises(VolumeError) as caught:
        rumpel.boot("it", accel="tcg", project=where)
    assert str(caught.value) == (
        "The volume 'data' of 8 MiB is too small for its files: 'compositions/seed' holds 16 MiB.\n"
        "Give the volume a larger 'size'."
    )


@pytest.mark.documents("boot", MachineError)
def test_a_machine_that_is_not_ready_in_time_is_told_with_evidence_that_is_still_there() -> None:
    with pytest.raises(MachineError) as caught:
        rumpel.boot("web", kernel="nano", accel="tcg", project=ROOT, timeout=0.001)
    assert caught.value.message.startswith("The machine 'web' was not ready within 0.001 s: ")
    assert caught.value.evidence.files
    assert all(file.exists() for file in caught.value.evidence.files)


@pytest.mark.documents("Vm.host_port", MachineError)
def test_ports_of_a_qemu_that_ended_at_once_are_not_known(plan_of: PlanFactory, tmp_path: Path) -> None:
    (tmp_path / "kernel").write_text("no kernel\n")
    image = Bootable(plan_of(net=True), Image(kernel=str(tmp_path / "kernel")))
    start = Start(wanted=Wanted(composition="floor", project=str(ROOT)), accelerator="tcg", name="floor")
    with launch_image(image, start) as machine:
        with pytest.raises(MachineError) as caught:
            machine.host_port("http")
        assert caught.value.message == "QEMU ended at once with status 1."
        assert "invalid kernel header" in caught.value.evidence.stderr


@pytest.mark.documents("Vm.restore", MachineError)
def test_a_snapshot_that_qemu_has_no_more_cannot_be_restored(guest: Callable[..., Vm]) -> None:
    machine = guest("echo")
    machine.console.wait_for("READY")
    machine.snapshot("one")
    snapshots.delete(machine.instance, "one")
    with pytest.raises(MachineError) as caught:
        machine.restore("one")
    assert caught.value.message == (
        "QEMU could not do 'snapshot-load': Snapshot 'one' does not exist in one or more devices"
    )


@pytest.mark.documents("Vm.reset", MachineError)
def test_a_machine_that_does_not_run_cannot_be_reset(guest: Callable[..., Vm]) -> None:
    machine = guest("deaf")
    machine.kill()
    with pytest.raises(MachineError) as caught:
        machine.reset()
    assert caught.value.message == "The machine 'floor' does not run: it was killed."


@pytest.fixture
def pool() -> WarmPool:
    return rumpel.pool("web", size=1, kernel="nano", accel="tcg", project=ROOT)


@pytest.mark.documents("WarmPool.take", HostError)
def test_a_pool_whose_qemu_is_gone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qemu"
    program.symlink_to(find_qemu("system"))
    monkeypatch.setenv("RUMPEL_QEMU", str(program))
    with rumpel.pool("web", size=1, kernel="nano", accel="tcg", project=ROOT) as pool:
        assert pool.wait_warm()
        program.unlink()
        with pool.take() as taken:
            assert taken.http().get("/").status_code == 200
        with pytest.raises(HostError) as caught:
            pool.take()
        assert caught.value.message == f"'{program}' was asked for as QEMU, but there is no such program."
        program.symlink_to(find_qemu("system"))
        with pool.take() as taken:  # it has recovered
            assert taken.http().get("/").status_code == 200


@pytest.mark.documents("WarmPool.take", MachineError)
def test_a_copy_whose_state_qemu_refuses_is_told_in_its_words(pool: WarmPool) -> None:
    with pool:
        assert pool.wait_warm()
        empty = os.memfd_create("empty")
        os.dup2(empty, pool._memory.state, inheritable=False)
        os.close(empty)
        with pool.take() as taken:
            assert taken.http().get("/").status_code == 200
        with pytest.raises(MachineError, match=r"^QEMU could not do 'migrate-incoming': "):
            pool.take()
        assert not pool.wait_warm()
