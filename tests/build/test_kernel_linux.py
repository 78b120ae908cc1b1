"""The kernel `linux`: configured by what a plan asks for; exact words for what Kconfig does not take; its bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rumpel.build import toolchain
from rumpel.build.api import BuildOptions, build
from rumpel.build.kernel_linux_config import AskedBy, Configure, asked_by, values_of
from rumpel.build.plans import unpacker
from rumpel.build.step import Workspace
from rumpel.errors import BuildError
from rumpel.model.lock import load_lock
from rumpel.model.project import Project
from rumpel.places import store_dir
from rumpel.resolve.plan import Plan
from rumpel.resolve.resolver import Overrides, resolve
from rumpel.sources import Store, ensure

from .conftest import make_cache

ROOT = Path(__file__).parents[2]
BASE = "kernels/linux/base.config"
DRIVER = "hal/drivers/probe/driver.yaml"

pytestmark = pytest.mark.slow

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


@pytest.mark.timeout(2400)
def test_a_second_clean_build_elsewhere_gives_the_same_bytes_and_shows_its_progress(tmp_path: Path) -> None:
    """Another project folder, another cache: other paths of sources and of objects, nothing compiled before."""
    first = build("hello", BuildOptions(kernel="linux"))
    project = tmp_path / "elsewhere"
    project.mkdir()
    cache = make_cache(tmp_path / "cache", store_dir())
    command = [sys.executable, "-m", "SCons", "-Q", "-f", str(ROOT / "SConstruct"), "-C", str(project)]
    done = subprocess.run(
        [*command, "composition=hello", "kernel=linux"],
        env={**os.environ, "RUMPEL_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=2300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("KERNEL objects: ") >= 3
    folder = project / first.directory
    for file in (first.kernel, first.rootfs, *first.debug):
        assert (folder / file.path).read_bytes() == (ROOT / first.directory / file.path).read_bytes(), file.path
