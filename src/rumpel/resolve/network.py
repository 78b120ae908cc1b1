"""What a guest's network settings may be: one IPv4 network behind QEMU, and one of IPv6, which answers at the gateways'
addresses."""

from __future__ import annotations

import ipaddress
import re

# QEMU takes three addresses of the network for itself (gateway, name server, first DHCP lease); net/slirp.c.
SHORTEST_PREFIX, LONGEST_PREFIX = 8, 29
PREFIX6 = 64  # of every unicast address but a few (RFC 4291, 2.5.1)
LONGEST_HOSTNAME = 64  # __NEW_UTS_LEN

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def is_hostname(name: str) -> bool:
    """Whether `name` is a host name: labels of letters, digits and inner hyphens, joined by dots (RFC 1123, 2.1)."""
    return len(name) <= LONGEST_HOSTNAME and _HOSTNAME.fullmatch(name) is not None


def network_problem(address: str, gateway: str, nameserver: str) -> str:
    """What is wrong with the settings, a sentence; empty: nothing.

    `address` is `ADDRESS/BITS` or `dhcp`; an empty `gateway` or `nameserver` stands for none.
    """
    if address == "dhcp":
        return ""
    wrong = _address_problem(address)
    if wrong:
        return wrong
    interface = ipaddress.IPv4Interface(address)
    for what, value in (("gateway", gateway), ("name server", nameserver)):
        wrong = _one_problem(what, value) if value else ""
        if wrong:
            return wrong
        if value == str(interface.ip):
            return f"The {what} '{value}' is the guest's own address."
    if gateway and ipaddress.IPv4Address(gateway) not in interface.network:
        return f"The gateway '{gateway}' is outside of the guest's network, {interface.network}."
    if gateway and gateway == nameserver:
        return f"The name server '{nameserver}' is the gateway, too; QEMU answers names at an address of its own."
    return ""


def network6_problem(address: str, gateway: str, nameserver: str) -> str:
    """The same for IPv6, where `address` is `ADDRESS/64` or `auto`: what a router announces (RFC 4862)."""
    if address == "auto":
        if gateway or nameserver:
            return "With the IPv6 address 'auto' the gateway is what a router announces, and there is no name server."
        return ""
    plain, slash, prefix = address.partition("/")
    wrong = _one6_problem("IPv6 address", plain)
    if wrong:
        return wrong
    if not slash:
        return f"The IPv6 address '{address}' has no prefix, such as '{plain}/{PREFIX6}'."
    if prefix != str(PREFIX6):
        return f"The prefix of the IPv6 address '{address}' must be {PREFIX6}: the other half names the machine."
    interface = ipaddress.IPv6Interface(address)
    if interface.ip == interface.network.network_address:
        return f"The IPv6 address '{address}' is that of any router of the network, not of a machine in it."
    for what, value in (("IPv6 gateway", gateway), ("IPv6 name server", nameserver)):
        wrong = _one6_problem(what, value) if value else ""
        if wrong:
            return wrong
        if value and ipaddress.IPv6Address(value) == interface.ip:
            return f"The {what} '{value}' is the guest's own address."
    if gateway and ipaddress.IPv6Address(gateway) not in interface.network:
        return f"The IPv6 gateway '{gateway}' is outside of the guest's network, {interface.network}."
    if gateway and nameserver and ipaddress.IPv6Address(gateway) == ipaddress.IPv6Address(nameserver):
        return f"The IPv6 name server '{nameserver}' is the gateway, too; QEMU answers names at an address of its own."
    return ""


def plain6(address: str) -> str:
    """`ADDRESS`, `ADDRESS/64`, `auto` or nothing, checked already, as guests read it: an end in dotted numbers
    (RFC 4291, 2.2) they do not know."""
    plain, slash, prefix = address.partition("/")
    return address if address in ("auto", "") else f"{ipaddress.IPv6Address(plain)}{slash}{prefix}"


def in_network6(address: str, value: str) -> bool:
    """Whether the host address `value` lies in the network of `address` (`ADDRESS/64`)."""
    return ipaddress.IPv6Address(value) in ipaddress.IPv6Interface(address).network


def in_network(address: str, value: str) -> bool:
    """Whether the host address `value` lies in the network of `address` (`ADDRESS/BITS`)."""
    return ipaddress.IPv4Address(value) in ipaddress.IPv4Interface(address).network


def _address_problem(address: str) -> str:
    plain, slash, prefix = address.partition("/")
    wrong = _one_problem("address", plain)
    if wrong:
        return wrong
    if not slash:
        return f"The address '{address}' has no prefix, such as '{plain}/24'."
    if not prefix.isascii() or not prefix.isdecimal() or int(prefix) > 32:
        return f"The prefix of the address '{address}' is not a number of bits, such as 24."
    if not SHORTEST_PREFIX <= int(prefix) <= LONGEST_PREFIX:
        return (
            f"The prefix of the address '{address}' must be from {SHORTEST_PREFIX} to {LONGEST_PREFIX}, "
            "so that the gateway and the name server have room beside the guest."
        )
    interface = ipaddress.IPv4Interface(address)
    if interface.ip in (interface.network.network_address, interface.network.broadcast_address):
        return f"The address '{address}' is that of the network as a whole, not of a machine in it."
    return ""


def _one_problem(what: str, value: str) -> str:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return f"The {what} '{value}' is not an IPv4 address."
    if isinstance(found, ipaddress.IPv6Address):
        return f"The {what} '{value}' is an IPv6 address; the guest's network is IPv4."
    if found.is_unspecified or found.is_loopback or found.is_multicast:
        return f"The {what} '{value}' is not an address that a machine can have."
    return ""


def _one6_problem(what: str, value: str) -> str:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return f"The {what} '{value}' is not one."
    if isinstance(found, ipaddress.IPv4Address):
        return f"The {what} '{value}' is of IPv4."
    special = found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local
    if special or found.ipv4_mapped is not None or found.scope_id is not None:
        return f"The {what} '{value}' is not an address that can be given to a machine."
    return ""
