"""What a start may ask for: checked in words, merged over the plan, written as the guest expects it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rumpel.errors import UsageError
from rumpel.resolve.network import is_hostname, network6_problem, network_problem
from rumpel.resolve.plan import PLAN_SCHEMA, Device, Kernel, Machine, Plan, Ready, Settings, Volume
from rumpel.resolve.settings import (
    StartSettings,
    VolumeStart,
    at_start,
    check_start,
    encode_settings,
    parse_address,
    parse_address6,
    settings_of,
)

NET = Device(driver="virtio-net", model="virtio-net-device", backend="net-user")
DISKS = tuple(
    Device(driver="virtio-blk", model="virtio-blk-device", backend="volume", volume=name) for name in ("data", "logs")
)
PLAN = Plan(
    schema=PLAN_SCHEMA, composition="web", summary="", machine=Machine(name="microvm", qemu_machine="microvm"),
    kernel=Kernel(name="debian", recipe="debian", directory="kernels/debian", summary=""), drivers=(),
    devices=(NET, *DISKS), components=(), settings=Settings(arguments=("--flag",)), ports=(), ready=Ready(kind="exit"),
    volumes=(Volume(name="data", mount="/data", size=8, serial="data"),
             Volume(name="logs", mount="/logs", size=8, serial="logs")),
    sources=(), reasons=(), capabilities=(),
)  # fmt: skip


def lines(asked: StartSettings, plan: Plan = PLAN) -> list[str]:
    return [f"{record.key}={record.value}" for record in settings_of(plan, asked)]


@pytest.mark.parametrize("name", ["a", "A1", "box.example", "a-b.c-d", "1st", "x" * 63, "x" * 60 + ".abc"])
def test_host_names_of_rfc_1123_are_taken(name: str) -> None:
    assert is_hostname(name)
    check_start(StartSettings(hostname=name))


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a..b", ".a", "a.", "a_b", "bücher", "a b", "a\n", "x" * 64, "ab." * 22]
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    assert not is_hostname(name)
    with pytest.raises(UsageError, match="is not a host name"):
        check_start(StartSettings(hostname=name))


def test_the_refusal_of_a_host_name_says_the_rule() -> None:
    with pytest.raises(UsageError) as caught:
        check_start(StartSettings(hostname="my_box"))
    assert str(caught.value) == (
        "'my_box' is not a host name.\n"
        "A host name is up to 64 letters, digits, '-' and '.'; between dots stand at most 63, the first and the last "
        "of them a letter or a digit (RFC 1123)."
    )


@pytest.mark.parametrize(
    ("address", "gateway", "nameserver", "says"),
    [
        ("10.0.2/24", "", "", "The address '10.0.2' is not an IPv4 address."),
        ("999.1.1.1/24", "", "", "The address '999.1.1.1' is not an IPv4 address."),
        ("10.0.2.015/24", "", "", "The address '10.0.2.015' is not an IPv4 address."),
        ("", "", "", "The address '' is not an IPv4 address."),
        ("fd00::2/64", "", "", "The address 'fd00::2' is an IPv6 address; the guest's network is IPv4."),
        ("10.0.2.15", "", "", "The address '10.0.2.15' has no prefix, such as '10.0.2.15/24'."),
        ("10.0.2.15/x", "", "", "The prefix of the address '10.0.2.15/x' is not a number of bits, such as 24."),
        ("10.0.2.15/33", "", "", "The prefix of the address '10.0.2.15/33' is not a number of bits, such as 24."),
        ("10.0.2.15/255.255.255.0", "", "",
         "The prefix of the address '10.0.2.15/255.255.255.0' is not a number of bits, such as 24."),
        ("10.0.2.15/31", "", "",
         "The prefix of the address '10.0.2.15/31' must be from 8 to 29, so that the gateway and "
         "the name server have room beside the guest."),
        ("10.0.2.0/24", "", "", "The address '10.0.2.0/24' is that of the network as a whole, not of a machine in it."),
        ("10.0.2.255/24", "", "",
         "The address '10.0.2.255/24' is that of the network as a whole, not of a machine in it."),
        ("127.0.0.1/8", "", "", "The address '127.0.0.1' is not an address that a machine can have."),
        ("224.0.0.1/8", "", "", "The address '224.0.0.1' is not an address that a machine can have."),
        ("10.0.2.15/24", "10.0.3.2", "", "The gateway '10.0.3.2' is outside of the guest's network, 10.0.2.0/24."),
        ("10.0.2.15/24", "10.0.2.15", "", "The gateway '10.0.2.15' is the guest's own address."),
        ("10.0.2.15/24", "gate", "", "The gateway 'gate' is not an IPv4 address."),
        ("10.0.2.15/24", "", "::1", "The name server '::1' is an IPv6 address; the guest's network is IPv4."),
        ("10.0.2.15/24", "10.0.2.2", "10.0.2.2",
         "The name server '10.0.2.2' is the gateway, too; QEMU answers names at an address of its own."),
    ],
)  # fmt: skip
def test_a_wrong_network_is_named_with_the_reason(address: str, gateway: str, nameserver: str, says: str) -> None:
    assert network_problem(address, gateway, nameserver) == says
    with pytest.raises(UsageError) as caught:
        check_start(StartSettings(address=address, gateway=gateway, nameserver=nameserver))
    assert caught.value.message == says


@pytest.mark.parametrize("address", ["dhcp", "10.0.2.15/24", "192.168.0.6/29", "10.1.2.3/8"])
def test_a_right_network_is_taken(address: str) -> None:
    assert network_problem(address, "", "") == ""


@pytest.mark.parametrize(
    ("address", "gateway", "nameserver", "says"),
    [
        ("fd00:2::g/64", "", "", "The IPv6 address 'fd00:2::g' is not one."),
        ("", "", "", "The IPv6 address '' is not one."),
        ("10.0.2.15/64", "", "", "The IPv6 address '10.0.2.15' is of IPv4."),
        ("fd00:2::15", "", "", "The IPv6 address 'fd00:2::15' has no prefix, such as 'fd00:2::15/64'."),
        ("fd00:2::15/48", "", "",
         "The prefix of the IPv6 address 'fd00:2::15/48' must be 64: the other half names the machine."),
        ("fd00:2::15/x", "", "",
         "The prefix of the IPv6 address 'fd00:2::15/x' must be 64: the other half names the machine."),
        ("fd00:2::/64", "", "",
         "The IPv6 address 'fd00:2::/64' is that of any router of the network, not of a machine in it."),
        ("::1/64", "", "", "The IPv6 address '::1' is not an address that can be given to a machine."),
        ("ff02::1/64", "", "", "The IPv6 address 'ff02::1' is not an address that can be given to a machine."),
        ("fe80::1/64", "", "", "The IPv6 address 'fe80::1' is not an address that can be given to a machine."),
        ("fd00::1%e0/64", "", "", "The IPv6 address 'fd00::1%e0' is not an address that can be given to a machine."),
        ("::ffff:10.0.2.15/64", "", "",
         "The IPv6 address '::ffff:10.0.2.15' is not an address that can be given to a machine."),
        ("fd00:2::15/64", "fd00:3::2", "",
         "The IPv6 gateway 'fd00:3::2' is outside of the guest's network, fd00:2::/64."),
        ("fd00:2::15/64", "fd00:2:0::15", "", "The IPv6 gateway 'fd00:2:0::15' is the guest's own address."),
        ("fd00:2::15/64", "gate", "", "The IPv6 gateway 'gate' is not one."),
        ("fd00:2::15/64", "", "9.9.9.9", "The IPv6 name server '9.9.9.9' is of IPv4."),
        ("fd00:2::15/64", "fd00:2::2", "fd00:2::2",
         "The IPv6 name server 'fd00:2::2' is the gateway, too; QEMU answers names at an address of its own."),
        ("auto", "fd00:2::2", "",
         "With the IPv6 address 'auto' the gateway is what a router announces, and there is no name server."),
    ],
)  # fmt: skip
def test_a_wrong_network_of_ipv6_is_named_with_the_reason(
    address: str, gateway: str, nameserver: str, says: str
) -> None:
    assert network6_problem(address, gateway, nameserver) == says
    with pytest.raises(UsageError) as caught:
        check_start(StartSettings(address6=address, gateway6=gateway, nameserver6=nameserver))
    assert str(caught.value) == (
        f"{says}\nWrite 'auto' or ADDRESS/64,GATEWAY,NAMESERVER, such as fd00:2::15/64,fd00:2::2,fd00:2::3."
    )


FIXED = msgspec.structs.replace(PLAN, settings=Settings(address6="fd00:2::15/64", gateway6="fd00:2::2"))


def test_an_address_of_ipv6_reaches_the_guest_where_one_is_fixed() -> None:
    assert not any(line.startswith("net6=") for line in lines(StartSettings()))
    assert "net6=static,fd00:2::15/64,fd00:2::2," in lines(StartSettings(), FIXED)
    asked = StartSettings(address6="fd00:7::1/64", nameserver6="2001:db8::53")
    assert "net6=static,fd00:7::1/64,,2001:db8::53" in lines(asked, FIXED)
    assert "net6=static,fd00:2::9/64,fd00:2::2," in lines(StartSettings(address6="fd00:2::9/64"), FIXED)
    assert "net6=auto" in lines(StartSettings(address6="auto"), FIXED)


def in_network6(network: str) -> st.SearchStrategy[str]:
    """Addresses of a network, their last 32 bits in dotted numbers, as RFC 4291 (2.2) allows."""

    def dotted(low: int) -> str:
        head, end = divmod(low, 1 << 32)
        whole = IPv6Address(int(IPv6Network(network).network_address) + (head << 32)).exploded
        return f"{whole.removesuffix(':0000:0000')}:{IPv4Address(end)}"

    return st.integers(1, (1 << 64) - 1).map(dotted)


@given(in_network6("fd00:2::/64"), in_network6("fd00:2::/64"), in_network6("2001:db8::/64"))
def test_an_address_of_ipv6_with_a_dotted_end_reaches_the_guest_without_dots(
    address: str, gateway: str, nameserver: str
) -> None:
    assume(address != gateway)
    asked = StartSettings(address6=f"{address}/64", gateway6=gateway, nameserver6=nameserver)
    plain = [str(IPv6Address(each)) for each in (address, gateway, nameserver)]
    [record] = [line for line in lines(asked) if line.startswith("net6=")]
    assert record == f"net6=static,{plain[0]}/64,{plain[1]},{plain[2]}"
    assert "." not in record


def test_an_address_of_ipv6_with_a_dotted_end_is_that_of_the_plan_as_the_guest_reads_it() -> None:
    asked = StartSettings(address6="fd00:2::10.0.2.15/64", gateway6="fd00:2::10.0.2.2")
    settings = at_start(PLAN, asked).settings
    assert (settings.address6, settings.gateway6) == ("fd00:2::a00:20f/64", "fd00:2::a00:202")


def test_an_address_of_ipv6_for_a_kernel_without_it_is_refused() -> None:
    slim = msgspec.structs.replace(PLAN, kernel=msgspec.structs.replace(PLAN.kernel, name="linux", recipe="linux"))
    with pytest.raises(UsageError) as caught:
        settings_of(slim, StartSettings(address6="fd00:2::15/64"))
    assert str(caught.value) == (
        "The kernel of 'web' was built without IPv6, so that it cannot have the address 'fd00:2::15/64'.\n"
        "Write an 'address6' under 'network' of the composition, or choose the kernel 'debian' or 'nano'."
    )
    able = msgspec.structs.replace(slim, kernel=msgspec.structs.replace(slim.kernel, groups=("ipv6",)))
    assert "net6=static,fd00:2::15/64,," in lines(StartSettings(address6="fd00:2::15/64"), able)


def test_an_address_of_ipv6_for_a_machine_without_a_network_is_refused() -> None:
    alone = msgspec.structs.replace(PLAN, devices=DISKS)
    with pytest.raises(UsageError) as caught:
        settings_of(alone, StartSettings(address6="fd00:2::15/64"))
    assert caught.value.message == "The composition 'web' has no network, so that 'fd00:2::15/64' would be nobody's."


def test_the_word_of_a_network_of_ipv6_is_taken_apart() -> None:
    assert parse_address6("auto") == ("auto", None, None)
    assert parse_address6("fd00:2::15/64,fd00:2::2") == ("fd00:2::15/64", "fd00:2::2", None)
    with pytest.raises(UsageError) as caught:
        parse_address6("auto,fd00:2::2")
    assert caught.value.message == "'auto,fd00:2::2' is not the setting of a network of IPv6."


@given(st.ip_addresses(v=4), st.integers(0, 33))
def test_whatever_the_address_is_the_check_answers_and_what_it_takes_is_taken_by_the_settings(
    ip: IPv4Address, bits: int
) -> None:
    problem = network_problem(f"{ip}/{bits}", "", "")
    if not problem:
        [net] = [line for line in lines(StartSettings(address=f"{ip}/{bits}")) if line.startswith("net=")]
        assert net.startswith(f"net=static,{ip}/{bits},")


def test_an_address_alone_keeps_gateway_and_name_server_only_in_its_network() -> None:
    assert "net=static,10.0.2.20/24,10.0.2.2,10.0.2.3" in lines(StartSettings(address="10.0.2.20/24"))
    assert "net=static,172.16.0.9/16,," in lines(StartSettings(address="172.16.0.9/16"))


def test_a_gateway_outside_of_the_plans_network_is_refused_without_an_address_too() -> None:
    with pytest.raises(UsageError) as caught:
        settings_of(PLAN, StartSettings(gateway="10.9.9.9"))
    assert caught.value.message == "The gateway '10.9.9.9' is outside of the guest's network, 10.0.2.0/24."


def test_an_address_for_a_machine_without_a_network_is_refused() -> None:
    alone = msgspec.structs.replace(PLAN, devices=DISKS)
    with pytest.raises(UsageError) as caught:
        settings_of(alone, StartSettings(address="dhcp"))
    assert str(caught.value) == (
        "The composition 'web' has no network, so that 'dhcp' would be nobody's.\n"
        "Leave the address out, or add a component that needs 'net'."
    )


def test_the_word_for_a_network_is_taken_apart() -> None:
    assert parse_address("dhcp") == ("dhcp", None, None)
    assert parse_address("10.0.2.9/24") == ("10.0.2.9/24", None, None)
    assert parse_address("10.0.2.9/24,,") == ("10.0.2.9/24", "", "")
    assert parse_address("10.0.2.9/24,10.0.2.2,9.9.9.9") == ("10.0.2.9/24", "10.0.2.2", "9.9.9.9")
    for word in ("dhcp,10.0.2.2", "a,b,c,d"):
        with pytest.raises(UsageError) as caught:
            parse_address(word)
        assert caught.value.message == f"'{word}' is not the setting of a network."


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (StartSettings(environment=(("1A", "x"),)), "'1A' cannot name an environment variable."),
        (StartSettings(environment=(("A B", "x"),)), "'A B' cannot name an environment variable."),
        (StartSettings(environment=(("ä", "x"),)), "'\\xe4' cannot name an environment variable."),
        (StartSettings(secrets=(("../x", b""),)), "'../x' cannot name a secret."),
        (StartSettings(secrets=((".x", b""),)), "'.x' cannot name a secret."),
        (StartSettings(secrets=(("n" * 65, b""),)), f"'{'n' * 57}...' cannot name a secret."),
        (StartSettings(secrets=(("token", b"hunter\0two"),)), "The secret 'token' holds a NUL byte."),
        (StartSettings(secrets=(("token", b"a"), ("token", b"b"))), "The secret 'token' is set more than once."),
        (StartSettings(clock=10**10), "The clock cannot be moved by 10000000000 seconds."),
        (
            StartSettings(volumes=(VolumeStart(name="data"), VolumeStart(name="data"))),
            "The volume 'data' is set more than once.",
        ),
    ],
)
def test_what_can_be_no_setting_is_refused(asked: StartSettings, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_start(asked)
    assert caught.value.message == says
    assert "hunter" not in str(caught.value)


def test_a_variable_that_cannot_be_passed_is_named_without_its_value() -> None:
    with pytest.raises(UsageError) as caught:
        encode_settings(settings_of(PLAN, StartSettings(environment=(("TOKEN", "hunter2\0"),))))
    assert caught.value.message == "The setting 'env' holds a NUL character: 'TOKEN=...'."


def test_secrets_that_are_together_too_large_are_refused_without_being_shown() -> None:
    with pytest.raises(UsageError) as caught:
        encode_settings(settings_of(PLAN, StartSettings(secrets=(("token", b"hunter2" * 10000),))))
    assert "; the guest accepts at most 65536." in caught.value.message
    assert "hunter2" not in str(caught.value)


@given(st.binary(max_size=50).filter(lambda content: b"\0" not in content))
def test_a_secret_arrives_byte_by_byte(content: bytes) -> None:
    data = encode_settings(settings_of(PLAN, StartSettings(secrets=(("token", content),))))
    assert data.endswith(b"\0secret=token=" + content + b"\0")


def test_no_arguments_and_no_volumes_are_said_so_that_the_images_do_not_stay() -> None:
    nothing = StartSettings(
        arguments=(), volumes=(VolumeStart(name="data", absent=True), VolumeStart(name="logs", absent=True))
    )
    assert lines(nothing)[:3] == ["schema=1", "clear=arg", "clear=volume"]
    assert not [line for line in lines(nothing) if line.startswith(("arg=", "volume="))]
    assert not [line for line in lines(StartSettings()) if line.startswith("clear=")]


def test_a_volume_that_is_left_out_takes_its_device_with_it() -> None:
    run = at_start(PLAN, StartSettings(volumes=(VolumeStart(name="data", absent=True),)))
    assert [volume.name for volume in run.volumes] == ["logs"]
    assert [device.volume for device in run.devices] == ["", "logs"]


def test_a_volume_can_be_read_only_and_larger_for_one_start_but_not_writable_against_the_plan() -> None:
    grown = at_start(PLAN, StartSettings(volumes=(VolumeStart(name="data", size=32),)))
    assert (grown.volumes[0].read_only, grown.volumes[0].size) == (False, 32)
    run = at_start(PLAN, StartSettings(volumes=(VolumeStart(name="data", read_only=True),)))
    assert (run.volumes[0].read_only, run.volumes[0].size) == (True, 8)
    fixed = msgspec.structs.replace(PLAN, volumes=(run.volumes[0],))
    assert at_start(fixed, StartSettings(volumes=(VolumeStart(name="data"),))).volumes[0].read_only


def test_a_volume_that_is_only_read_is_not_made_larger() -> None:
    with pytest.raises(UsageError) as caught:
        at_start(PLAN, StartSettings(volumes=(VolumeStart(name="data", read_only=True, size=32),)))
    assert str(caught.value) == (
        "The volume 'data' is only read, so that it cannot be made larger.\n"
        "Leave out the size, or make it larger with 'rumpel volume grow'."
    )


def test_an_unknown_volume_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        at_start(PLAN, StartSettings(volumes=(VolumeStart(name="date"),)))
    assert str(caught.value) == ("The composition 'web' has no volume named 'date'.\nIts volumes are: 'data', 'logs'.")
