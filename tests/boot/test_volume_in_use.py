"""A volume belongs to one running machine, whoever started it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from tests.boot.conftest import Boot, PlanFactory

from rumpel.errors import VolumeError
from rumpel.machine.instance import Image, Options, print_command
from rumpel.machine.registry import list_instances
from rumpel.resolve.plan import Volume

pytestmark = pytest.mark.boot

DATA = Volume(name="data", mount="/data", size=8, serial="data")


@pytest.mark.parametrize("machine", ["microvm", "q35"])
def test_volume_is_a_disk_of_the_machine(boot: Boot, plan_of: PlanFactory, machine: str) -> None:
    instance = boot(plan_of("stop", machine=machine, volume=DATA))
    [disk] = instance.qmp("query-block")
    assert disk["inserted"]["file"].endswith("/volumes/floor/data.ext4")
    assert disk["inserted"]["image"]["virtual-size"] == 8 << 20
    assert disk["inserted"]["cache"] == {"no-flush": False, "direct": False, "writeback": True}


def test_second_instance_with_the_same_volume_is_refused_and_the_first_goes_on(
    boot: Boot, plan_of: PlanFactory, tmp_path: Path
) -> None:
    first = boot(plan_of("stop", volume=DATA), name="one", volumes=str(tmp_path))
    first.wait_ready()
    with pytest.raises(VolumeError) as caught:
        boot(plan_of("stop", volume=DATA), name="two", volumes=str(tmp_path))
    assert str(caught.value) == (
        f"The volume 'data' is in use by another instance: {tmp_path}/data.ext4.\n"
        "Stop that instance ('rumpel ps' lists what runs); nothing was changed."
    )
    assert [seen.record.name for seen in list_instances()] == ["one"]
    assert first.stop(30) == "asked"
    boot(plan_of("stop", volume=DATA), name="two", volumes=str(tmp_path)).wait_ready()


def test_volume_is_free_after_a_kill(boot: Boot, plan_of: PlanFactory) -> None:
    first = boot(plan_of("stop", volume=DATA))
    first.wait_ready()
    first.kill()
    boot(plan_of("stop", volume=DATA)).wait_ready()


def test_machine_started_by_hand_holds_its_volume_too(boot: Boot, plan_of: PlanFactory, floor: Image) -> None:
    line = print_command(plan_of("deaf", volume=DATA), floor, Options(accelerator="tcg"))
    by_hand = subprocess.Popen(shlex.split(line), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert by_hand.stdout is not None
        assert by_hand.stdout.readline() == b"READY\n"
        with pytest.raises(VolumeError, match="is in use by another instance"):
            boot(plan_of("stop", volume=DATA))
    finally:
        by_hand.kill()
        by_hand.communicate()


def test_line_by_hand_does_not_take_a_volume_from_a_running_instance(
    boot: Boot, plan_of: PlanFactory, floor: Image
) -> None:
    instance = boot(plan_of("stop", volume=DATA))
    instance.wait_ready()
    line = print_command(plan_of("stop", volume=DATA), floor, Options(accelerator="tcg"))
    done = subprocess.run(
        shlex.split(line), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, text=True
    )
    assert done.returncode == 1
    assert 'Failed to get "write" lock' in done.stderr
    assert instance.stop(30) == "asked"
