"""A DHCP server of the tests' own, at the other end of a guest's network cable: QEMU's `-netdev socket` brings its
Ethernet frames here, each behind its length (four bytes, big-endian). RFC 826, 791, 768, 2131, 2132."""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass, field

SERVER = ipaddress.IPv4Address("10.9.0.2")
SERVER_HARDWARE = bytes.fromhex("020000000002")
BROADCAST = ipaddress.IPv4Address("255.255.255.255")
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6


@dataclass(frozen=True)
class Message:
    """What a client has sent: its kind, where it went, the address that it says it has, its options."""

    kind: int
    to: ipaddress.IPv4Address
    mine: ipaddress.IPv4Address
    transaction: bytes
    hardware: bytes
    options: dict[int, bytes] = field(default_factory=dict)


class DhcpServer:
    """One guest's network. Each wait ends with TimeoutError after a minute and a half without a frame."""

    def __init__(self, guest: socket.socket) -> None:
        guest.settimeout(90)
        self._guest = guest
        self._stream = guest.makefile("rb")
        self._kept: list[bytes] = []

    def close(self) -> None:
        self._stream.close()
        self._guest.close()

    def message(self) -> Message:
        """The next DHCP message; who asks for the server's hardware address is answered meanwhile."""
        while True:
            frame = self._kept.pop(0) if self._kept else self._frame()
            if frame[12:14] == b"\x08\x06" and frame[38:42] == SERVER.packed and frame[20:22] == b"\0\1":
                self._send(frame[6:12], 0x0806, _arp(2, SERVER, frame[22:28], ipaddress.IPv4Address(frame[28:32])))
            elif frame[12:14] == b"\x08\0" and frame[23] == 17 and frame[36:38] == b"\0\x43":
                return _parsed(frame[42:], ipaddress.IPv4Address(frame[30:34]))

    def answer(self, to: Message, kind: int, address: str, *options: tuple[int, bytes]) -> None:
        """Send an answer; with `mine` set it goes to that address, else to everyone."""
        head = struct.pack(">4B4sIII", 2, 1, 6, 0, to.transaction, 0, 0, int(ipaddress.IPv4Address(address)))
        body = (head + bytes(8) + to.hardware).ljust(236, b"\0") + bytes([99, 130, 83, 99])
        named = ((53, bytes([kind])), (54, SERVER.packed), (1, bytes.fromhex("ffffff00")), (3, SERVER.packed), *options)
        body += b"".join(bytes([number, len(value)]) + value for number, value in named) + b"\xff"
        udp = struct.pack(">HHHH", 67, 68, 8 + len(body), 0) + body
        target = to.mine if int(to.mine) and kind != NAK else BROADCAST
        self._send(to.hardware, 0x0800, _ipv4(target, udp))

    def who_has(self, *addresses: str) -> str:
        """The first of the addresses for which the guest answers."""
        for address in addresses:
            self._send(b"\xff" * 6, 0x0806, _arp(1, SERVER, bytes(6), ipaddress.IPv4Address(address)))
        while True:
            frame = self._frame()
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
                return str(ipaddress.IPv4Address(frame[28:32]))
            self._kept.append(frame)

    def _frame(self) -> bytes:
        size = self._stream.read(4)
        assert len(size) == 4, "QEMU has closed the network"
        frame: bytes = self._stream.read(int.from_bytes(size, "big"))
        return frame

    def _send(self, to: bytes, kind: int, payload: bytes) -> None:
        frame = (to + SERVER_HARDWARE + kind.to_bytes(2, "big") + payload).ljust(60, b"\0")
        self._guest.sendall(len(frame).to_bytes(4, "big") + frame)


def _arp(operation: int, sender: ipaddress.IPv4Address, hardware: bytes, target: ipaddress.IPv4Address) -> bytes:
    return (
        struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation) + SERVER_HARDWARE + sender.packed + hardware + target.packed
    )


def _ipv4(target: ipaddress.IPv4Address, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0) + SERVER.packed + target.packed
    total: int = sum(struct.unpack(">10H", head))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + checksum.to_bytes(2, "big") + head[12:] + payload


def _parsed(data: bytes, to: ipaddress.IPv4Address) -> Message:
    options: dict[int, bytes] = {}
    at = 240
    while data[at] != 255:
        number, length = data[at], data[at + 1] if data[at] else -1
        if number:
            options[number] = data[at + 2 : at + 2 + length]
        at += 2 + length
    return Message(
        options[53][0], to, ipaddress.IPv4Address(data[12:16]), data[4:8], data[28:34],
        {number: value for number, value in options.items() if number != 53},
    )  # fmt: skip
