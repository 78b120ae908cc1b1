"""Builds a nano kernel and runs one static program on it under QEMU: for the tests of the kernel itself."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = 4096
DRIVERS = ("uart16550", "virtio", "virtio-mmio", "virtio-rng")


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended: the console's text, the lines of the control channel."""

    console: str
    control: tuple[str, ...]

    @property
    def status(self) -> int | None:
        """The program's exit status; None where no `exit` line came."""
        words = self.control[-1].split() if self.control else []
        return int(words[1]) if words[:1] == ["exit"] else None


def build_kernel(output: Path, drivers: tuple[str, ...] = DRIVERS) -> Path:
    """A kernel with the given drivers."""
    options = [word for driver in drivers for word in ("--driver", driver)]
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


def run(kernel: Path, initrd: bytes, folder: Path, *, memory: str = "64M", timeout: float = 60) -> End:
    """Boots, waits for the end, gives what was said."""
    image, console, control = folder / "root.cpio", folder / "console.txt", folder / "control.txt"
    image.write_bytes(initrd)
    command = [
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"),
        *("-M", "microvm,acpi=off,isa-serial=off", "-bios", "qboot.rom"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", memory),
        *("-chardev", f"file,id=console,path={console}", "-device", "isa-serial,chardev=console,index=0"),
        *("-chardev", f"file,id=control,path={control}", "-device", "isa-serial,chardev=control,index=1"),
        *("-device", "isa-debug-exit,iobase=0x501", "-device", "virtio-rng-device"),
        *("-kernel", str(kernel), "-initrd", str(image)),
    ]
    subprocess.run(command, check=False, capture_output=True, timeout=timeout)
    return End(console.read_text(errors="replace"), tuple(control.read_text().splitlines()))
