"""Builds a nano kernel and runs one static program on it under QEMU: for the tests of the kernel itself."""

from __future__ import annotations

import dataclasses
import enum
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096
DRIVERS = ("uart16550", "virtio", "virtio-mmio", "virtio-rng")


def call_groups() -> tuple[str, ...]:
    """The optional groups of system calls that need no device."""
    kernel = yaml.safe_load((ROOT / "kernels/nano/kernel.yaml").read_text())
    return tuple(name for name, part in kernel["optional"].items() if name in kernel["calls"] and "needs" not in part)


class Status(enum.IntEnum):
    """QEMU's exit status for each kind of end (docs/nano.md, "How it ends")."""

    PROGRAM = 1
    PANIC = 3
    MEMORY = 5
    ARCHIVE = 7
    SETTINGS = 9
    ROOT_DISK = 11
    UNUSABLE = 13
    RANDOMNESS = 15
    NETWORK = 17
    DEVICE = 19


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended: the console's text, the lines of the control channel, QEMU's exit status."""

    console: str
    control: tuple[str, ...]
    qemu: int = 0

    @property
    def last_line(self) -> str:
        """The console's last line; empty where there is none."""
        return (self.console.splitlines() or [""])[-1]

    @property
    def status(self) -> int | None:
        """The program's exit status; None where no `exit` line came."""
        words = self.control[-1].split() if self.control else []
        return int(words[1]) if words[:1] == ["exit"] else None


def build_kernel(
    output: Path, drivers: tuple[str, ...] = DRIVERS, groups: tuple[str, ...] = (), calls: tuple[str, ...] | None = None
) -> Path:
    """A kernel with the given drivers and optional parts. `calls`: the groups of system calls; None: all of them."""
    options = [word for driver in drivers for word in ("--driver", driver)]
    options += [
        word for group in (*groups, *(call_groups() if calls is None else calls)) for word in ("--group", group)
    ]
    subprocess.run([sys.executable, ROOT / "kernels/nano/build.py", output, *options], check=True, capture_output=True)
    return output


def compile_static(source: Path, output: Path, compiler: str, flags: tuple[str, ...] = ()) -> Path:
    """A static program."""
    kind = [] if "-static-pie" in flags else ["-static"]
    command = [compiler, "-O1", *kind, "-pthread", "-Wno-unused-result", *flags, str(source), "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return output


def archive(files: dict[str, bytes]) -> bytes:
    """A newc archive whose files' data begins on a page: the name is padded with NUL bytes."""
    out = bytearray()
    for number, (name, data) in enumerate([*files.items(), ("TRAILER!!!", b"")], start=1):
        encoded = name.encode() + b"\0"
        if len(data) >= PAGE:
            encoded += b"\0" * (-(len(out) + 110 + len(encoded)) % PAGE)
        fields = (number, 0o100755, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def root(program: Path, arguments: tuple[str, ...] = ()) -> bytes:
    """A root filesystem that runs `program`."""
    settings = ["schema=1", "program=/bin/program", "env=PATH=/bin", *(f"arg={each}" for each in arguments)]
    return archive(
        {"rumpel/settings": b"".join(each.encode() + b"\0" for each in settings), "bin/program": program.read_bytes()}
    )


def command(kernel: Path, folder: Path, memory: str, cpu: str = "max", rng: bool = True) -> list[str]:
    """QEMU's command line; console, control channel and root filesystem are files in `folder`."""
    console, control = folder / "console.txt", folder / "control.txt"
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", cpu),
        *("-M", "microvm,acpi=off,isa-serial=off", "-bios", "qboot.rom"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", memory),
        *(
            "-chardev",
            f"file,id=console,path={console}",
            "-device",
            "isa-serial,chardev=console,index=0",
        ),
        *(
            "-chardev",
            f"file,id=control,path={control}",
            "-device",
            "isa-serial,chardev=control,index=1",
        ),
        *("-device", "isa-debug-exit,iobase=0x501", *(("-device", "virtio-rng-device") if rng else ())),
        *("-kernel", str(kernel), "-initrd", str(folder / "root.cpio")),
    ]


def read_end(folder: Path, qemu: int = 0) -> End:
    """What a run that is over said."""
    console = (folder / "console.txt").read_text(errors="replace")
    return End(console, tuple((folder / "control.txt").read_text().splitlines()), qemu)


def run(
    kernel: Path,
    initrd: bytes,
    folder: Path,
    *,
    memory: str = "64M",
    cpu: str = "max",
    rng: bool = True,
    extra: tuple[str, ...] = (),
    timeout: float = 60,
) -> End:
    """Boots, waits for the end, gives what was said."""
    (folder / "root.cpio").write_bytes(initrd)
    words = [*command(kernel, folder, memory, cpu, rng), *extra]
    done = subprocess.run(words, check=False, capture_output=True, timeout=timeout)
    return read_end(folder, done.returncode)


def run_with_monitor(kernel: Path, initrd: bytes, folder: Path, words: tuple[str, ...]) -> tuple[str, End]:
    """Boots, waits until the program has started, gives `words` to QEMU's monitor; its answers and the end."""
    (folder / "root.cpio").write_bytes(initrd)
    control = folder / "control.txt"
    with subprocess.Popen(
        [*command(kernel, folder, "32M"), "-monitor", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as machine:
        deadline = time.monotonic() + 30
        while not (control.exists() and "start" in control.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        try:
            answers, _ = machine.communicate("\n".join(words) + "\n", timeout=30)
        finally:
            machine.kill()
    return answers, read_end(folder, machine.returncode)
