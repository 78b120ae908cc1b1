"""Plans of programs out of packages: runtimes, where the root filesystem is, what init is linked to."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from rumpel.errors import ResolveError
from rumpel.model.lock import Lock, load_lock
from rumpel.model.project import Project
from rumpel.resolve.explain import explain
from rumpel.resolve.plan import Plan
from rumpel.resolve.resolver import Overrides, resolve
from rumpel.resolve.settings import StartSettings, settings_of

ROOT = Path(__file__).parents[3]
Write = Callable[[str, str], None]


@functools.cache
def lock() -> Lock:
    return load_lock(ROOT / "rumpel.lock")


def plan_of(name: str, *roots: Path, machine: str | None = None) -> Plan:
    return resolve(Project([*roots, ROOT]), name, lock(), Overrides(machine=machine))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of a project that is looked into before the checkout."""
    monkeypatch.chdir(tmp_path)

    def write_file(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return write_file


@pytest.mark.parametrize("name", ["nginx", "redis", "node-service", "python-http"])
def test_packages_of_more_than_a_few_mebibytes_are_on_a_disk_and_explain_says_so(name: str) -> None:
    plan = plan_of(name)
    assert plan.root.kind == "disk"
    assert "root-disk" in plan.kernel.groups
    assert "erofs" in plan.kernel.modules
    disks = [device for device in plan.devices if device.backend == "root"]
    assert [(disk.driver, dict(disk.properties)["serial"]) for disk in disks] == [("virtio-blk", "rootfs")]
    text = explain(plan)
    assert "root filesystem on a compressed read-only disk (erofs)\n" in text
    assert f"its packages take {plan.root.packages / (1 << 20):.1f} MiB, more than 4.0 MiB\n" in text


@pytest.mark.parametrize("name", ["hello", "web", "sqlite-web"])
def test_a_small_root_filesystem_is_in_memory(name: str) -> None:
    plan = plan_of(name)
    assert plan.root.kind == "memory"
    assert "root-disk" not in plan.kernel.groups
    assert "root filesystem in memory (initramfs)\n" in explain(plan)


@pytest.mark.parametrize("asked", ["memory", "disk"])
def test_a_composition_may_say_where_its_root_filesystem_is(write: Write, tmp_path: Path, asked: str) -> None:
    base = "hello" if asked == "disk" else "nginx"
    write("compositions/demo.yaml", f"schema: 1\nname: demo\nsummary: x\nextends: {base}\nroot: {asked}\n")
    plan = plan_of("demo", tmp_path)
    assert (plan.root.kind, plan.root.because) == (asked, "the composition says so")


def test_a_volume_cannot_have_the_name_of_the_root_s_disk(write: Write, tmp_path: Path) -> None:
    write(
        "compositions/demo.yaml",
        "schema: 1\nname: demo\nsummary: x\nextends: nginx\nvolumes: {rootfs: {mount: /data, size: 8M}}\n",
    )
    with pytest.raises(ResolveError) as caught:
        plan_of("demo", tmp_path)
    assert str(caught.value) == (
        "compositions/demo.yaml:5:11: a volume cannot be called 'rootfs': the root filesystem's disk is.\n"
        "Give it another name."
    )


def test_a_runtime_runs_the_program_with_its_own_arguments_first() -> None:
    plan = plan_of("python-http")
    values = [(record.key, record.value) for record in settings_of(plan, StartSettings(arguments=("--more",)))]
    assert ("program", "/usr/bin/python3.11") in values
    assert [value for key, value in values if key == "arg"] == ["-B", "-s", "-u", "/srv/python-http/main.py", "--more"]
    assert ("root", "rootfs,erofs") in values
    roles = {component.name: component.role for component in plan.components}
    assert (roles["python-http"], roles["python"], roles["musl"]) == ("program", "runtime", "library")


def test_the_packages_of_a_lock_file_are_sources_of_the_plan() -> None:
    plan = plan_of("node-service")
    component = plan.components[0]
    assert component.packages is not None
    named = {module.source for module in component.packages.modules}
    assert named == {"npm-regexparam-3.0.0", "npm-trouter-4.0.0", "npm-valibot-1.5.0"}
    assert named <= {source.name for source in plan.sources if source.kind == "npm"}


def test_a_plan_with_packages_survives_its_json_form() -> None:
    plan = plan_of("node-service")
    assert Plan.from_json(plan.to_json()) == plan
    assert msgspec.json.decode(plan.to_json())["root"]["kind"] == "disk"


@pytest.mark.parametrize(("name", "component"), [("nginx", "nginx"), ("python-http", "python")])
def test_a_program_out_of_packages_is_refused_where_the_kernel_starts_static_ones_only(
    name: str, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ResolveError) as caught:
        resolve(Project([ROOT]), name, lock(), Overrides(kernel="nano"))
    assert str(caught.value) == (
        f"components/{component}/component.yaml: component '{component}' needs 'dynamic-linking'; kernel 'nano' does "
        "not provide it; kernels that do: debian, linux.\n"
        "Choose one of them: 'kernel:' in the composition, or --kernel."
    )
    assert caught.value.parts == (f"component/{component}", "kernel/nano")


@pytest.mark.parametrize("kernel", ["debian", "linux"])
def test_the_plan_says_why_a_program_out_of_packages_needs_dynamic_linking(kernel: str) -> None:
    plan = resolve(Project([ROOT]), "nginx", lock(), Overrides(kernel=kernel))
    assert dict(plan.capabilities)["dynamic-linking"] == f"kernel/{kernel}"
    because = "its program comes out of packages, and it does not say that it is static"
    assert because in [reason.because for reason in plan.reasons if reason.by == "component/nginx"]


def test_a_program_out_of_packages_that_says_it_is_static_needs_no_dynamic_linking(
    write: Write, tmp_path: Path
) -> None:
    nginx = (ROOT / "components/nginx/component.yaml").read_text()
    static = nginx.replace("deb:\n  files", "deb:\n  static: true\n  files")
    assert static != nginx
    write("components/nginx/component.yaml", static)
    for source in ("nginx.conf", "passwd", "group"):
        write(f"components/nginx/files/{source}", "")
    plan = resolve(Project([tmp_path, ROOT]), "nginx", lock(), Overrides(kernel="nano"))
    assert "dynamic-linking" not in dict(plan.capabilities)


def test_a_program_of_the_components_own_folder_may_be_either_and_names_it_where_it_matters(
    write: Write, tmp_path: Path
) -> None:
    def plan(kernel: str) -> Plan:
        return resolve(Project([tmp_path, ROOT]), "demo", lock(), Overrides(kernel=kernel))

    own = SCRIPT.replace("runtime: RUNTIME\n", "")
    write("components/app/component.yaml", own)
    write("components/app/a.py", "")
    write("compositions/demo.yaml", DEMO.replace("COMPONENTS", "app"))
    assert "dynamic-linking" in dict(plan("debian").capabilities)
    assert "dynamic-linking" not in dict(plan("nano").capabilities)
    write("components/app/component.yaml", own + "needs: [dynamic-linking]\n")
    with pytest.raises(ResolveError) as caught:
        plan("nano")
    assert str(caught.value).startswith(
        "components/app/component.yaml:10:9: component 'app' needs 'dynamic-linking'; kernel 'nano' does not provide it"
    )


SCRIPT = (
    "schema: 1\nname: app\nsummary: x\nlicense: MIT\nkind: files\nrole: program\n"
    "files: [{source: a.py, target: /a.py}]\nruntime: RUNTIME\nentry: /a.py\nready: {exit: true}\n"
)
DEMO = "schema: 1\nname: demo\nsummary: x\nkernel: debian\nmachine: microvm\ncomponents: [COMPONENTS]\n"


def refusal(write: Write, tmp_path: Path, runtime: str, components: str) -> str:
    write("components/app/component.yaml", SCRIPT.replace("RUNTIME", runtime))
    write("components/app/a.py", "")
    write("compositions/demo.yaml", DEMO.replace("COMPONENTS", components))
    with pytest.raises(ResolveError) as caught:
        plan_of("demo", tmp_path)
    return str(caught.value).replace(f"{ROOT}/", "")


def test_a_runtime_must_be_one(write: Write, tmp_path: Path) -> None:
    assert refusal(write, tmp_path, "nginx", "app") == (
        "components/app/component.yaml:8:10: component 'app' names 'nginx' as its runtime, but its role is 'program'.\n"
        "Name a component with 'role: runtime'."
    )


def test_a_runtime_with_nothing_to_run_is_told(write: Write, tmp_path: Path) -> None:
    assert refusal(write, tmp_path, "python", "app, node") == (
        "components/node/component.yaml: the runtime 'node' has nothing to run: the program 'app' runs with 'python'.\n"
        "Remove 'node' from the composition's 'components'."
    )


def test_a_library_is_linked_into_programs_of_c_only(write: Write, tmp_path: Path) -> None:
    assert refusal(write, tmp_path, "python", "app, sqlite") == (
        "compositions/demo.yaml:6:14: the component 'sqlite' is linked into programs of kind 'c', but the program "
        "'app' of 'demo' is of kind 'files'.\n"
        "Remove 'sqlite' from 'components'."
    )
