"""The kernel `linux`: configured by what a plan asks for; exact words for what Kconfig does not take; its bytes."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from rumpel.build import toolchain
from rumpel.build.api import BuildOptions, build
from rumpel.build.kernel_linux_config import AskedBy, Configure, asked_by, values_of
from rumpel.build.kernel_linux_make import make
from rumpel.build.kernel_linux_source import source_tree
from rumpel.build.plans import unpacker
from rumpel.build.step import Workspace
from rumpel.errors import BuildError
from rumpel.model.lock import load_lock
from rumpel.model.project import Project
from rumpel.places import cache_dir
from rumpel.resolve.plan import Plan
from rumpel.resolve.resolver import Overrides, resolve
from rumpel.sources import Store, ensure

ROOT = Path(__file__).parents[2]
BASE = "kernels/linux/base.config"
DRIVER = "hal/drivers/probe/driver.yaml"

pytestmark = pytest.mark.slow

# Folders and files of what a kernel is compiled to, as make knows them
OBJECTS = ("init/", "arch/x86/entry/", "kernel/printk/", "lib/crc32.o", "mm/slub.o")

MAX_BZIMAGE = 3_300_000
MAX_IMAGE = 6_000_000


def plan_of(composition: str, machine: str = "microvm") -> Plan:
    lock = load_lock(ROOT / "rumpel.lock")
    effective = ensure(lock, ["linux-source"], Store()).lock
    return resolve(Project([ROOT]), composition, effective, Overrides(kernel="linux", machine=machine))


def configuration(folder: Path, plan: Plan, *more: AskedBy, base: str = "") -> dict[str, str]:
    """The symbols that are on for a plan and what `more` asks for; `base` is added to the base configuration."""
    written = folder / DRIVER
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(
        "name: probe\nkernels:\n" + "".join(f"  linux: {{kconfig: [{', '.join(m.symbols)}]}}\n" for m in more)
    )
    start = folder / "base.config"
    start.write_text((ROOT / BASE).read_text() + base)
    workspace = Workspace(root=folder, unpack=unpacker(), others=(ROOT,))
    step = Configure(
        part="kernel/linux",
        source=next(source for source in plan.sources if source.name == "linux-source"),
        tools=toolchain.detect(),
        base=BASE,
        asked=(*asked_by(plan), *more),
    )
    step.run(workspace, [start], [folder / "config"])
    return values_of((folder / "config").read_text())


def probe(*symbols: str) -> AskedBy:
    return AskedBy(part="driver/probe", path=DRIVER, symbols=symbols)


def test_a_plan_without_network_and_volume_has_neither_in_its_kernel(tmp_path: Path) -> None:
    values = configuration(tmp_path, plan_of("hello"))
    for symbol in ("NET", "INET", "BLOCK", "EXT4_FS", "VIRTIO", "PCI", "HW_RANDOM", "MODULES"):
        assert symbol not in values
    assert values["SERIAL_8250_CONSOLE"] == "y"


def test_what_the_drivers_and_optional_parts_of_a_plan_ask_for_is_on(tmp_path: Path) -> None:
    plan = plan_of("sqlite-web")
    values = configuration(tmp_path, plan)
    asked = {symbol for part in asked_by(plan) for symbol in part.symbols}
    assert {"INET", "VIRTIO_MMIO_CMDLINE_DEVICES", "VIRTIO_BLK", "EXT4_FS"} <= asked
    assert asked <= {symbol for symbol, value in values.items() if value == "y"}
    assert "PCI" not in values
    on_q35 = configuration(tmp_path, plan_of("sqlite-web", "q35"))
    assert on_q35["VIRTIO_PCI"] == "y"
    assert "VIRTIO_MMIO" not in on_q35


def test_plans_with_a_disk_ask_for_the_same_in_the_same_order_and_share_one_kernel() -> None:
    asked = asked_by(plan_of("sqlite-web"))
    assert asked == asked_by(plan_of("nginx")) == asked_by(plan_of("node-service"))
    assert [part.part for part in asked] == sorted({part.part for part in asked})
    assert asked != asked_by(plan_of("sqlite-web", "q35"))


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (
            "VIRTO_NET",
            "{place} asks for the Kconfig symbol 'VIRTO_NET', which Linux {version} does not have.\n"
            "Did you mean 'VIRTIO_NET'?",
        ),
        (
            "VIRTIO_NET",
            "{place} asks for the Kconfig symbol 'VIRTIO_NET', but Kconfig left it off: it depends on 'NETDEVICES' and "
            "'NET_CORE' and 'VIRTIO', which do not hold.\n"
            f"Ask for what it depends on as well, or remove 'VIRTIO_NET', in {DRIVER}.",
        ),
        (
            "E1000E",
            "{place} asks for the Kconfig symbol 'E1000E', but Kconfig left it off: it depends on 'NETDEVICES' and "
            "'ETHERNET' and 'NET_VENDOR_INTEL' and 'PCI', which do not hold.\n"
            f"Ask for what it depends on as well, or remove 'E1000E', in {DRIVER}.",
        ),
        (
            "LIBCRC32C",
            "",
        ),
        (
            "LRU_CACHE",
            "{place} asks for the Kconfig symbol 'LRU_CACHE', but it cannot be asked for: it has no prompt; what "
            "switches it on: 'BLK_DEV_DRBD'.\n"
            f"Remove 'LRU_CACHE' in {DRIVER}; ask for what switches it on.",
        ),
        (
            "HZ_250",
            "kernels/linux/base.config:{hz_100}:1: the base configuration asks for the Kconfig symbol 'HZ_100', but "
            f"only one of its choice can be on, and 'HZ_250' is, which the driver 'probe' asks for ({DRIVER}:3:21).\n"
            "Remove one of the two.",
        ),
    ],
)
def test_an_option_that_kconfig_does_not_take_is_an_error_with_its_reason(
    symbol: str, words: str, tmp_path: Path
) -> None:
    plan = plan_of("hello")
    if not words:  # it exists, has a prompt and nothing that it depends on: it is taken
        assert configuration(tmp_path, plan, probe(symbol))[symbol] == "y"
        return
    with pytest.raises(BuildError) as caught:
        configuration(tmp_path, plan, probe(symbol))
    lines = (ROOT / BASE).read_text().splitlines()
    assert str(caught.value) == words.format(
        place=f"{DRIVER}:3:21: the driver 'probe'",
        version=next(source for source in plan.sources if source.name == "linux-source").version.split("-")[0],
        hz_100=lines.index("CONFIG_HZ_100=y") + 1,
    )


def test_two_parts_that_ask_for_opposite_values_are_named_with_their_places(tmp_path: Path) -> None:
    lines = len((ROOT / BASE).read_text().splitlines())
    with pytest.raises(BuildError) as caught:
        configuration(tmp_path, plan_of("hello"), probe("EXT4_FS"), base="# CONFIG_EXT4_FS is not set\n")
    assert str(caught.value) == (
        f"{DRIVER}:3:21: the driver 'probe' asks for the Kconfig symbol 'EXT4_FS' to be 'y', but the base "
        f"configuration asks for 'n' ({BASE}:{lines + 1}:1).\nRemove one of the two."
    )


def test_an_option_that_is_to_be_off_and_is_switched_on_by_another_is_an_error(tmp_path: Path) -> None:
    lines = len((ROOT / BASE).read_text().splitlines())
    with pytest.raises(BuildError) as caught:
        configuration(tmp_path, plan_of("hello"), probe("BLOCK", "EXT4_FS"), base="# CONFIG_CRYPTO_CRC32C is not set\n")
    assert str(caught.value) == (
        f"{BASE}:{lines + 1}:1: the base configuration asks for the Kconfig symbol 'CRYPTO_CRC32C' to be 'n', but "
        f"Kconfig made it 'y'; it is switched on by 'EXT4_FS' and 'JBD2'.\nCorrect it in {BASE}."
    )


def test_a_line_that_is_none_of_a_configuration_is_an_error_with_its_place(tmp_path: Path) -> None:
    lines = len((ROOT / BASE).read_text().splitlines())
    with pytest.raises(BuildError) as caught:
        configuration(tmp_path, plan_of("hello"), base="CONFIG_NET is not set\n")
    assert str(caught.value) == (
        f"{BASE}:{lines + 1}:1: 'CONFIG_NET is not set' is not a line of a configuration.\n"
        "Write 'CONFIG_NAME=y', '# CONFIG_NAME is not set', or a comment that begins with '# '."
    )


@pytest.mark.timeout(1500)
def test_the_kernel_and_the_image_are_small_and_the_manifest_holds_its_other_forms() -> None:
    manifest = build("sqlite-web", BuildOptions(kernel="linux"))
    forms = {file.path: (file.format, file.size) for file in manifest.debug}
    assert manifest.kernel.format == "pvh"
    assert forms["debug/bzImage"][0] == "bzimage"
    assert forms["debug/bzImage"][1] <= MAX_BZIMAGE
    assert forms["debug/vmlinux"][0] == "elf"
    assert forms["debug/kernel.config"][0] == "text"
    assert manifest.kernel.size + manifest.rootfs.size <= MAX_IMAGE
    lines: list[str] = []
    again = build("sqlite-web", BuildOptions(kernel="linux"), progress=lines.append)
    assert again == manifest
    assert lines == ["build/sqlite-web/linux-microvm is up to date."]


def compiled(
    folder: Path, sources: Path, cache: Path, config: bytes, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """Objects by their names in `folder`: some of what a kernel is made of, with what is generated for it."""
    monkeypatch.setenv("RUMPEL_CACHE", str(cache))  # where ccache keeps what it has seen
    folder.mkdir(parents=True)
    (folder / ".config").write_bytes(config)
    make(Workspace(root=folder, unpack=unpacker()), sources, folder, "prepare", *OBJECTS)
    return {str(path.relative_to(folder)): path.read_bytes() for name in OBJECTS for path in objects(folder, name)}


def objects(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).rglob("*.o")) if name.endswith("/") else [folder / name]


@pytest.mark.timeout(900)
def test_objects_compiled_elsewhere_of_sources_elsewhere_have_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that names its own file, assembly, the vDSO, generated tables, what tells the version, the user and the
    time: in other folders, with nothing kept of the first time. A whole kernel takes ten times as long."""
    plan = plan_of("hello")
    configuration(tmp_path, plan)
    config = (tmp_path / "config").read_bytes()
    source = next(source for source in plan.sources if source.name == "linux-source")
    tree = source_tree(Workspace(root=tmp_path, unpack=unpacker()), source)
    elsewhere = tmp_path / "sources" / "linked"
    elsewhere.parent.mkdir()
    subprocess.run(["cp", "--recursive", "--symbolic-link", str(tree), str(elsewhere)], check=True)
    first = compiled(tmp_path / "one", tree, tmp_path / "cache", config, monkeypatch)
    second = compiled(tmp_path / "further" / "down", elsewhere, tmp_path / "another", config, monkeypatch)
    assert len(first) > 20
    assert [name for name in first if second.get(name) != first[name]] == []
    assert first.keys() == second.keys()


@pytest.mark.timeout(1500)
def test_a_kernel_does_not_say_where_when_or_by_whom_it_was_built() -> None:
    manifest = build("sqlite-web", BuildOptions(kernel="linux"))
    folder = ROOT / manifest.directory
    config = (folder / "debug/kernel.config").read_text()
    for name in (manifest.kernel.path, "debug/vmlinux", "debug/bzImage"):
        content = (folder / name).read_bytes()
        for word in (str(ROOT), str(cache_dir()), f"{tempfile.gettempdir()}/rumpel-", str(Path.home() / ".cache")):
            assert word.encode() not in content, (name, word)
            assert word not in config
    symbols = (folder / "debug/vmlinux").read_bytes()
    assert re.search(
        rb"Linux version [\d.]+-rumpel \(rumpel@rumpel\) [^\0]* #1 SMP Wed Jan  1 00:00:00 UTC 2020\n", symbols
    )
