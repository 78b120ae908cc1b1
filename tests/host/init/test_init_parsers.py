"""Init's parsers, compiled for the host under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
INIT = ROOT / "kernels" / "init"
PURE = [INIT / name for name in ("settings.c", "fwcfg.c", "dhcp.c")]
SANITIZE = ["clang", "-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-sanitize-recover=all", f"-I{INIT}"]
HARDWARE = bytes.fromhex("525400123456")

Run = Callable[..., str]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the driver with its subcommand and one file for each block of input; answers with what it printed."""
    folder = tmp_path_factory.mktemp("init")
    driver = folder / "driver"
    sources = [Path(__file__).with_name("driver.c"), *PURE]
    subprocess.run([*SANITIZE, "-fsanitize=address,undefined", "-o", driver, *sources], check=True, timeout=120)

    def call(subcommand: str, *blocks: bytes) -> str:
        paths = []
        for number, block in enumerate(blocks):
            paths.append(folder / f"input{number}")
            paths[-1].write_bytes(block)
        done = subprocess.run([driver, subcommand, *paths], capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("latin-1")

    return call


def records(*lines: str) -> bytes:
    return b"".join(line.encode() + b"\0" for line in ("schema=1", *lines))


def test_the_host_replaces_groups_whole_and_the_environment_by_name(run: Run) -> None:
    image = records(
        "program=/bin/web", "arg=a", "arg=b", "env=A=1", "env=B=2", "hostname=image", "volume=old,/old,ext4,rw"
    )
    host = records("arg=c", "env=B=3=4", "env=C=", "volume=data,/srv/data,ext4,ro", "clock=-5")
    assert run("settings", image, host).splitlines() == [
        "program /bin/web", "arg c", "env A=1", "env B=3=4", "env C=", "hostname image",
        "volume data at /srv/data ro", "clock -5",
    ]  # fmt: skip


def test_what_the_host_does_not_mention_stays(run: Run) -> None:
    image = records("program=/bin/web", "arg=a", "volume=d,/d,ext4,rw", "net=static,10.0.2.15/24,10.0.2.2,10.0.2.3")
    assert run("settings", image, records()) == run("settings", image, b"") == run("settings", image)
    assert "net 1 0a00020f/24 0a000202 0a000203" in run("settings", image)


def test_a_network_needs_neither_gateway_nor_name_server(run: Run) -> None:
    assert "net 1 c0a80001/32 00000000 00000000\n" in run(
        "settings", records("program=/p", "net=static,192.168.0.1/32,,")
    )
    assert "net 2 00000000/0" in run("settings", records("program=/p", "net=dhcp"))


def test_an_address_of_ipv6_is_taken_and_taken_back(run: Run) -> None:
    image = records("program=/p", "net6=static,fd00:2::15/64,fd00:2::2,2001:db8::53")
    assert "net6 fd00:2::15 fd00:2::2 2001:db8::53\n" in run("settings", image)
    assert "net6 fd00:2::9 :: ::\n" in run("settings", image, records("net6=static,FD00:2:0:0:0:0:0:9/64,,"))
    assert "net6" not in run("settings", image, records("net6=auto"))


NET6 = "The setting 'net6' of the image is '{}': {}."
NET = "The setting 'net' of the image is '{}': {}."
CLOCK = "The setting 'clock' of the image is '{}': it must be whole seconds, at most a century either way."
MOUNT = "its mount point must be an absolute path below '/'"
VOLUME = "The setting 'volume' of the image is '{}': {}."


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"program=/p\0", "The settings of the image do not begin with 'schema=1'."),
        (b"schema=2\0", "The settings of the image do not begin with 'schema=1'."),
        (b"schema=1\0program=/p", "The settings of the image are cut off: the last record has no end."),
        (records("program"), "The settings of the image have a record without '=': 'program'."),
        (records("colour=red\x1b"), "the image has a setting 'colour', which is not known."),
        (records("arg=x"), "The settings name no program to start."),
        (records("schema=1"), "The setting 'schema' of the image is '1': it was given before."),
        (records("program=/a", "program=/b"), "The setting 'program' of the image is '/b': it was given before."),
        (records("program=a"), "The setting 'program' of the image is 'a': it must be an absolute path of a file."),
        (records("env=TOKEN"), "The setting 'env' of the image is '...': it must be 'NAME=VALUE'."),
        (records("env==x"), "The setting 'env' of the image is '...': it must be 'NAME=VALUE'."),
        (records("hostname=-a"), "The setting 'hostname' of the image is '-a': it is not a host name."),
        (records("hostname=a..b"), "The setting 'hostname' of the image is 'a..b': it is not a host name."),
        (records("hostname="), "The setting 'hostname' of the image is '': it is not a host name."),
        (records("clock=1h"), CLOCK.format("1h")),
        (records("clock=99999999999999999999"), CLOCK.format("99999999999999999999")),
        (records("net=auto"), NET.format("auto", "it must be 'dhcp' or 'static,ADDRESS/BITS,GATEWAY,NAMESERVER'")),
        (records("net=static,10.0.2/24,,"), NET.format("static,10.0.2/24,,", "its address is not an IPv4 address")),
        (
            records("net=static,10.0.2.256/24,,"),
            NET.format("static,10.0.2.256/24,,", "its address is not an IPv4 address"),
        ),
        (
            records("net=static,10.0.2.15/33,,"),
            NET.format("static,10.0.2.15/33,,", "its address must be followed by '/' and a prefix length from 1 to 32"),
        ),
        (
            records("net=static,10.0.2.15/24,10.0.3.1,"),
            NET.format("static,10.0.2.15/24,10.0.3.1,", "its gateway is outside of the address's network"),
        ),
        (
            records("net=static,10.0.2.15/24,,8.8.8.8,9"),
            NET.format(
                "static,10.0.2.15/24,,8.8.8.8,9", "its name server must be an IPv4 address or nothing, at the end"
            ),
        ),
        (records("net6=dhcp"), NET6.format("dhcp", "it must be 'auto' or 'static,ADDRESS/64,GATEWAY,NAMESERVER'")),
        (records("net6=static,::/64,,"), NET6.format("static,::/64,,", "its address is not an IPv6 address")),
        (records("net6=static,1::2::3/64,,"), NET6.format("static,1::2::3/64,,", "its address is not an IPv6 address")),
        (
            records("net6=static,fd00::1/48,,"),
            NET6.format("static,fd00::1/48,,", "its address must be followed by '/64'"),
        ),
        (
            records("net6=static,fd00::1/64,x,"),
            NET6.format("static,fd00::1/64,x,", "its gateway must be an IPv6 address or nothing, between commas"),
        ),
        (
            records("net6=static,fd00::1/64,fd01::2,"),
            NET6.format("static,fd00::1/64,fd01::2,", "its gateway is outside of the address's network"),
        ),
        (
            records("net6=static,fd00::1/64,,::5,"),
            NET6.format("static,fd00::1/64,,::5,", "its name server must be an IPv6 address or nothing, at the end"),
        ),
        (records("volume=d,/d,ext4"), VOLUME.format("d,/d,ext4", "it must be 'SERIAL,MOUNTPOINT,ext4,rw' or '...,ro'")),
        (records("volume=d,/d/../e,ext4,rw"), VOLUME.format("d,/d/../e,ext4,rw", MOUNT)),
        (records("volume=d,/,ext4,rw"), VOLUME.format("d,/,ext4,rw", MOUNT)),
        (records("volume=d,/d,xfs,rw"), VOLUME.format("d,/d,xfs,rw", "the only filesystem is 'ext4'")),
        (records("volume=d,/d,ext4,rx"), VOLUME.format("d,/d,ext4,rx", "it must end with 'rw' or 'ro'")),
        (
            records("volume=012345678901234567890,/d,ext4,rw"),
            VOLUME.format("012345678901234567890,/d,ext4,rw", "its serial must have 1 to 20 characters"),
        ),
        (
            records("volume=d,/d,ext4,rw", "volume=d,/e,ext4,rw"),
            VOLUME.format("d,/e,ext4,rw", "its serial or mount point is taken by a volume before it"),
        ),
        (
            records("arg=x", "clear=arg"),
            "The setting 'clear' of the image is 'arg': it must stand once, before the records of that key.",
        ),
        (
            records("clear=volume", "clear=volume"),
            "The setting 'clear' of the image is 'volume': it must stand once, before the records of that key.",
        ),
        (records("clear=env"), "The setting 'clear' of the image is 'env': it must be 'arg' or 'volume'."),
        *(
            (
                records(bad),
                "The setting 'secret' of the image is '...': it must be 'NAME=VALUE', the name of letters, digits, "
                "'.', '_' and '-'.",
            )
            for bad in (
                "secret=hunter2",
                "secret==hunter2",
                "secret=../x=hunter2",
                "secret=.x=y",
                f"secret={'n' * 65}=y",
            )
        ),
        (records("program=/p") + b"arg=" + b"x" * 65536 + b"\0", "The settings of the image are larger than 64 KiB."),
    ],
)
def test_a_wrong_setting_is_named_with_the_reason(run: Run, bad: bytes, words: str) -> None:
    assert run("settings", bad) == words + "\n"


