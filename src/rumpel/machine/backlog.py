"""Many connections at once to a forwarded port.

    raise_backlog(process.pid, ports.values())

QEMU's user network listens with a backlog of 1 (libslirp `src/socket.c`): of connections that come faster than QEMU's
loop accepts them, the kernel drops the first packet, and each of those is tried again a second later. 200 connections
took a minute. A second listen(2) on the same socket only changes its backlog, so this process borrows the descriptors
(pidfd_getfd(2), Linux 5.6) and calls it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Collection
from pathlib import Path

BACKLOG = 1024
_PIDFD_GETFD = 438  # its number on every architecture: Linux include/uapi/asm-generic/unistd.h


def raise_backlog(pid: int, ports: Collection[int]) -> None:
    """Let QEMU's listening sockets on `ports` of 127.0.0.1 hold up to `BACKLOG` connections that it has yet to accept.

    Where the host forbids it (ptrace(2), "access mode checking"), connections that come at once stay slow, and that
    is all.
    """
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
                with contextlib.suppress(OSError):
                    if str(entry.readlink()).startswith("socket:"):
                        _raise(_borrowed(pidfd, int(entry.name)), ports)
        finally:
            os.close(pidfd)


def _borrowed(pidfd: int, descriptor: int) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    ours = libc.syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    if ours < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return socket.socket(fileno=ours)


def _raise(sock: socket.socket, ports: Collection[int]) -> None:
    with sock:
        if (
            sock.family == socket.AF_INET
            and sock.type == socket.SOCK_STREAM
            and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and sock.getsockname()[0] == "127.0.0.1"
            and sock.getsockname()[1] in ports
        ):
            sock.listen(BACKLOG)
