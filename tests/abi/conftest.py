"""The kernel that the programs run on, built once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.abi import nano


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano kernel without network."""
    return nano.build_kernel(tmp_path_factory.mktemp("kernel") / "kernel")


@pytest.fixture(scope="session")
def network_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano kernel with TCP/IP, which has the loopback interface without any device."""
    return nano.build_kernel(tmp_path_factory.mktemp("network-kernel") / "kernel", groups=("net",))