def test_the_host_can_say_that_there_are_no_arguments_and_no_volumes(run: Run) -> None:
    image = records("program=/p", "arg=a", "arg=b", "volume=d,/d,ext4,rw", "env=A=1")
    assert run("settings", image, records("clear=arg", "clear=volume")) == "program /p\nenv A=1\n"
    assert "arg c\n" in run("settings", image, records("clear=arg", "arg=c"))


def test_secrets_are_taken_whole_and_the_last_of_a_name_counts(run: Run) -> None:
    host = records("secret=token=a=b\nc ", "secret=empty=", "secret=token=second", f"secret={'n' * 64}=long")
    assert run("settings", records("program=/p"), host).splitlines() == [
        "program /p", "secret token is second", "secret empty is ", f"secret {'n' * 64} is long",
    ]  # fmt: skip
    assert "secret token is a=b\nc \n" in run("settings", records("program=/p", "secret=token=a=b\nc "))


def test_more_secrets_than_there_is_room_for_are_refused(run: Run) -> None:
    fits = records("program=/p", *[f"secret=s{number}=x" for number in range(64)])
    assert run("settings", fits).count("secret ") == 64
    assert run("settings", fits, records("secret=one-more=x")) == (
        "The setting 'secret' of the host is '...': there are more than 64 secrets.\n"
    )


