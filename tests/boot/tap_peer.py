"""A network of one machine: run in a network namespace of its own, with the guest's address in `fd00:6::/64` and QEMU's
words as arguments.

Makes a TAP, announces the network `fd00:6::/64` on it as an IPv6 router would (RFC 4861), starts QEMU on it, asks the
web server in it for `/` at each of its addresses, and looks at the SYN-ACK segments of some connections. Prints a JSON
object: `pages`, the body by address; `greetings`, a list of [first sequence number, MSS, window scale].
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

TAP = "tap0"
PATIENCE = 120.0  # seconds until a page must have come
GUEST4 = "10.0.2.15"
GUEST_LINK_LOCAL = "fe80::5054:ff:fe12:3456"  # of QEMU's first MAC address (RFC 4291, appendix A)
ROUTER4, ROUTER6 = "10.0.2.2", "fd00:6::1"
PORT = 80
CONNECTIONS = 6
TUNSETIFF, TUNSETPERSIST, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x400454CB, 2, 0x1000
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP = 0x8914, 0x8916, 0x891C, 1
ETH_P_ALL = 3
Greeting = tuple[int, int, int]


def make_tap() -> None:
    """A TAP that stays when this file is closed, up and with the router's addresses."""
    with Path("/dev/net/tun").open("r+b", buffering=0) as tun:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", TAP.encode(), IFF_TAP | IFF_NO_PI))
        fcntl.ioctl(tun, TUNSETPERSIST, 1)
    Path(f"/proc/sys/net/ipv6/conf/{TAP}/accept_dad").write_text("0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, address in ((SIOCSIFADDR, ROUTER4), (SIOCSIFNETMASK, "255.255.255.0")):
            inet = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, request, struct.pack("16s16s8x", TAP.encode(), inet))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", TAP.encode(), IFF_UP))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as control:
        address6 = socket.inet_pton(socket.AF_INET6, ROUTER6)
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16sII", address6, 64, socket.if_nametoindex(TAP)))


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def announcement(mac: bytes) -> bytes:
    """A router advertisement of `fd00:6::/64`, on-link and for addresses (RFC 4861, 4.2 and 4.6.2)."""
    source = bytes.fromhex("fe80") + bytes(6) + bytes([mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE, *mac[3:]])
    everyone = socket.inet_pton(socket.AF_INET6, "ff02::1")
    prefix = socket.inet_pton(socket.AF_INET6, "fd00:6::")
    said = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + bytes([1, 1]) + mac
    said += struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + prefix
    pseudo = source + everyone + struct.pack(">II", len(said), 58)
    said = said[:2] + struct.pack(">H", checksum(pseudo + said)) + said[4:]
    header = struct.pack(">IHBB", 6 << 28, len(said), 58, 255) + source + everyone
    return bytes.fromhex("333300000001") + mac + bytes.fromhex("86dd") + header + said


def page(address: str, family: socket.AddressFamily) -> bytes:
    """The server's page; OSError where it does not answer."""
    where = socket.getaddrinfo(address, PORT, family, socket.SOCK_STREAM)[0][4]
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5.0)
        connection.connect(where)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise OSError(f"an answer that is no page: {answer[:80]!r}")
    return body


def greeting_of(frame: bytes) -> Greeting | None:
    """The first sequence number, MSS and window scale of a SYN-ACK over IPv4."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 6:
        return None
    segment = frame[14 + (frame[14] & 15) * 4 :]
    if segment[13] & 0x12 != 0x12:
        return None
    options, mss, scale = segment[20 : (segment[12] >> 4) * 4], 0, 0
    while options and options[0] != 0:
        if options[0] == 1:
            options = options[1:]
            continue
        if options[0] == 2:
            mss = int.from_bytes(options[2:4], "big")
        elif options[0] == 3:
            scale = options[2]
        options = options[options[1] :]
    return int.from_bytes(segment[4:8], "big"), mss, scale


def main() -> None:
    """Start QEMU, ask, print."""
    make_tap()
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.bind((TAP, 0))
    wire.setblocking(False)
    advertisement = announcement(wire.getsockname()[4])
    pages: dict[str, str] = {}
    guest_global, *words = sys.argv[1:]
    asked = [(GUEST4, socket.AF_INET), (f"{GUEST_LINK_LOCAL}%{TAP}", socket.AF_INET6), (guest_global, socket.AF_INET6)]
    asked += [(GUEST4, socket.AF_INET)] * CONNECTIONS
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr) as qemu:
        try:
            for address, family in asked:
                deadline = time.monotonic() + PATIENCE
                while True:
                    wire.send(advertisement)
                    try:
                        pages[address.partition("%")[0]] = page(address, family).decode()
                        break
                    except OSError as error:
                        if qemu.poll() is not None or time.monotonic() > deadline:
                            sys.exit(f"no page from {address}: {error}")
                        time.sleep(0.1)
        finally:
            qemu.kill()
    greetings = []
    while True:
        try:
            greeting = greeting_of(wire.recv(65536))
        except BlockingIOError:
            break
        if greeting is not None:
            greetings.append(greeting)
    print(json.dumps({"pages": pages, "greetings": greetings}))


if __name__ == "__main__":
    main()
