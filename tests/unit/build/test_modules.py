"""Kernel modules: what the plan names, with what it depends on, in load order. The modules are real ELF objects."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rumpel.build.modules import WantedModule, load_order, read_tree
from rumpel.errors import BuildError


def _module(folder: Path, name: str, *info: str) -> None:
    source = folder / f"{name}.s"
    strings = "".join(f'.asciz "{entry}"\n' for entry in ("license=GPL", *info))
    source.write_text(f'.section .modinfo,"a"\n{strings}')
    subprocess.run(["as", "-o", str(source.with_suffix(".ko")), str(source)], check=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "6.1.0-test"
    (folder / "kernel/drivers").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/lib/crc-core.ko\nkernel/fs/ext4/ext4.ko\n")
    _module(folder / "kernel/drivers", "virtio", "depends=")
    _module(folder / "kernel/drivers", "virtio_ring", "depends=virtio,crc_core")
    _module(folder / "kernel/drivers", "virtio-rng", "depends=virtio_ring,virtio")
    _module(folder / "kernel/drivers", "soft", "depends=", "softdep=pre: virtio-rng nowhere post: virtio_ring")
    _module(folder / "kernel/drivers", "broken", "depends=gone")
    return folder


def _order(tree: Path, *names: str) -> list[str]:
    wanted = tuple(WantedModule(part="driver/a-driver", module=name) for name in names)
    return [path.name for path in load_order(read_tree(tree), wanted)]


def test_a_module_comes_after_everything_that_it_depends_on(tree: Path) -> None:
    assert _order(tree, "virtio_rng") == ["virtio.ko", "virtio_ring.ko", "virtio-rng.ko"]


def test_a_module_that_is_needed_twice_is_loaded_once(tree: Path) -> None:
    assert _order(tree, "virtio-rng", "virtio_ring", "virtio") == ["virtio.ko", "virtio_ring.ko", "virtio-rng.ko"]


def test_a_module_built_into_the_kernel_is_left_out(tree: Path) -> None:
    assert _order(tree, "ext4", "crc_core") == []


def test_a_soft_dependency_is_loaded_before_where_it_exists(tree: Path) -> None:
    assert _order(tree, "soft") == ["virtio.ko", "virtio_ring.ko", "virtio-rng.ko", "soft.ko"]


def test_a_module_that_the_kernel_lacks_names_driver_module_and_kernel(tree: Path) -> None:
    with pytest.raises(BuildError) as caught:
        _order(tree, "nvme")
    assert str(caught.value) == (
        "The driver 'a-driver' needs the kernel module 'nvme'; the kernel 6.1.0-test has it neither built in nor as a "
        "module.\nCorrect 'modules' in the description file of driver 'a-driver', or choose another kernel."
    )


def test_a_dependency_that_the_kernel_lacks_names_who_depends_on_it(tree: Path) -> None:
    with pytest.raises(BuildError) as caught:
        _order(tree, "broken")
    assert caught.value.message == (
        "The driver 'a-driver' needs the kernel module 'gone' (which 'broken' depends on); the kernel 6.1.0-test has "
        "it neither built in nor as a module."
    )


def test_a_folder_without_a_list_of_built_in_modules_is_no_kernel(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        read_tree(tmp_path)
    assert "has no list of built-in modules ('modules.builtin')." in str(caught.value)
