"""Projects: parts by their folders' names, `extends`, variables, and files that must exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel.errors import ModelError, UsageError
from rumpel.model.project import Project

Write = Callable[[str, str], Path]

MACHINE = """\
schema: 1
name: pc
summary: A machine
architecture: x86_64
provides: ["bus:isa", clock]
qemu: {machine: pc}
"""
KERNEL = """\
schema: 1
name: tiny
summary: A kernel
recipe: nano
provides: ["abi:linux-x86_64"]
machines: [pc]
command_line: {common: [quiet]}
"""
COMPONENT = """\
schema: 1
name: app
summary: A program
license: MIT
kind: c
role: program
c: {sources: [app.c]}
entry: /bin/app
ready: {exit: true}
"""
COMPOSITION = """\
schema: 1
name: demo
summary: A demonstration
kernel: tiny
machine: pc
components: [app]
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of the project: a path below its root, and its text."""
    monkeypatch.chdir(tmp_path)

    def write_file(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write_file


@pytest.fixture
def project(tmp_path: Path, write: Write) -> Project:
    """A project with one correct part of each kind. Files may still be changed: parts are read when asked for."""
    write("hal/machines/pc/machine.yaml", MACHINE)
    write("kernels/tiny/kernel.yaml", KERNEL)
    write("components/app/component.yaml", COMPONENT)
    write("components/app/app.c", "int main(void) { return 0; }\n")
    write("compositions/demo.yaml", COMPOSITION)
    return Project([tmp_path])


def composition_words(project: Project, **variables: str) -> str:
    with pytest.raises(ModelError) as caught:
        project.composition("demo", variables)
    return str(caught.value)


def component_words(project: Project, name: str = "app") -> str:
    with pytest.raises(ModelError) as caught:
        project.component(name)
    return str(caught.value)


def test_parts_are_found_by_their_folders(project: Project) -> None:
    assert project.names("composition") == ("demo",)
    assert project.names("component") == ("app",)
    assert project.component("app").c is not None
    assert project.kernel("tiny").recipe == "nano"
    assert project.machine("pc").provides == ("bus:isa", "clock")
    assert project.composition("demo").memory == 128


def test_the_first_root_that_has_a_part_wins(project: Project, tmp_path: Path, write: Write) -> None:
    write("mine/components/app/component.yaml", COMPONENT.replace("A program", "My program"))
    write("mine/components/app/app.c", "")
    both = Project([tmp_path / "mine", tmp_path])
    assert both.component("app").summary == "My program"
    assert both.component("app").origin.directory == "components/app"
    assert both.kernel("tiny").summary == "A kernel"
    assert both.locate("components/app") == tmp_path / "mine/components/app"
    assert both.locate("kernels/tiny") == tmp_path / "kernels/tiny"


def test_an_unknown_composition_that_was_asked_for(project: Project) -> None:
    with pytest.raises(UsageError) as caught:
        project.composition("demmo")
    assert str(caught.value) == "there is no composition 'demmo'.\nDid you mean 'demo'?"
    with pytest.raises(UsageError) as caught:
        project.composition("zzz")
    assert str(caught.value) == "there is no composition 'zzz'.\nCompositions: demo."


def test_a_name_that_is_not_the_folder_s(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT.replace("name: app", "name: ap"))
    assert component_words(project) == (
        "components/app/component.yaml:2:7: the component is called 'ap', but its folder 'app'. Write 'name: app', or "
        "rename the folder."
    )


def test_a_name_that_is_not_the_file_s(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION.replace("name: demo", "name: deno"))
    assert composition_words(project) == (
        "compositions/demo.yaml:2:7: the composition is called 'deno', but its file 'demo'. Write 'name: demo', or "
        "rename the file."
    )


def test_a_missing_c_file_and_a_missing_folder_are_told_together(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT.replace("[app.c]", "[app.c, more.c], include: [headers]"))
    assert component_words(project) == (
        "components/app/component.yaml:7:22: there is no file 'more.c' in 'components/app'.\n"
        "components/app/component.yaml:7:41: there is no folder 'headers' in 'components/app'."
    )


def test_a_missing_file_of_a_files_component(project: Project, write: Write) -> None:
    write(
        "components/site/component.yaml",
        "schema: 1\nname: site\nsummary: Pages\nlicense: MIT\nkind: files\nrole: files\n"
        "files:\n  - {source: pages, target: /srv}\n",
    )
    assert component_words(project, "site") == (
        "components/site/component.yaml:8:14: there is no file or folder 'pages' in 'components/site'."
    )


def test_a_missing_local_source(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT + "sources: {data: {file: data.bin}}\n")
    assert component_words(project) == (
        "components/app/component.yaml:10:24: there is no file 'data.bin' in 'components/app'."
    )


def test_a_driver_s_files_must_exist_for_the_kernels_that_the_project_has(project: Project, write: Write) -> None:
    write(
        "hal/drivers/nic/driver.yaml",
        "schema: 1\nname: nic\nsummary: x\nprovides: [net]\nkernels:\n"
        "  tiny: {sources: [nic.c]}\n  later: {sources: [later.c]}\n",
    )
    with pytest.raises(ModelError) as caught:
        project.driver("nic")
    assert str(caught.value) == "hal/drivers/nic/driver.yaml:6:20: there is no file 'nic.c' in 'hal/drivers/nic'."


def test_two_ways_of_readiness_are_one_too_many(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT.replace("{exit: true}", "{exit: true, console: up}"))
    assert component_words(project) == (
        "components/app/component.yaml:9:21: 'ready' has 'exit' and 'console'; only one of them can hold. Keep one."
    )


def test_readiness_without_a_way(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT.replace("{exit: true}", "{timeout: 5}"))
    assert component_words(project) == (
        "components/app/component.yaml:9:8: 'ready' must have one of 'console', 'port', 'http' or 'exit'."
    )


def test_a_volume_on_the_root_or_on_another_volume(project: Project, write: Write) -> None:
    volumes = "volumes:\n  a: {mount: /, size: 1M}\n  b: {mount: /d, size: 1M}\n  c: {mount: /d/, size: 1M}\n"
    write("compositions/demo.yaml", COMPOSITION + volumes)
    assert composition_words(project) == (
        "compositions/demo.yaml:8:14: 'volumes.a.mount' cannot be the root '/'.\n"
        "compositions/demo.yaml:10:14: '/d/' is where volume 'b' is mounted already."
    )


def test_the_files_of_a_volume_must_exist(project: Project, write: Write, tmp_path: Path) -> None:
    write("compositions/demo.yaml", COMPOSITION + "volumes: {d: {mount: /d, size: 1M, files: seed}}\n")
    assert composition_words(project) == ("compositions/demo.yaml:7:43: there is no folder 'seed' in 'compositions'.")
    (tmp_path / "compositions/seed").mkdir()
    assert Project([tmp_path]).composition("demo").volumes[0].files == "seed"


def test_a_kernel_s_words_for_a_machine_that_it_does_not_boot_on(project: Project, write: Write) -> None:
    write("kernels/tiny/kernel.yaml", KERNEL.replace("[quiet]", "[quiet], pcc: [loud]"))
    with pytest.raises(ModelError) as caught:
        project.kernel("tiny")
    assert str(caught.value) == (
        "kernels/tiny/kernel.yaml:7:33: 'command_line.pcc' is for no machine under 'machines'. Did you mean 'pc'?"
    )


@pytest.mark.parametrize("size", ["12Q", "0M", "M", "1.5G", "-1M", "64m"])
def test_a_bad_size(project: Project, write: Write, size: str) -> None:
    write("compositions/demo.yaml", COMPOSITION + f"memory: {size}\n")
    assert composition_words(project) == (
        f"compositions/demo.yaml:7:9: 'memory' is '{size}'. Expected a size: a whole number with M (MiB) or G (GiB), "
        "such as 128M."
    )


def test_sizes_are_mebibytes(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + "memory: 2G\nvolumes: {d: {mount: /d, size: 64M}}\n")
    composition = project.composition("demo")
    assert (composition.memory, composition.volumes[0].size) == (2048, 64)


# extends

BASE = "schema: 1\nname: base\nsummary: Base\nkernel: tiny\nmachine: pc\ncomponents: [app]\n"


def test_extends_merges_mappings_and_replaces_lists(project: Project, write: Write) -> None:
    write("compositions/base.yaml", BASE + "environment: {A: '1', B: '2'}\narguments: [x, y]\n")
    write(
        "compositions/demo.yaml",
        "schema: 1\nname: demo\nsummary: Demo\nextends: base\nenvironment: {B: '3'}\narguments: [z]\n",
    )
    composition = project.composition("demo")
    assert composition.environment == (("A", "1"), ("B", "3"))
    assert composition.arguments == ("z",)
    assert composition.summary == "Demo"
    assert [origin.path for origin in composition.files] == ["compositions/demo.yaml", "compositions/base.yaml"]
    assert str(composition.kernel.location) == "compositions/base.yaml:4:9"


def test_a_wrong_value_that_was_merged_in_is_told_where_it_stands(project: Project, write: Write) -> None:
    write("compositions/base.yaml", BASE + "memroy: 1G\n")
    write("compositions/demo.yaml", "schema: 1\nname: demo\nsummary: Demo\nextends: base\ncpus: x\n")
    assert composition_words(project) == (
        "compositions/base.yaml:7:1: unknown key 'memroy'. Did you mean 'memory'?\n"
        "compositions/demo.yaml:5:7: 'cpus' must be a whole number, not 'x'."
    )


def test_extending_what_does_not_exist(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + "extends: bass\n")
    assert composition_words(project) == (
        "compositions/demo.yaml:7:10: there is no composition 'bass'. Compositions: demo."
    )


def test_extends_in_a_circle(project: Project, write: Write) -> None:
    head = "schema: 1\nsummary: x\n"
    write("compositions/demo.yaml", head + "name: demo\nextends: b\n")
    write("compositions/b.yaml", head + "name: b\nextends: c\n")
    write("compositions/c.yaml", head + "name: c\n\nextends: b\n")
    assert composition_words(project) == (
        "compositions/b.yaml:4:10: 'extends' goes round in a circle: b -> c -> b. Remove one of these lines "
        "('c' says so at compositions/c.yaml:5:10)."
    )


def test_extending_itself(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + "extends: demo\n")
    assert composition_words(project) == (
        "compositions/demo.yaml:7:10: 'extends' goes round in a circle: demo -> demo. Remove one of these lines."
    )


# variables


def test_variables_keep_their_type_where_they_stand_alone(project: Project, write: Write) -> None:
    write(
        "compositions/demo.yaml",
        COMPOSITION
        + "variables: {n: 2, who: you, size: 64}\n"
        + 'cpus: "${n}"\nmemory: "${size}M"\narguments: ["${n}", "${n}-${who}", "${other:-none}", "$${n}", "a$$b"]\n',
    )
    composition = project.composition("demo")
    assert (composition.cpus, composition.memory) == (2, 64)
    assert composition.arguments == ("2", "2-you", "none", "${n}", "a$b")
    assert composition.variables == (("n", "2"), ("who", "you"), ("size", "64"))


def test_variables_are_overridden(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + 'variables: {n: 1}\ncpus: "${n}"\narguments: ["${x:-1}"]\n')
    composition = project.composition("demo", {"n": "4", "x": "given"})
    assert (composition.cpus, composition.arguments) == (4, ("given",))
    assert composition.variables == (("n", "4"),)


def test_a_composition_s_variables_reach_what_it_extends(project: Project, write: Write) -> None:
    write("compositions/base.yaml", BASE + 'variables: {n: 1, m: "${n}${n}"}\narguments: ["${m}"]\n')
    write("compositions/demo.yaml", "schema: 1\nname: demo\nsummary: D\nextends: base\nvariables: {n: 7}\n")
    assert project.composition("demo").arguments == ("77",)


def test_an_unknown_variable(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + 'variables: {limit: 1}\narguments: ["--limit", "${limt}"]\n')
    assert composition_words(project) == (
        "compositions/demo.yaml:8:24: unknown variable 'limt' in '${limt}'. Did you mean 'limit'?"
    )


def test_an_unknown_variable_where_none_is_declared(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + 'hostname: "h${n}"\n')
    assert composition_words(project) == (
        "compositions/demo.yaml:7:11: unknown variable 'n' in 'h${n}'. Give it a default under 'variables'.\n"
        "compositions/demo.yaml:7:11: 'hostname' is 'h${n}'. Expected a host name: letters, digits, '-' and '.', at "
        "most 64."
    )


def test_an_override_of_a_variable_that_the_composition_lacks(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + 'variables: {limit: 1}\narguments: ["${limit}"]\n')
    with pytest.raises(UsageError) as caught:
        project.composition("demo", {"limt": "5"})
    assert str(caught.value) == "the composition has no variable 'limt'.\nDid you mean 'limit'?"


def test_a_variable_that_stands_for_itself(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", COMPOSITION + 'variables:\n  a: "${b}"\n  b: "x${a}"\narguments: ["${a}"]\n')
    assert composition_words(project).splitlines()[0] == (
        "compositions/demo.yaml:8:6: the variable 'b' stands for itself: b -> a -> b."
    )


@pytest.mark.parametrize("mark", ["$limit", "${}", "${limit", "cost: 5$"])
def test_a_lone_dollar_sign(project: Project, write: Write, mark: str) -> None:
    write("compositions/demo.yaml", COMPOSITION + f'variables: {{limit: 1}}\narguments: ["{mark}"]\n')
    sign = {"$limit": "$", "cost: 5$": "$"}.get(mark, mark)
    assert composition_words(project) == (
        f"compositions/demo.yaml:8:13: '{sign}' in '{mark}' is not a variable. Write ${{name}} for a variable's value "
        "and $$ for a dollar sign."
    )


def test_components_take_dollar_signs_as_they_are(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT + 'arguments: ["${x}", "$"]\n')
    assert project.component("app").arguments == ("${x}", "$")


# sources


def test_a_source_name_that_means_two_things(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT + "sources: {z: {deb: zlib1g}}\n")
    write("kernels/tiny/kernel.yaml", KERNEL + "sources: {z: {deb-src: zlib}}\n")
    with pytest.raises(ModelError) as caught:
        project.sources()
    assert str(caught.value) == (
        "components/app/component.yaml:10:11: the source 'z' is something else at kernels/tiny/kernel.yaml:8:11. Give "
        "one of them another name."
    )


def test_local_sources_are_named_from_the_root(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT + "sources: {d: {file: d.bin}}\n")
    write("components/app/d.bin", "x")
    assert [spec.package for spec in project.sources()] == ["components/app/d.bin"]


def test_a_source_from_two_places(project: Project, write: Write) -> None:
    write("components/app/component.yaml", COMPONENT + "sources: {z: {deb: zlib1g, npm: zlib}}\n")
    assert component_words(project) == (
        "components/app/component.yaml:10:28: 'sources.z' has 'deb' and 'npm'; only one of them can hold. Keep one."
    )
