"""What does not fit together: every message names the parts and the ways out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rumpel.errors import ModelError, ResolveError, RumpelError, UsageError
from rumpel.model.lock import Lock, LockEntry, LockFile
from rumpel.model.project import Project
from rumpel.resolve.plan import Plan
from rumpel.resolve.resolver import Overrides, resolve

Write = Callable[[str, str], None]

HEAD = "schema: 1\nsummary: x\n"
COMPONENT = HEAD + "license: MIT\nkind: c\nc: {}\n"
PROGRAM = COMPONENT + "role: program\nentry: /bin/app\n"
LIBRARY = COMPONENT + "role: library\n"
DEMO = HEAD + "name: demo\nkernel: tiny\nmachine: pc\ncomponents: [app]\n"
APP = PROGRAM + "name: app\nready: {exit: true}\n"


def driver_text(name: str, provides: str, needs: str = "", more: str = "", kernel: str = "tiny") -> str:
    text = HEAD + f"name: {name}\nprovides: [{provides}]\nkernels: {{{kernel}: {{builtin: true}}}}\n"
    return text + (f"needs: [{needs}]\n" if needs else "") + more


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of the project: a path below its root, and its text."""
    monkeypatch.chdir(tmp_path)

    def write_file(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write_file


@pytest.fixture
def project(tmp_path: Path, write: Write) -> Project:
    """A project whose composition 'demo' resolves; the tests break it before it is read."""
    write(
        "hal/machines/pc/machine.yaml",
        HEAD + 'name: pc\narchitecture: x86_64\nprovides: ["bus:isa", clock]\nqemu: {machine: pc}\n',
    )
    kernel = HEAD + "recipe: nano\nmachines: [pc]\ncommand_line: {common: [quiet]}\n"
    write("kernels/tiny/kernel.yaml", kernel + "name: tiny\nprovides: [threads]\n")
    write(
        "kernels/big/kernel.yaml",
        kernel + "name: big\nprovides: [threads, fork]\noptional: {volume: {needs: [block], because: ext4}}\n",
    )
    write(
        "hal/drivers/uart/driver.yaml", driver_text("uart", "console", '"bus:isa"', kernel="big: {builtin: true}, tiny")
    )
    write("components/app/component.yaml", APP)
    write("compositions/demo.yaml", DEMO)
    return Project([tmp_path])


def demo(project: Project, lock: Lock | None = None, overrides: Overrides | None = None) -> Plan:
    return resolve(project, "demo", lock or Lock(), overrides)


def words(project: Project, lock: Lock | None = None, overrides: Overrides | None = None) -> str:
    with pytest.raises(RumpelError) as caught:
        demo(project, lock, overrides)
    return str(caught.value)


def test_the_project_resolves_before_it_is_broken(project: Project) -> None:
    assert [driver.name for driver in demo(project).drivers] == ["uart"]


def test_an_unknown_component(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", DEMO.replace("[app]", "[app, ap, zzz]"))
    with pytest.raises(ModelError) as caught:
        demo(project)
    assert str(caught.value) == (
        "compositions/demo.yaml:6:19: there is no component 'ap'. Did you mean 'app'?\n"
        "compositions/demo.yaml:6:23: there is no component 'zzz'. Components: app."
    )


def test_an_unknown_kernel(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", DEMO.replace("tiny", "tinny"))
    assert words(project) == "compositions/demo.yaml:4:9: there is no kernel 'tinny'. Did you mean 'tiny'?"


def test_an_unknown_kernel_that_was_asked_for(project: Project) -> None:
    with pytest.raises(UsageError) as caught:
        demo(project, overrides=Overrides(kernel="bgi"))
    assert str(caught.value) == "there is no kernel 'bgi'.\nDid you mean 'big'?"


def test_a_kernel_that_does_not_boot_on_the_machine(project: Project, write: Write) -> None:
    write(
        "hal/machines/arm/machine.yaml",
        HEAD + 'name: arm\narchitecture: x86_64\nprovides: ["bus:isa"]\nqemu: {machine: virt}\n',
    )
    assert words(project, overrides=Overrides(machine="arm")) == (
        "compositions/demo.yaml:5:10: kernel 'tiny' does not boot on machine 'arm'; machines that it boots on: pc.\n"
        "Choose one of them: 'machine:' in the composition, or --machine."
    )


def test_a_need_that_another_kernel_provides(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [threads, fork]\n")
    with pytest.raises(ResolveError) as caught:
        demo(project)
    assert str(caught.value) == (
        "components/app/component.yaml:10:18: component 'app' needs 'fork'; kernel 'tiny' does not provide it; kernels "
        "that do: big.\nChoose one of them: 'kernel:' in the composition, or --kernel."
    )
    assert caught.value.parts == ("component/app", "kernel/tiny")


def test_a_need_that_another_component_provides(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [sql]\n")
    write("components/sqlite/component.yaml", LIBRARY + "name: sqlite\nprovides: [sql]\n")
    assert words(project) == (
        "components/app/component.yaml:10:9: component 'app' needs 'sql'; no component of the composition provides it; "
        "components that do: sqlite.\nAdd one to the composition's 'components'."
    )


def test_a_need_that_another_machine_provides(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [tpm]\n")
    write(
        "hal/machines/safe/machine.yaml",
        HEAD + "name: safe\narchitecture: x86_64\nprovides: [tpm]\nqemu: {machine: q35}\n",
    )
    assert words(project) == (
        "components/app/component.yaml:10:9: component 'app' needs 'tpm'; machine 'pc' does not provide it; machines "
        "that do: safe.\nChoose one of them: 'machine:' in the composition, or --machine."
    )


def test_a_need_that_nothing_provides(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [thread]\n")
    assert words(project) == (
        "components/app/component.yaml:10:9: component 'app' needs 'thread', which no part provides.\n"
        "Did you mean 'threads'?"
    )
    write("components/app/component.yaml", APP + "needs: [quantum]\n")
    assert words(Project(project.roots)) == (
        "components/app/component.yaml:10:9: component 'app' needs 'quantum', which no part provides.\n"
        "Remove the need, or add a part that provides it."
    )


def test_a_driver_that_cannot_be_used_says_what_it_lacks(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [net]\n")
    write("hal/drivers/nic/driver.yaml", driver_text("nic", "net", '"bus:pci"'))
    write("hal/drivers/pci/driver.yaml", driver_text("pci", '"bus:pci"', '"bus:pci-host"'))
    write("hal/drivers/other/driver.yaml", driver_text("other", "net", kernel="big"))
    assert words(project) == (
        "components/app/component.yaml:10:9: component 'app' needs 'net'; no driver can provide it on machine 'pc' "
        "with kernel 'tiny': 'nic': 'pci' needs 'bus:pci-host', which nothing here provides; 'other' is not made "
        "for kernel 'tiny', only for: big.\nChoose another machine or kernel."
    )


def test_two_drivers_that_could_each_provide_a_need(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [net]\n")
    write("hal/drivers/e1000/driver.yaml", driver_text("e1000", "net"))
    write("hal/drivers/ne2k/driver.yaml", driver_text("ne2k", "net"))
    with pytest.raises(ResolveError) as caught:
        demo(project)
    assert str(caught.value) == (
        "components/app/component.yaml:10:9: component 'app' needs 'net'; the drivers 'e1000' and 'ne2k' could each "
        "provide it.\nSay which one in the composition: 'drivers: [e1000]' or 'drivers: [ne2k]'."
    )
    assert caught.value.parts == ("driver/e1000", "driver/ne2k")


def test_the_way_out_of_an_ambiguous_need_works(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [net]\n")
    write("hal/drivers/e1000/driver.yaml", driver_text("e1000", "net"))
    write("hal/drivers/ne2k/driver.yaml", driver_text("ne2k", "net"))
    write("compositions/demo.yaml", DEMO + "drivers: [ne2k]\n")
    assert [driver.name for driver in demo(project).drivers] == ["ne2k", "uart"]


def test_a_driver_that_fits_the_machine_is_taken_without_asking(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [net]\n")
    write("hal/drivers/isa-nic/driver.yaml", driver_text("isa-nic", "net", '"bus:isa"'))
    write("hal/drivers/pci-nic/driver.yaml", driver_text("pci-nic", "net", '"bus:pci"'))
    assert [driver.name for driver in demo(project).drivers] == ["uart", "isa-nic"]


def test_two_drivers_for_one_device(project: Project, write: Write) -> None:
    matches = 'matches: ["{}"]\n'
    write("hal/drivers/good/driver.yaml", driver_text("good", "net", more=matches.format("pci:v1AF4*sv*")))
    write("hal/drivers/greedy/driver.yaml", driver_text("greedy", "block", more=matches.format("pci:v*d1*")))
    write("compositions/demo.yaml", DEMO + "drivers: [good, greedy]\n")
    assert words(project) == (
        "hal/drivers/greedy/driver.yaml: the drivers 'good' and 'greedy' both drive the device 'pci:v1AF4*sv*' "
        "(pci:v*d1*).\nRemove 'good' or 'greedy' from the composition's 'drivers'."
    )


def test_two_drivers_for_one_device_that_are_both_needed(project: Project, write: Write) -> None:
    matches = 'matches: ["pci:v1*"]\n'
    write("components/app/component.yaml", APP + "needs: [net, block]\n")
    write("hal/drivers/one/driver.yaml", driver_text("one", "net", more=matches))
    write("hal/drivers/two/driver.yaml", driver_text("two", "block", more=matches))
    assert words(project) == (
        "hal/drivers/two/driver.yaml: the drivers 'one' and 'two' both drive the device 'pci:v1*'.\n"
        "Make the 'matches' of one of them narrower."
    )


def test_drivers_that_need_each_other(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [net]\n")
    write("hal/drivers/a/driver.yaml", driver_text("a", "net", "x"))
    write("hal/drivers/b/driver.yaml", driver_text("b", "x", "y"))
    write("hal/drivers/c/driver.yaml", driver_text("c", "y", "x"))
    with pytest.raises(ResolveError) as caught:
        demo(project)
    assert str(caught.value) == (
        "components/app/component.yaml:10:9: component 'app' needs 'net'; the drivers for it need each other in a "
        "circle: b -> c -> b.\nRemove one of these needs from its 'driver.yaml'."
    )
    assert caught.value.parts == ("component/app", "driver/b", "driver/c")


def test_libraries_that_use_each_other(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "libraries: [one]\n")
    write("components/one/component.yaml", LIBRARY + "name: one\nlibraries: [two]\n")
    write("components/two/component.yaml", LIBRARY + "name: two\nlibraries: [one]\n")
    assert words(project) == (
        "components/one/component.yaml: the libraries use each other in a circle: one -> two -> one.\n"
        "Remove one of these names from 'libraries', or make one component of them."
    )


def test_two_programs(project: Project, write: Write) -> None:
    write("components/more/component.yaml", APP.replace("name: app", "name: more"))
    write("compositions/demo.yaml", DEMO.replace("[app]", "[app, more]"))
    assert words(project) == (
        "compositions/demo.yaml:6:14: the composition 'demo' has 2 programs: 'app' and 'more'; it can have only one.\n"
        "Remove the others from 'components'."
    )


def test_no_program(project: Project, write: Write) -> None:
    write("components/one/component.yaml", LIBRARY + "name: one\n")
    write("compositions/demo.yaml", DEMO.replace("[app]", "[one]"))
    assert words(project) == (
        "compositions/demo.yaml:6:14: the composition 'demo' has no program: 'one' is only linked or copied into one.\n"
        "Add a component with 'role: program' to 'components'."
    )


def test_a_library_that_is_made_for_another_program(project: Project, write: Write) -> None:
    write("components/web/component.yaml", APP.replace("name: app", "name: web"))
    write("components/pages/component.yaml", LIBRARY + "name: pages\nlibraries: [web]\n")
    write("compositions/demo.yaml", DEMO.replace("[app]", "[app, pages]"))
    assert words(project) == (
        "components/pages/component.yaml:8:13: component 'pages' is made for the program 'web', but the program of "
        "'demo' is 'app'.\nLeave out 'pages', or take 'web' as the program."
    )


def test_a_volume_that_is_needed_and_missing(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [volume]\n")
    assert words(project, overrides=Overrides(kernel="big")) == (
        "components/app/component.yaml:10:9: component 'app' needs 'volume', but the composition 'demo' has no "
        "volume.\nAdd one: 'volumes: {data: {mount: /data, size: 64M}}'."
    )


def test_a_volume_on_a_kernel_without_volumes(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", DEMO + "volumes: {data: {mount: /data, size: 64M}}\n")
    assert words(project) == (
        "compositions/demo.yaml:7:11: composition 'demo' needs 'volume'; kernel 'tiny' does not provide it; kernels "
        "that do: big.\nChoose one of them: 'kernel:' in the composition, or --kernel."
    )


def test_a_source_that_is_not_pinned(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "sources: {zlib: {deb: zlib1g}}\n")
    assert words(project) == (
        "components/app/component.yaml:10:11: the source 'zlib' of component 'app' is not in the lock file.\n"
        "Run `rumpel lock --update zlib`."
    )


def test_a_pin_of_something_else(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "sources: {zlib: {deb: zlib1g}}\n")
    file = LockFile(name="zlib.tar", sha256="a" * 64, size=1)
    lock = Lock(entries=(LockEntry(name="zlib", kind="deb-src", package="zlib", version="1", files=(file,)),))
    assert words(project, lock) == (
        "components/app/component.yaml:10:11: the source 'zlib' of component 'app' is deb 'zlib1g', but the lock file "
        "pins deb-src 'zlib'.\nRun `rumpel lock --update zlib`."
    )


PORTED = PROGRAM + "name: app\nneeds: []\nports: {http: {port: 80}}\nready: {port: http}\n"


def test_a_port_needs_a_network(project: Project, write: Write) -> None:
    write("components/app/component.yaml", PORTED)
    assert words(project) == (
        "components/app/component.yaml:10:9: component 'app' needs 'net', which no part provides.\n"
        "Remove the need, or add a part that provides it."
    )


def test_an_unknown_port_of_a_composition(project: Project, write: Write) -> None:
    write("hal/drivers/nic/driver.yaml", driver_text("nic", "net"))
    write("components/app/component.yaml", PORTED)
    write("compositions/demo.yaml", DEMO + "ports: {htp: {host: 8080}}\n")
    assert words(project) == "compositions/demo.yaml:7:9: there is no port 'htp'. Did you mean 'http'?"


def test_an_unknown_port_that_was_asked_for(project: Project, write: Write) -> None:
    write("hal/drivers/nic/driver.yaml", driver_text("nic", "net"))
    write("components/app/component.yaml", PORTED)
    assert words(project, overrides=Overrides(ports=(("https", 1),))) == (
        "the composition 'demo' has no port 'https'.\nDid you mean 'http'?"
    )


def test_readiness_by_an_unknown_port(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", DEMO + "ready: {port: http}\n")
    assert words(project) == (
        "compositions/demo.yaml:7:8: 'ready' names the unknown port 'http'. Ports: there are none."
    )


def test_two_components_on_one_port(project: Project, write: Write) -> None:
    write("hal/drivers/nic/driver.yaml", driver_text("nic", "net"))
    write("components/app/component.yaml", PORTED)
    write("components/lib/component.yaml", LIBRARY + "name: lib\nports: {api: {port: 80}}\n")
    write("compositions/demo.yaml", DEMO.replace("[app]", "[app, lib]"))
    assert words(project) == (
        "components/lib/component.yaml:8:9: the components 'app' and 'lib' both listen on port 'http' (80/tcp).\n"
        "Leave one of them out of the composition."
    )


def test_components_that_disagree_about_the_environment(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "environment: {MODE: a}\n")
    write("components/lib/component.yaml", LIBRARY + "name: lib\nenvironment: {MODE: b}\n")
    text = DEMO.replace("[app]", "[app, lib]")
    write("compositions/demo.yaml", text)
    assert words(project) == (
        "components/lib/component.yaml: the components 'app' and 'lib' set the variable 'MODE' to different values: "
        "'a' and 'b'.\nSay which one holds under the composition's 'environment'."
    )
    write("compositions/demo.yaml", text + "environment: {MODE: c}\n")
    assert demo(Project(project.roots)).settings.environment == (("MODE", "c"),)


def test_a_driver_without_a_model_for_the_bus(project: Project, write: Write) -> None:
    device = 'device: {backend: none, models: {"bus:pci-host": nic-pci}}\n'
    write("hal/drivers/nic/driver.yaml", driver_text("nic", "net", '"bus:isa"', device))
    write("components/app/component.yaml", APP + "needs: [net]\n")
    assert words(project) == (
        "hal/drivers/nic/driver.yaml: driver 'nic' has a QEMU model for 'bus:pci-host' only; on machine 'pc' it rests "
        "on 'bus:isa'.\nAdd the model under 'device.models' of the driver."
    )


def test_two_components_that_provide_what_a_third_needs(project: Project, write: Write) -> None:
    write("components/app/component.yaml", APP + "needs: [sql]\n")
    for name in ("one", "two"):
        write(f"components/{name}/component.yaml", LIBRARY + f"name: {name}\nprovides: [sql]\n")
    write("compositions/demo.yaml", DEMO.replace("[app]", "[app, one, two]"))
    assert words(project) == (
        "components/app/component.yaml:10:9: component 'app' needs 'sql'; the components 'one' and 'two' each provide "
        "it.\nRemove all but one from the composition's 'components'."
    )


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("{address: 999.0.2.15/24}", "The address '999.0.2.15' is not an IPv4 address."),
        ("{address: 10.0.2.15/31}",
         "The prefix of the address '10.0.2.15/31' must be from 8 to 29, so that the gateway "
         "and the name server have room beside the guest."),
        ("{gateway: 10.0.3.2}", "The gateway '10.0.3.2' is outside of the guest's network, 10.0.2.0/24."),
        ("{nameserver: 10.0.2.300}", "The name server '10.0.2.300' is not an IPv4 address."),
        ("{address: dhcp, gateway: 10.0.2.9}",
         "With the address 'dhcp' the gateway and the name server are what the DHCP server says."),
        ("{address6: 'fd00:2::15/48'}",
         "The prefix of the IPv6 address 'fd00:2::15/48' must be 64: the other half names the machine."),
        ("{gateway6: 'fd00:2::2'}",
         "With the IPv6 address 'auto' the gateway is what a router announces, and there is no name server."),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_is_said_when_the_plan_is_made(
    project: Project, write: Write, network: str, says: str
) -> None:
    write("compositions/demo.yaml", DEMO + f"network: {network}\n")
    assert words(project) == f"compositions/demo.yaml:7:10: {says}\nCorrect 'network' in the composition."


def test_an_address_of_ipv6_stands_in_the_plan_in_one_form(project: Project, write: Write) -> None:
    network = "{address6: 'FD00:2:0::00:015/64', gateway6: 'fd00:2:0:0:0:0:0:2', nameserver6: '2001:DB8::0:9'}"
    write("compositions/demo.yaml", DEMO + f"network: {network}\n")
    settings = demo(project).settings
    assert (settings.address6, settings.gateway6) == ("fd00:2::15/64", "fd00:2::2")
    assert settings.nameserver6 == "2001:db8::9"


def test_a_composition_may_ask_for_dhcp(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", DEMO + "network: {address: dhcp}\n")
    assert demo(project).settings.address == "dhcp"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('hostname: "a_b"', "11: 'hostname' is 'a_b'. Expected a host name: letters, digits, '-' and '.', at most 64."),
        ("hostname: box-.org",
         "11: 'hostname' is 'box-.org'. Expected a host name: letters, digits, '-' and '.', at most 64."),
        ("network: {address: 10.0.2.15}",
         "20: 'network.address' is '10.0.2.15'. Expected 'dhcp', or an IPv4 address with its prefix, such as "
         "10.0.2.15/24."),
        ("network: {gateway: fe80::2}",
         "20: 'network.gateway' is 'fe80::2'. Expected an IPv4 address, such as 10.0.2.2."),
    ],
)  # fmt: skip
def test_a_host_name_or_an_address_that_is_not_one_is_said_with_its_place(
    project: Project, write: Write, line: str, says: str
) -> None:
    write("compositions/demo.yaml", DEMO + f"{line}\n")
    with pytest.raises(ModelError) as caught:
        demo(project)
    assert str(caught.value) == f"compositions/demo.yaml:7:{says}"


def test_a_host_name_may_have_dots_and_capital_letters(project: Project, write: Write) -> None:
    write("compositions/demo.yaml", DEMO + "hostname: Box.example\n")
    assert demo(project).settings.hostname == "Box.example"


def test_less_memory_than_the_kernel_takes_is_said_when_the_plan_is_made(project: Project, write: Write) -> None:
    kernel = HEAD + "recipe: nano\nmachines: [pc]\ncommand_line: {common: [quiet]}\nname: tiny\nprovides: [threads]\n"
    write("kernels/tiny/kernel.yaml", kernel + "memory: 72M\n")
    assert demo(project).kernel.memory == 72
    assert words(project, overrides=Overrides(memory=71)).startswith(
        "compositions/demo.yaml: 71M of memory is too little: "
    )
    write("compositions/demo.yaml", DEMO + "memory: 16M\n")
    assert words(Project(project.roots)) == (
        "compositions/demo.yaml:7:9: 16M of memory is too little: the kernel 'tiny' does not start a program in less "
        "than 72M.\nGive the composition more 'memory', or choose a smaller kernel."
    )


BROKEN = {
    "component": ("components/other/component.yaml", "name: other\nsumary: x\nprovides: [quantum]\n"),
    "driver": ("hal/drivers/other/driver.yaml", "name: [\n"),
    "machine": ("hal/machines/other/machine.yaml", "name: 3\n"),
    "kernel": ("kernels/other/kernel.yaml", "name: other\nrecipe: none\n"),
    "composition": ("compositions/other.yaml", "name: other\nkernel: [\n"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_that_the_composition_does_not_use_changes_no_byte_of_its_plan(
    project: Project, write: Write, tmp_path: Path, kind: str
) -> None:
    before = demo(project).to_json()
    write(*BROKEN[kind])
    assert demo(Project([tmp_path])).to_json() == before


@pytest.mark.parametrize("kind", ["component", "driver", "machine", "kernel"])
def test_a_broken_file_that_is_named_is_an_error(project: Project, write: Write, kind: str) -> None:
    path, text = BROKEN[kind]
    write(path, text)
    write("compositions/demo.yaml", DEMO.replace("[app]", "[app, other]") if kind == "component" else DEMO)
    if kind == "driver":
        write("compositions/demo.yaml", DEMO + "drivers: [other]\n")
    overrides = {"machine": Overrides(machine="other"), "kernel": Overrides(kernel="other")}
    assert words(project, overrides=overrides.get(kind)).startswith(f"{path}:")


def test_broken_files_that_may_provide_what_is_missing_are_named_with_what_is_wrong_in_them(
    project: Project, write: Write
) -> None:
    write("components/app/component.yaml", APP + "needs: [quantum]\n")
    write("components/part/component.yaml", LIBRARY + "name: part\nprovides: [teleport]\nsumary: y\n")
    says = (
        "components/app/component.yaml:10:9: component 'app' needs 'quantum', which no part provides.\n"
        "Remove the need, or add a part that provides it."
    )
    assert words(project) == says
    write("components/other/component.yaml", LIBRARY + "name: other\nprovides: [quantum]\nsumary: y\n")
    says += "\nWhat provides it may be in this file, which could not be read:\n"
    other = "components/other/component.yaml:9:1: unknown key 'sumary'. Did you mean 'summary'?"
    assert words(Project(project.roots)) == says + other
    write(*BROKEN["driver"])
    says = says.replace("this file,", "these files,")
    assert words(Project(project.roots)) == (
        f"{says}{other}\n"
        "hal/drivers/other/driver.yaml:2:1: this is not valid YAML, at the end of the file: did not find expected node "
        "content while parsing a flow node that starts on line 2."
    )


def test_the_file_of_a_c_library_that_cannot_be_read_is_an_error_where_the_kernels_init_needs_it(
    project: Project, write: Write, tmp_path: Path
) -> None:
    kernel = (tmp_path / "kernels/tiny/kernel.yaml").read_text()
    write("kernels/tiny/kernel.yaml", kernel + "init: true\n")
    libc = LIBRARY.replace("c: {}", "c: {sysroot: true}") + "name: libc\n"
    write("components/libc/component.yaml", libc)
    assert "libc" in [each.name for each in demo(project).components]
    write("components/libc/component.yaml", libc + "sumary: y\n")
    assert words(Project(project.roots)) == (
        "components/libc/component.yaml:8:1: unknown key 'sumary'. Did you mean 'summary'?"
    )
