"""The kernel with its root on a disk, and the program that reads a tree, each built once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.abi import nano


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano kernel that reads its root filesystem from a disk."""
    drivers = (*nano.DRIVERS, "virtio-blk")
    return nano.build_kernel(tmp_path_factory.mktemp("kernel") / "kernel", drivers, ("root-disk",))


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `read_tree`."""
    source = Path(__file__).with_name("programs") / "read_tree.c"
    return nano.compile_static(source, tmp_path_factory.mktemp("reader") / "program", "gcc")
