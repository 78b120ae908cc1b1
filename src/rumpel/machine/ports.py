"""Host ports: what QEMU chose, and why it was refused what was asked for."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Sequence
from pathlib import Path

from rumpel.errors import HostError
from rumpel.resolve.plan import Port

# `info usernet`: "  TCP[HOST_FORWARD]   8       127.0.0.1 33219       10.0.2.15    80     0     0"
_FORWARD = re.compile(r"^\s*(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)\s", re.MULTILINE)
# "  TCP[ESTABLISHED]   12       127.0.0.1 33219       10.0.2.15    80     0     0": the guest has taken a connection.
_TAKEN = re.compile(r"^\s*TCP\[(?:ESTABLISHED|CLOSE_WAIT|FIN_WAIT_[12])\]\s+\d+\s+\S+\s+(\d+)\s", re.MULTILINE)
_REFUSED = re.compile(r"Could not set up host forwarding rule '(tcp|udp):127\.0\.0\.1:(\d+)-")
_LISTEN = "0A"


def parse_forwards(usernet: str, ports: Sequence[Port]) -> dict[str, int]:
    """Host port by port name, from QEMU's answer to `info usernet`."""
    forwards = {(kind.lower(), int(guest)): int(host) for kind, host, guest in _FORWARD.findall(usernet)}
    return {port.name: forwards[port.protocol, port.port] for port in ports if (port.protocol, port.port) in forwards}


def guest_took_connection(usernet: str, host_port: int) -> bool:
    """Whether the guest has taken a connection to `host_port`, by QEMU's answer to `info usernet`."""
    return any(int(port) == host_port for port in _TAKEN.findall(usernet))


def refused_port(stderr: str) -> HostError | None:
    """What QEMU's words about a forwarding rule mean; None where they are about something else."""
    match = _REFUSED.search(stderr)
    if match is None:
        return None
    protocol, port = match[1], int(match[2])
    if _binding(protocol, port) == errno.EACCES:
        return HostError(
            f"The port {port} was asked for, but only root may listen on it.",
            hint="Choose a port from 1024 on, or leave it out to let QEMU choose a free one.",
        )
    holder = _holder(protocol, port)
    who = f"by {holder}" if holder else "by another program (perhaps of another user)"
    return HostError(
        f"The port {port} was asked for, but it is in use {who}.",
        hint="Stop that program, choose another port with '-p HOST:NAME', or leave it out to let QEMU choose one.",
    )


def _binding(protocol: str, port: int) -> int:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno or 0
    return 0


def _holder(protocol: str, port: int) -> str:
    """Who listens on the port, as far as this user may see: \"'python3' (pid 12)\"."""
    inodes = set()
    for table in (protocol, protocol + "6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and (protocol == "udp" or fields[3] == _LISTEN):
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in inodes:
                        return f"'{(process / 'comm').read_text().strip()}' (pid {process.name})"
    return ""