def test_more_arguments_than_there_is_room_for_are_refused(run: Run) -> None:
    fits = records("program=/p", *["arg=x"] * 1024)
    assert run("settings", fits).count("arg x\n") == 1024
    too_many = records("program=/p", *["arg=x"] * 1025)
    assert run("settings", too_many) == "The setting 'arg' of the image is 'x': there are more than 1024 arguments.\n"


def item(key: int, data: bytes) -> bytes:
    return struct.pack(">HI", key, len(data)) + data


def entry(name: bytes, key: int, size: int) -> bytes:
    return struct.pack(">IHH56s", size, key, 0, name)


def device(*entries: bytes, count: int | None = None, files: bytes = b"") -> bytes:
    directory = struct.pack(">I", len(entries) if count is None else count) + b"".join(entries)
    return item(0, b"QEMU") + item(0x19, directory) + files


SETTINGS = b"opt/rumpel/settings"


@pytest.mark.parametrize(
    ("bytes_of_device", "answer"),
    [
        (device(entry(b"etc/e820", 0x20, 9), entry(SETTINGS, 0x21, 4), files=item(0x21, b"text")), "ok 4 text"),
        (device(entry(SETTINGS, 0x21, 0)), "ok 0 "),
        (device(entry(b"opt/rumpel/settings2", 0x21, 4)), "no file 0 "),
        (device(), "no file 0 "),
        (item(0, b"NONE"), "no device 0 "),
        (b"", "no device 0 "),
        (device(entry(SETTINGS, 0x21, 17)), "too large 0 "),
        (device(entry(SETTINGS, 0x21, 0xFFFFFFFF)), "too large 0 "),
        (device(entry(SETTINGS, 0x19, 4)), "damaged 0 "),
        (device(count=0x10000), "damaged 0 "),
        (device(entry(b"x" * 56, 0x20, 4)), "damaged 0 "),
    ],
)
def test_a_file_of_fw_cfg_is_found_by_its_whole_name(run: Run, bytes_of_device: bytes, answer: str) -> None:
    assert run("fwcfg", bytes_of_device) == answer + "\n"


def reply(*options: bytes, address: str = "0a00020f", transaction: int = 0x01020304) -> bytes:
    head = struct.pack(">4BIHH", 2, 1, 6, 0, transaction, 0, 0) + bytes(4) + bytes.fromhex(address) + bytes(8)
    return (head + HARDWARE).ljust(236, b"\0") + bytes([99, 130, 83, 99]) + b"".join(options)


def option(number: int, value: str) -> bytes:
    data = bytes.fromhex(value)
    return bytes([number, len(data)]) + data


