"""A network that loses and delays packets: every frame passes through this process.

    link = LossyLink(instance, "net0", folder, Quality(loss=0.1, delay=0.05))
    ...
    link.close()                                     # what is under way is delivered at once

QEMU's `filter-redirector` takes frames out of the queue between the guest's card and its network and puts others in,
each over a socket, as a length of four bytes (big endian) and the frame (QEMU `net/filter-mirror.c`). There are four:
out and in, for each direction. Filters see what goes to the guest ("tx" of the network) from first to last, and what
comes from it ("rx") from last to first.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from rumpel.errors import HostError, MachineError
from rumpel.machine.instance import Instance

_LONGEST_PATH = 107  # of a socket's address: Linux unix(7)
_LENGTH = struct.Struct(">I")
_ids = count()


@dataclass(frozen=True)
class Quality:
    """`loss`: the share of frames that are lost, 0 to 1, in each direction. `delay`: how long a frame is under way, in
    seconds, up to `jitter` more by chance, by which frames overtake each other. `seed` fixes what chance does."""

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    seed: int = 0


class LossyLink:
    """The way of a network device's frames, from now until `close`."""

    def __init__(self, instance: Instance, netdev: str, folder: Path, quality: Quality) -> None:
        self.lost = 0
        self.passed = 0
        self._instance = instance
        self._quality = quality
        self._chance = random.Random(quality.seed)
        self._name = f"link{next(_ids)}"
        self._objects: list[str] = []
        self._chardevs: list[str] = []
        self._sockets: dict[str, socket.socket] = {}
        self._wake, self._woken = socket.socketpair()
        try:
            self._connect(folder / f"{self._name}.sock")
            # Out before in for "tx", in before out for "rx": what is put in must not come out again.
            for queue, way in (("tx", "out"), ("tx", "in"), ("rx", "in"), ("rx", "out")):
                self._filter(netdev, queue, way)
        except BaseException:
            self._remove()
            raise
        self._thread = threading.Thread(target=self._run, name="rumpel-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Frames go the short way again; those that are under way arrive now."""
        for name in [name for name in self._objects if name.endswith("out")]:
            with contextlib.suppress(MachineError):
                self._instance.qmp("object-del", id=name)
            self._objects.remove(name)
        self._wake.close()
        self._thread.join(10)
        self._remove()

    def _connect(self, path: Path) -> None:
        if len(str(path).encode()) > _LONGEST_PATH:
            raise HostError(
                f"The path of a socket would be too long: {path}.", hint="Set TMPDIR to a folder with a shorter path."
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            try:
                listener.listen(1)
                listener.settimeout(10)
                for queue in ("tx", "rx"):
                    for way in ("out", "in"):
                        name = f"{self._name}-{queue}-{way}"
                        address = {"type": "unix", "data": {"path": str(path)}}
                        backend = {"type": "socket", "data": {"addr": address, "server": False}}
                        self._instance.qmp("chardev-add", id=name, backend=backend)
                        self._chardevs.append(name)
                        self._sockets[f"{queue}-{way}"], _ = listener.accept()
            finally:
                path.unlink(missing_ok=True)

    def _filter(self, netdev: str, queue: str, way: str) -> None:
        name = f"{self._name}-{queue}-{way}"
        self._instance.qmp(
            "object-add", qom_type="filter-redirector", id=name, netdev=netdev, queue=queue, **{f"{way}dev": name}
        )
        self._objects.append(name)

    def _remove(self) -> None:
        with contextlib.suppress(MachineError):
            for name in self._objects:
                self._instance.qmp("object-del", id=name)
        for sock in self._sockets.values():
            sock.close()
        with contextlib.suppress(MachineError):
            for name in self._chardevs:
                self._instance.qmp("chardev-remove", id=name)
        for sock in (self._wake, self._woken):
            sock.close()

    def _run(self) -> None:
        rests = {"tx": b"", "rx": b""}
        waiting: list[tuple[float, int, str, bytes]] = []
        order = count()
        sources = {self._sockets[f"{queue}-out"].fileno(): queue for queue in rests}
        poll = select.poll()
        for descriptor in (*sources, self._woken.fileno()):
            poll.register(descriptor, select.POLLIN)
        open_end = True
        while open_end:
            pause = None if not waiting else max(0.0, (waiting[0][0] - time.monotonic()) * 1000)
            for descriptor, _ in poll.poll(pause):
                if descriptor not in sources:
                    open_end = False
                    continue
                queue = sources[descriptor]
                data = self._sockets[f"{queue}-out"].recv(1 << 16)
                if not data:
                    poll.unregister(descriptor)
                frames, rests[queue] = split_frames(rests[queue] + data)
                for frame in frames:
                    if self._chance.random() < self._quality.loss:
                        self.lost += 1
                        continue
                    due = time.monotonic() + self._quality.delay + self._chance.random() * self._quality.jitter
                    heapq.heappush(waiting, (due, next(order), queue, frame))
            now = time.monotonic()
            while waiting and (waiting[0][0] <= now or not open_end):
                _, _, queue, frame = heapq.heappop(waiting)
                self.passed += 1
                with contextlib.suppress(OSError):  # QEMU has ended
                    self._sockets[f"{queue}-in"].sendall(_LENGTH.pack(len(frame)) + frame)


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """The complete frames in `data`, and what is left."""
    frames = []
    position = 0
    while len(data) - position >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(data, position)
        end = position + _LENGTH.size + length
        if end > len(data):
            break
        frames.append(data[position + _LENGTH.size : end])
        position = end
    return frames, data[position:]
