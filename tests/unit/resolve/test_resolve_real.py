"""The project's own compositions, resolved on both machines with pins made for the test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rumpel.model.lock import Lock, LockEntry, LockFile
from rumpel.model.project import Project
from rumpel.resolve.explain import explain
from rumpel.resolve.plan import Plan
from rumpel.resolve.resolver import Overrides, resolve

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTIONS = ("compositions", "components", "hal", "kernels")
TRANSPORT = {"microvm": ["virtio", "virtio-mmio"], "q35": ["pci", "virtio", "virtio-pci"]}
SUFFIX = {"microvm": "device", "q35": "pci"}


def pins(project: Project) -> Lock:
    """A lock that pins every source of the project to a made-up file."""
    return Lock(
        entries=tuple(
            LockEntry(
                name=spec.name,
                kind=spec.kind,
                package=spec.follow.replace("*", "6.1.0-56") if spec.follow else spec.package,
                version="1.0",
                follow=spec.follow,
                release=spec.release,
                files=(LockFile(name=f"{spec.name}.file", sha256="ab" * 32, size=10),),
            )
            for spec in project.sources()
        )
    )


def plan_of(name: str, machine: str, **more: object) -> Plan:
    project = Project([ROOT])
    return resolve(project, name, pins(project), Overrides(machine=machine, **more))  # type: ignore[arg-type]


def names(records: tuple[object, ...]) -> list[str]:
    return [record.name for record in records]  # type: ignore[attr-defined]


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_hello_has_a_console_and_no_other_driver(machine: str) -> None:
    plan = plan_of("hello", machine)
    assert names(plan.drivers) == ["uart16550"]
    assert plan.devices == ()
    assert plan.ports == () and plan.volumes == ()
    assert plan.ready.kind == "exit"
    assert plan.kernel.groups == ()
    assert names(plan.components) == ["hello", "musl"]
    assert plan.components[0].libraries == ("musl",)
    assert plan.settings.arguments[-2:] == ("--status", "0")
    assert plan.variables == (("status", "0"),)


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_web_has_a_network_and_entropy_and_no_disk(machine: str) -> None:
    plan = plan_of("web", machine)
    suffix = SUFFIX[machine]
    assert names(plan.drivers) == ["uart16550", *TRANSPORT[machine], "virtio-net", "virtio-rng"]
    assert [(device.model, device.backend) for device in plan.devices] == [
        (f"virtio-net-{suffix}", "net-user"),
        (f"virtio-rng-{suffix}", "rng"),
    ]
    assert names(plan.components)[0] == "web"
    assert plan.components[-1].name == "static-site"
    assert "/srv/www" in [file.target for file in plan.components[-1].files]
    assert "static-site" not in plan.components[0].libraries
    assert [(port.name, port.port, port.host) for port in plan.ports] == [("http", 80, 0)]
    assert (plan.ready.kind, plan.ready.port) == ("http", "http")
    assert "volume" not in plan.kernel.groups


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_sqlite_web_adds_a_disk_and_links_users_before_what_they_use(machine: str) -> None:
    plan = plan_of("sqlite-web", machine)
    assert names(plan.drivers) == ["uart16550", *TRANSPORT[machine], "virtio-net", "virtio-rng", "virtio-blk"]
    disk = plan.devices[-1]
    assert (disk.model, disk.backend, disk.volume) == (f"virtio-blk-{SUFFIX[machine]}", "volume", "data")
    assert dict(disk.properties)["serial"] == plan.volumes[0].serial == "data"
    assert (plan.volumes[0].mount, plan.volumes[0].size) == ("/data", 64)
    assert plan.kernel.groups == ("volume",)
    assert "ext4" in plan.kernel.modules
    program = plan.components[0]
    assert program.name == "web"
    order = program.libraries
    assert order.index("sql-api") < order.index("sqlite") < order.index("musl")
    assert order.index("libmicrohttpd") < order.index("musl")
    assert len(set(order)) == len(order)
    assert dict(plan.settings.environment)["LIMIT"] == "10000"
    assert dict(plan.capabilities)["block"] == "driver/virtio-blk"


@pytest.mark.parametrize("machine", ["microvm", "q35"])
@pytest.mark.parametrize("name", ["hello", "web", "sqlite-web"])
def test_drivers_stand_after_what_they_need_and_every_part_has_a_reason(name: str, machine: str) -> None:
    plan = plan_of(name, machine)
    project = Project([ROOT])
    given = set(project.machine(machine).provides) | set(project.kernel("debian").provides)
    for driver in plan.drivers:
        assert {word.text for word in project.driver(driver.name).needs} <= given, driver.name
        given |= set(driver.provides)
    because = {reason.part for reason in plan.reasons}
    parts = [f"driver/{driver.name}" for driver in plan.drivers]
    parts += [f"component/{part.name}" for part in plan.components]
    parts += [f"group/{group}" for group in plan.kernel.groups]
    assert {*parts, f"machine/{machine}", "kernel/debian"} == because


def test_what_differs_for_a_kernel_on_a_machine_is_in_the_plan() -> None:
    plan = plan_of("hello", "microvm")
    assert dict(plan.machine.qemu_options)["acpi"] == "on"
    assert "console=ttyS0" in plan.kernel.command_line
    assert plan.kernel.init == tuple(
        sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "kernels/init").glob("*.c"))
    )


def test_sources_come_from_the_lock() -> None:
    plan = plan_of("sqlite-web", "microvm")
    used = {name for names in (plan.kernel.sources, *(part.sources for part in plan.components)) for name in names}
    assert {source.name for source in plan.sources} == used
    assert {file.sha256 for source in plan.sources for file in source.files} == {"ab" * 32}


def test_overrides_reach_the_plan() -> None:
    plan = plan_of("sqlite-web", "q35", memory=512, cpus=2, variables=(("limit", "7"),), ports=(("http", 8080),))
    assert (plan.machine.name, plan.machine.memory, plan.machine.cpus) == ("q35", 512, 2)
    assert dict(plan.settings.environment)["LIMIT"] == "7"
    assert plan.ports[0].host == 8080


def test_the_json_form_is_read_again_as_the_same_plan() -> None:
    plan = plan_of("sqlite-web", "q35")
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(msgspec.ValidationError):
        Plan.from_json(plan.to_json().replace(b'"composition"', b'"compositionx"', 1))


SCRIPT = """
import sys
from pathlib import Path
from rumpel.model.lock import load_lock
from rumpel.model.project import Project
from rumpel.resolve.resolver import resolve
root = Path(sys.argv[1])
sys.stdout.buffer.write(resolve(Project([root]), "sqlite-web", load_lock(root / "rumpel.lock")).to_json())
"""


def test_the_same_input_gives_the_same_bytes_in_any_process_and_folder(tmp_path: Path) -> None:
    outputs = []
    for seed, folder in (("1", tmp_path / "a"), ("2", tmp_path / "b" / "deeper")):
        for each in DESCRIPTIONS:
            shutil.copytree(ROOT / each, folder / each)
        (folder / "rumpel.lock").write_bytes(pins(Project([ROOT])).to_json())
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", SCRIPT, str(folder)]
        outputs.append(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert outputs[0] == outputs[1]
    assert str(tmp_path).encode() not in outputs[0]
    assert str(ROOT).encode() not in outputs[0]
    assert len(outputs[0]) > 1000


def test_inputs_are_the_files_of_the_parts_by_digest() -> None:
    plan = plan_of("hello", "microvm")
    paths = [path for path, _ in plan.inputs]
    assert paths == sorted(paths)
    assert "compositions/hello.yaml" in paths and "hal/drivers/uart16550/driver.yaml" in paths
    assert not any("virtio-net" in path for path in paths)


@pytest.mark.parametrize("name", ["hello", "web", "sqlite-web"])
def test_explain_shows_every_part_and_its_reason_on_80_columns(name: str) -> None:
    plan = plan_of(name, "microvm")
    text = explain(plan)
    lines = text.splitlines()
    assert lines[0].startswith(f"composition {name}: ")
    assert max(len(line) for line in lines) <= 80
    assert lines[-1].startswith(" ") and text.endswith("\n")
    for part in (*(driver.name for driver in plan.drivers), *(component.name for component in plan.components)):
        assert f" {part}: " in text
    for source in plan.sources:
        assert f"{source.kind} {source.package} {source.version}" in text


def test_explain_says_why_a_driver_is_there() -> None:
    lines = explain(plan_of("sqlite-web", "microvm")).splitlines()
    at = next(index for index, line in enumerate(lines) if "─ virtio-blk: " in line)
    assert lines[at : at + 3] == [
        "│  └─ virtio-blk: The virtio block device",
        "│       · group volume: it needs 'block'",
        "│       · drives the device virtio-blk-device",
    ]


def test_explain_says_what_an_optional_part_of_the_kernel_is() -> None:
    text = explain(plan_of("sqlite-web", "q35"))
    assert "· component sql-api: it needs 'volume': ext4 on a block device\n" in text


def test_resolving_in_a_fresh_process_takes_less_than_a_third_of_a_second(tmp_path: Path) -> None:
    for each in DESCRIPTIONS:
        shutil.copytree(ROOT / each, tmp_path / each)
    (tmp_path / "rumpel.lock").write_bytes(pins(Project([ROOT])).to_json())
    timed = SCRIPT + "import time\nsys.stderr.write(str(time.process_time()))\n"
    command = [sys.executable, "-c", timed, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    seconds = [
        float(subprocess.run(command, env=environment, capture_output=True, check=True).stderr) for _ in range(5)
    ]
    assert min(seconds) < 0.35, seconds


def test_the_groups_of_nanos_system_calls_are_those_of_its_sources() -> None:
    """Each group is told in kernel.yaml, and the files of an optional part have rows of its group and of no other."""
    kernel = Project([ROOT]).kernel("nano")
    assert {group for _, _, group, _ in rows_of_nano()} == {name for name, _ in kernel.calls}
    part_of = {source: part.name for part in kernel.optional for source in part.realisation.sources}
    optional = set(part_of.values())
    for _, _, group, path in rows_of_nano():
        assert part_of.get(path) == (group if group in optional else None), path


def test_nanos_table_of_names_says_of_each_call_in_which_part_it_is() -> None:
    """So a kernel without the part can say what would bring the call."""
    text = (ROOT / "kernels/nano/src/syscall_names.c").read_text()
    words = re.findall(r'"([a-z-]*)"', text.split("parts[][13] = ")[1].split(";")[0])
    marks = {name: words[int(octal, 8)] for name, octal in re.findall(r'#define (\w+) "\\(\d+)"', text)}
    told = {}
    for table, begin in (("first", 0), ("second", 424)):
        body = text.split(f"static const char {table}[] =")[1].split(";")[0]
        literals = re.findall(r'"([^"]*)"', re.sub(r'([A-Z]+) "', r'"\1 ', body))
        for number, entry in enumerate("".join(literals).split("\\0")[:-1], begin):
            mark, _, name = entry.rpartition(" ")
            told[number] = (name, marks.get(mark, ""))
    optional = {part.name for part in Project([ROOT]).kernel("nano").optional}
    expected = {number: (name, group) for number, name, group, _ in rows_of_nano() if group in optional}
    del expected[60]  # exit is never missing
    expected[13] = ("rt_sigaction", "signals")  # one call in every kernel, which asks the part for handlers
    assert {number: each for number, each in told.items() if each[1]} == expected
    assert all(told[number][0] == name for number, name, _, _ in rows_of_nano())


def test_the_words_for_groups_of_system_calls_are_documented_and_the_other_kernels_have_them_all() -> None:
    project = Project([ROOT])
    nano = project.kernel("nano")
    words = {part.name for part in nano.optional} & {name for name, _ in nano.calls}
    section = (ROOT / "docs/nano.md").read_text().split("## System calls by plan")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == words
    for name in ("debian", "linux"):
        assert words - {"net"} <= set(project.kernel(name).provides)


def rows_of_nano() -> list[tuple[int, str, str, str]]:
    """Number, name, group and file of each row of nano's table of system calls."""
    row = re.compile(r"^SYSCALL(?:_INSTEAD)?\((\d+), (\w+), \w+, ([\w-]+)\);", re.MULTILINE)
    nano = ROOT / "kernels/nano"
    return [
        (int(number), name, group, str(path.relative_to(nano)))
        for path in nano.rglob("*.c")
        for number, name, group in row.findall(path.read_text())
    ]