OFFER = option(53, "02")
FULL_OFFER = [OFFER, option(54, "0a000202"), b"\0\0", option(1, "ffffff00"), option(3, "0a0002020a000203"), b"\xff"]
NOTHING_ELSE = "server 00000000 gateway 00000000 nameserver 00000000"


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (
            reply(*FULL_OFFER),
            "kind 2 address 0a00020f/24 server 0a000202 gateway 0a000202 nameserver 00000000",
        ),
        (reply(OFFER, option(1, "ff00ff00")), f"kind 2 address 0a00020f/0 {NOTHING_ELSE}"),
        (reply(option(53, "06"), address="00000000"), f"kind 6 address 00000000/0 {NOTHING_ELSE}"),
        (reply(OFFER, transaction=1), "no reply"),
        (reply(OFFER, address="e0000001"), "no reply"),
        (reply(OFFER, address="7f000001"), "no reply"),
        (reply(OFFER, b"\x06\x04\x0a"), "no reply"),
        (reply(OFFER, b"\x06"), "no reply"),
        (reply(option(53, "01")), "no reply"),
        (reply(OFFER)[:239], "no reply"),
        (b"", "no reply"),
    ],
)
def test_a_dhcp_answer_is_taken_only_where_it_is_whole_and_ours(run: Run, message: bytes, answer: str) -> None:
    assert run("dhcp", message) == answer + "\n"


def test_a_dhcp_request_names_the_address_and_the_server_that_offered_it(run: Run) -> None:
    message = run("dhcp-request").encode("latin-1")
    assert len(message) == 300
    assert message[:4] == bytes([1, 1, 6, 0])
    assert message[4:8] == bytes([1, 2, 3, 4])
    assert message[28:34] == HARDWARE
    options = option(53, "03") + option(50, "0a00020f") + option(54, "0a000202") + option(55, "010306") + b"\xff"
    assert message[240:] == options.ljust(60, b"\0")


def test_a_renewal_names_the_address_that_the_device_has_and_no_server(run: Run) -> None:
    message = run("dhcp-renewal").encode("latin-1")
    assert message[:16] == bytes([1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0x0A, 0, 2, 0x0F])  # no broadcast; ciaddr
    assert message[240:].rstrip(b"\0") == option(53, "03") + option(55, "010306") + b"\xff"


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ([option(51, "00000e10")], "1800 3149 3600"),
        ([option(51, "00000e10"), option(58, "0000003c"), option(59, "00000078")], "60 120 3600"),
        ([option(51, "00000e10"), option(58, "00000e10"), option(59, "0000ffff")], "1800 3149 3600"),
        ([option(51, "00000e10"), option(58, "00000e00"), option(59, "00000001")], "1800 3149 3600"),
        ([option(51, "00000001")], "2 3 4"),
        ([option(51, "ffffffff")], "4294967295 4294967295 4294967295"),
        ([], "4294967295 4294967295 4294967295"),
    ],
)
def test_the_times_of_a_lease_are_in_order_whatever_the_server_says(run: Run, options: list[bytes], times: str) -> None:
    assert run("dhcp-times", reply(option(53, "05"), *options)) == times + "\n"


@pytest.mark.slow
def test_no_input_breaks_the_parsers(tmp_path: Path) -> None:
    """A few seconds of fuzzing from the kept corpus; `tests/fuzz/init/parsers.c` runs as long as one likes by hand."""
    target = tmp_path / "parsers"
    folder = ROOT / "tests" / "fuzz" / "init"
    sources = [str(path) for path in (folder / "parsers.c", *PURE)]
    build = [*SANITIZE, "-fsanitize=fuzzer,address,undefined", "-o", str(target), *sources]
    subprocess.run(build, check=True, timeout=120)
    found = tmp_path / "found"
    found.mkdir()
    limits = ["-max_total_time=5", "-max_len=4096", "-print_final_stats=0", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run([target, *limits, found, folder / "corpus"], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]


def test_the_disk_of_the_root_filesystem_is_found_by_its_serial(run: Run) -> None:
    assert run("settings", records("program=/bin/web", "root=rootfs,erofs")).splitlines()[-1] == "root rootfs"
    replaced = run("settings", records("program=/bin/web", "root=rootfs,erofs"), records("root=" + 20 * "x" + ",erofs"))
    assert replaced.splitlines()[-1] == "root " + 20 * "x"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (",erofs", "its serial must have 1 to 20 characters"),
        (21 * "x" + ",erofs", "its serial must have 1 to 20 characters"),
        ("rootfs", "it must be 'SERIAL,erofs'"),
        ("rootfs,ext4", "it must be 'SERIAL,erofs'"),
        ("rootfs,erofs,", "it must be 'SERIAL,erofs'"),
    ],
)
def test_a_wrong_disk_of_the_root_filesystem_is_told(run: Run, value: str, why: str) -> None:
    said = run("settings", records("program=/bin/web", f"root={value}"))
    assert said.strip().endswith(f"The setting 'root' of the image is '{value}': {why}.")


def test_the_disk_of_the_root_filesystem_is_named_once(run: Run) -> None:
    said = run("settings", records("program=/bin/web", "root=a,erofs", "root=b,erofs"))
    assert said.strip().endswith("The setting 'root' of the image is 'b,erofs': it was given before.")
