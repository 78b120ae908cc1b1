"""The guest's settings: the records of a plan, and their bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpel.errors import UsageError
from rumpel.resolve.plan import (
    CBuild,
    Component,
    Device,
    Kernel,
    Machine,
    Plan,
    Ready,
    Settings,
    Source,
    SourceFile,
    Volume,
)
from rumpel.resolve.settings import MAX_SETTINGS_BYTES, Record, StartSettings, encode_settings, settings_of

SCHEMA = Record(key="schema", value="1")


def test_a_record_is_its_key_its_value_and_one_nul() -> None:
    records = [SCHEMA, Record(key="arg", value="a=b c"), Record(key="env", value="NAME=")]
    assert encode_settings(records) == b"schema=1\0arg=a=b c\0env=NAME=\0"


def test_the_defaults_of_a_plan_are_written_in_the_order_that_the_guest_expects() -> None:
    assert [f"{record.key}={record.value}" for record in settings_of(small_plan())] == [
        "schema=1",
        "program=/bin/web",
        "arg=--flag",
        "env=LIMIT=10",
        "hostname=rumpel",
        "net=static,10.0.2.15/24,10.0.2.2,10.0.2.3",
        "volume=data,/data,ext4,rw",
    ]


def test_what_a_start_asks_for_replaces_arguments_and_merges_the_environment_by_name() -> None:
    asked = StartSettings(
        arguments=("x",), environment=(("LIMIT", "5"), ("NEW", "1")), hostname="h", address="dhcp", clock=-3
    )
    assert [f"{record.key}={record.value}" for record in settings_of(small_plan(), asked)] == [
        "schema=1",
        "program=/bin/web",
        "arg=x",
        "env=LIMIT=5",
        "env=NEW=1",
        "hostname=h",
        "net=dhcp",
        "volume=data,/data,ext4,rw",
        "clock=-3",
    ]


def test_a_nul_character_in_a_value_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        encode_settings([SCHEMA, Record(key="arg", value="a\0b")])
    assert str(caught.value) == (
        "The setting 'arg' holds a NUL character: 'a\\x00b'.\n"
        "Arguments, variables and names cannot hold NUL characters; take it out."
    )


def test_an_environment_variable_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        encode_settings([SCHEMA, Record(key="env", value="=5")])
    assert str(caught.value) == "The environment variable '=5' has no name.\nWrite it as NAME=VALUE."


def test_the_largest_settings_that_the_guest_accepts_are_encoded_and_one_byte_more_is_refused() -> None:
    room = MAX_SETTINGS_BYTES - len(b"schema=1\0arg=\0")
    assert len(encode_settings([SCHEMA, Record(key="arg", value="x" * room)])) == MAX_SETTINGS_BYTES
    with pytest.raises(UsageError) as caught:
        encode_settings([SCHEMA, Record(key="arg", value="x" * (room + 1))])
    assert caught.value.message == "The settings take 65537 bytes; the guest accepts at most 65536."


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20), max_size=9))
def test_every_argument_comes_back_from_the_bytes(arguments: list[str]) -> None:
    data = encode_settings([SCHEMA, *(Record(key="arg", value=argument) for argument in arguments)])
    records = data.decode().split("\0")
    assert records[-1] == ""
    assert records[1:-1] == [f"arg={argument}" for argument in arguments]


@pytest.mark.parametrize("records", [[], [Record(key="arg", value="x")]])
def test_settings_that_do_not_begin_with_the_schema_are_a_mistake_of_the_caller(records: list[Record]) -> None:
    with pytest.raises(ValueError, match="the first record of the settings must be 'schema'"):
        encode_settings(records)


def small_plan() -> Plan:
    """One program, one network device, one volume."""
    return Plan(
        schema=1,
        composition="web",
        summary="",
        machine=Machine(name="microvm", qemu_machine="microvm"),
        kernel=Kernel(name="debian", recipe="debian", directory="kernels/debian", summary="", sources=("linux",)),
        drivers=(),
        devices=(Device(driver="virtio-net", model="virtio-net-device", backend="net-user"),),
        components=(
            Component(
                name="web",
                kind="c",
                role="program",
                directory="components/web",
                summary="",
                license="",
                c=CBuild(sources=("main.c",)),
                entry="/bin/web",
            ),
        ),
        settings=Settings(arguments=("--flag",), environment=(("LIMIT", "10"),)),
        ports=(),
        ready=Ready(kind="exit"),
        volumes=(Volume(name="data", mount="/data", size=8, serial="data"),),
        sources=(source("linux"),),
        reasons=(),
        capabilities=(),
    )


def source(name: str) -> Source:
    """A pinned source of one file."""
    return Source(
        name=name,
        kind="deb",
        package=name,
        version="1",
        files=(SourceFile(name=f"{name}.deb", sha256="0" * 64, size=1),),
    )