@pytest.mark.parametrize(("name", "has_net"), [("hello", False), ("web", True)])
def test_explain_shows_the_groups_of_system_calls_and_why_and_which_are_left_out(name: str, has_net: bool) -> None:
    text = explain(plan_of(name, "microvm", kernel="nano"))
    lines = [line.strip("│ ") for line in text.splitlines()]
    first = lines.index("└─ system calls, by group; any other is ENOSYS, and named in the log")
    left_out = lines.index("└─ left out, because nothing needs them; 'needs' of a component brings")
    linked, rest = lines[first:left_out], lines[left_out : lines.index("├─ drivers, in load order")]
    at = linked.index("├─ file: files, folders and descriptors")
    assert linked[at + 1] == "· every program has them"
    net = "├─ net: sockets over TCP and UDP, IPv4 and IPv6"
    assert (net in linked, net in rest) == (has_net, not has_net)
    assert not has_net or linked[linked.index(net) + 1].startswith("· component web: it needs 'net'")
    assert "├─ pipes: bytes from one descriptor to another: pipe" in rest
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize(("name", "groups"), [("hello", set()), ("web", {"net", "epoll", "poll", "signals"})])
def test_nano_links_of_the_optional_groups_of_calls_what_the_components_need(name: str, groups: set[str]) -> None:
    kernel = plan_of(name, "microvm", kernel="nano").kernel
    assert set(kernel.groups) == groups
    assert {group for group, _ in kernel.calls} == {"file", "memory", "process", "random", "time"} | groups
    assert {group for group, _ in kernel.calls}.isdisjoint(group for group, _ in kernel.left_out)
