"""A machine whose devices a test breaks while nano runs on it: by QMP, and by QEMU's qtest socket, which reads and
writes the machine's memory and ports from outside."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.abi import nano

ROOT = nano.ROOT
DRIVERS = (*nano.DRIVERS, "pci", "virtio-pci", "virtio-net", "virtio-blk")
GROUPS = ("net", "root-disk")
ADDRESS = "net=static,10.0.2.15/24,10.0.2.2,"
WAIT = 60


def settings(*records: str) -> bytes:
    """A file of settings that names /bin/program."""
    return b"".join(each.encode() + b"\0" for each in ("schema=1", "program=/bin/program", *records))


def root(program: Path, *records: str) -> bytes:
    """A root filesystem with these settings and the program."""
    return nano.archive({"rumpel/settings": settings(*records), "bin/program": program.read_bytes()})


def on_q35(words: list[str]) -> list[str]:
    """The same command line for the other machine."""
    changes = {"microvm,acpi=off,isa-serial=off": "q35", "virtio-rng-device": "virtio-rng-pci"}
    at = words.index("-bios")
    return [changes.get(word, word) for word in words[:at] + words[at + 2 :]]


class Machine:
    """A running machine. `monitor` and `qtest` are connections to its QEMU."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.monitor = self._connect("qmp").makefile("rw")
        self.qtest = self._connect("qtest").makefile("rw")
        self.monitor.readline()
        self.qmp("qmp_capabilities")

    def _connect(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(WAIT)
        deadline = time.monotonic() + WAIT
        while True:
            try:
                connection.connect(str(self.folder / name))
                return connection
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def qmp(self, command: str, **arguments: object) -> object:
        """The command's answer; events are left out."""
        self.monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.monitor.flush()
        while True:
            answer = json.loads(self.monitor.readline())
            assert "error" not in answer, answer
            if "return" in answer:
                return answer["return"]

    def touch(self, words: str) -> str:
        """One word of the qtest protocol, such as `outl PORT VALUE` or `write ADDRESS SIZE DATA`, and its answer."""
        self.qtest.write(words + "\n")
        self.qtest.flush()
        while not (answer := self.qtest.readline()).startswith("OK"):
            assert answer.startswith("IRQ"), answer
        return answer.removeprefix("OK").strip()

    def notify(self, kind: int) -> None:
        """Tells microvm's virtio device of this kind that its first queue has something new."""
        slots = range(0xFEB00000, 0xFEB01000, 0x200)
        at = next(each for each in slots if int(self.touch(f"readl 0x{each + 8:x}"), 16) == kind)
        self.touch(f"writel 0x{at + 0x50:x} 0x0")

    def wait_for(self, text: str) -> None:
        """Until the console has `text`."""
        console = self.folder / "console.txt"
        deadline = time.monotonic() + WAIT
        while text not in (console.read_text(errors="replace") if console.exists() else ""):
            assert self.process.poll() is None, nano.read_end(self.folder)
            assert time.monotonic() < deadline, nano.read_end(self.folder)
            time.sleep(0.02)

    def queue(self, device: str, index: int) -> dict[str, int]:
        """Where a virtqueue of the device with this id is: `vring-used` and others."""
        found = self.qmp("x-query-virtio")
        assert isinstance(found, list)
        path = next(each["path"] for each in found if each["name"] == device)
        status = self.qmp("x-query-virtio-queue-status", path=path, queue=index)
        assert isinstance(status, dict)
        return status

    def pull_out(self, device: str) -> None:
        """Asks the guest to let go of the device with this id, which is in a slot, and waits until it did. The machine
        may have ended of it before QEMU tells."""
        self.qmp("device_del", id=device)
        while line := self.monitor.readline():
            said = json.loads(line)
            if said.get("event") == "DEVICE_DELETED" and said["data"].get("device") == device:
                return

    def knock(self) -> socket.socket:
        """A connection to the port that QEMU forwards to the guest: a packet comes to its network device."""
        usernet = str(self.qmp("human-monitor-command", **{"command-line": "info usernet"}))
        port = next(int(line.split()[3]) for line in usernet.splitlines() if "HOST_FORWARD" in line)
        return socket.create_connection(("127.0.0.1", port))

    def end(self, timeout: float = WAIT) -> nano.End:
        """Waits until the machine has ended."""
        self.process.wait(timeout)
        return nano.read_end(self.folder, self.process.returncode)


@contextmanager
def running(words: list[str], initrd: bytes, folder: Path) -> Iterator[Machine]:
    """A machine that is started with `words`, and is ended at the end."""
    (folder / "root.cpio").write_bytes(initrd)
    sockets = ["-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
    sockets += ["-qtest", f"unix:{folder / 'qtest'},server=on,wait=off", "-qtest-log", "none"]
    with subprocess.Popen([*words, *sockets], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Machine(process, folder)
        finally:
            process.kill()
