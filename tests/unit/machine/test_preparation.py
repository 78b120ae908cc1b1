"""What a start asks for is checked before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from rumpel.errors import UsageError
from rumpel.machine.instance import Image, Options
from rumpel.machine.preparation import place_of, prepare
from rumpel.resolve.plan import PLAN_SCHEMA, Kernel, Machine, Plan, Ready, Settings, Volume
from rumpel.resolve.settings import StartSettings, VolumeStart

IMAGE = Image(kernel="/no/such/kernel")
SECRET = StartSettings(secrets=(("token", b"hunter2"),), environment=(("A", "1"),))


def plan(*, init: tuple[str, ...] = ("init.c",), kernel: Literal["debian", "nano"] = "debian") -> Plan:
    return Plan(
        schema=PLAN_SCHEMA, composition="web", summary="", machine=Machine(name="microvm", qemu_machine="microvm"),
        kernel=Kernel(name=kernel, recipe=kernel, directory=f"kernels/{kernel}", summary="", init=init),
        drivers=(), devices=(), components=(), settings=Settings(), ports=(), ready=Ready(kind="exit"),
        volumes=(Volume(name="data", mount="/data", size=8, serial="data"),), sources=(), reasons=(), capabilities=(),
    )  # fmt: skip


def test_what_stays_in_the_hosts_file_is_all_but_the_secrets() -> None:
    prepared = prepare(plan(), IMAGE, Options(settings=SECRET))
    assert prepared.confidential
    assert prepared.settings == prepared.open_settings + b"secret=token=hunter2\0"
    assert b"env=A=1\0" in prepared.open_settings
    assert not prepare(plan(), IMAGE, Options()).confidential


def test_a_kernel_that_gives_no_secrets_is_not_asked_to() -> None:
    with pytest.raises(UsageError) as caught:
        prepare(plan(init=()), IMAGE, Options(settings=SECRET))
    assert str(caught.value) == (
        "The kernel 'debian' gives a program no secrets.\n"
        "Choose 'nano', or one with Rumpel's init, such as 'linux' or 'debian'."
    )
    assert prepare(plan(init=(), kernel="nano"), IMAGE, Options(settings=SECRET)).confidential


def test_a_start_says_which_image_and_which_size_a_volume_has(tmp_path: Path) -> None:
    data = VolumeStart(name="data", file=str(tmp_path / "x.ext4"), size=16)
    place = place_of(plan(), IMAGE, Options(name="one", settings=StartSettings(volumes=(data,))))
    assert (place.instance, place.files, place.sizes) == ("one", {"data": tmp_path / "x.ext4"}, {"data": 16})
    place = place_of(
        plan(), IMAGE, Options(settings=StartSettings(volumes=(VolumeStart(name="data", read_only=True),)))
    )
    assert (place.instance, place.files, place.sizes) == ("web", {}, {})
