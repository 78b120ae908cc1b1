"""Which QEMU made a recording."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rumpel.errors import HostError
from rumpel.machine.emulator import find_qemu
from rumpel.machine.recording import qemu_version


def test_a_qemu_tells_its_version() -> None:
    assert re.match(r"\d+\.\d+\.", qemu_version(find_qemu("system")))


@pytest.mark.parametrize(
    ("content", "why"), [("no program\n", "Exec format error"), ("#!/no/such/shell\n", "No such file or directory")]
)
def test_a_qemu_that_cannot_be_run_is_named_with_the_reason(tmp_path: Path, content: str, why: str) -> None:
    program = tmp_path / "qemu"
    program.write_text(content)
    program.chmod(0o755)
    with pytest.raises(HostError) as caught:
        qemu_version(str(program))
    assert caught.value.message == f"QEMU's program '{program}' cannot be run: {why}."
