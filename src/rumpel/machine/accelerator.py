"""Which accelerator runs a guest on this machine: asked for, or decided by a measured probe.

    choice = choose_accelerator("auto", "/usr/bin/qemu-system-x86_64")
    print(choice.name, choice.reason)

That `/dev/kvm` exists says little: under nested or emulated virtualization it can run a guest instruction by
instruction, thousands of times slower than TCG, or never. So a tiny guest counts, once under each accelerator,
sending a byte every `_STRIDE` turns; the faster one is taken. KVM gets `_DEADLINE` seconds. The result is kept
until the machine is booted anew, or QEMU or the host's kernel changes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import select
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from rumpel.errors import HostError
from rumpel.machine.command import AcceleratorName
from rumpel.places import accelerator_file
from rumpel.resolve.plan import Frozen

Asked = Literal["auto", "tcg", "kvm"]

KEPT_SCHEMA = 2
_KEPT_RESULTS = 4
_DEVICE = Path("/dev/kvm")
_STRIDE = 1 << 14
_BYTES = 1024
_DEADLINE = 1.0


@dataclass(frozen=True)
class Choice:
    """The accelerator and, where it was not asked for, one sentence that says why."""

    name: AcceleratorName
    reason: str = ""


class Kept(Frozen, frozen=True, kw_only=True):
    """A result and the QEMU that it was measured with."""

    qemu: str
    name: AcceleratorName
    reason: str


class KeptResults(Frozen, frozen=True, kw_only=True):
    """`accelerator.json`: the latest results of this boot of this machine, the newest first."""

    schema: int = KEPT_SCHEMA
    boot: str
    kernel: str
    results: tuple[Kept, ...]


def choose_accelerator(asked: Asked, qemu: str) -> Choice:
    """The accelerator to use; probes at most once for each boot of this machine. `qemu` is QEMU's full path.

    Raises HostError where `kvm` was asked for and cannot be opened.
    """
    if asked == "tcg":
        return Choice("tcg")
    closed = _closed()
    if asked == "kvm":
        if closed:
            raise HostError(f"The accelerator 'kvm' was asked for, but {closed}.", hint="Use '--accel tcg'.")
        return Choice("kvm")
    if closed:
        return Choice("tcg", f"{closed[0].upper()}{closed[1:]}; using TCG.")
    stamp = _stamp(qemu)
    kept = _kept()
    for result in kept:
        if result.qemu == stamp:
            return Choice(result.name, result.reason)
    choice = probe(qemu)
    _keep((Kept(qemu=stamp, name=choice.name, reason=choice.reason), *kept)[:_KEPT_RESULTS])
    return choice


def probe(qemu: str) -> Choice:
    """Measure both accelerators; takes about a second where KVM is useless, a quarter where it is not."""
    with tempfile.TemporaryDirectory(prefix="rumpel-probe-") as folder:
        guest = Path(folder) / "counter"
        guest.write_bytes(counting_guest())
        tcg = _pace(qemu, "tcg", guest)
        kvm = _pace(qemu, "kvm", guest)
    if kvm.seconds is None:
        return Choice("tcg", f"/dev/kvm exists, but a guest did not run under KVM ({kvm.said}); using TCG.")
    if tcg.seconds is None or kvm.seconds <= tcg.seconds:
        return Choice("kvm", "A guest ran faster under KVM than under TCG; using KVM.")
    ratio = kvm.seconds / tcg.seconds
    times = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
    return Choice("tcg", f"/dev/kvm exists, but a guest ran {times} times slower than under TCG; using TCG.")


@dataclass(frozen=True)
class _Pace:
    """Seconds for the whole count, extrapolated from what was done by the deadline; None: the guest did not run,
    and `said` is why."""

    seconds: float | None
    said: str = ""


def _pace(qemu: str, accelerator: AcceleratorName, guest: Path) -> _Pace:
    command = [
        qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-M", "microvm,acpi=off,isa-serial=off", "-accel", accelerator, "-m", "16M",
        "-kernel", str(guest), "-chardev", "stdio,id=console,signal=off",
        "-device", "isa-serial,chardev=console", "-device", "isa-debug-exit,iobase=0x501,iosize=1",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            return _count(process)
        finally:
            process.kill()


def _count(process: subprocess.Popen[bytes]) -> _Pace:
    assert process.stdout is not None and process.stderr is not None
    output = process.stdout.fileno()
    begun = time.monotonic()
    first, last, count = begun, begun, 0
    data: bytes | None = None
    deadline = begun + _DEADLINE
    while count < _BYTES:
        readable, _, _ = select.select([output], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            data = None
            break
        data = os.read(output, 4096)
        last = time.monotonic()
        if not data:
            break
        if count == 0:
            first = last
            deadline = first + _DEADLINE
        count += len(data)
    if count == _BYTES:
        return _Pace(last - first)
    if data == b"":  # QEMU ended before the guest had counted to its end
        status = process.wait()
        said = " ".join(process.stderr.read(2000).decode("utf-8", "replace").split())
        return _Pace(None, said or f"QEMU ended with status {status}")
    return _Pace((time.monotonic() - first) * _BYTES / max(1, count))


def counting_guest() -> bytes:
    """A 32-bit ELF kernel with a PVH note (Xen `docs/misc/pvh.pandoc`) that sends one byte to the first UART,
    counts `_STRIDE` down to 0, and so on `_BYTES` times, then writes to the exit port."""
    code = b"".join([
        b"\xbe", struct.pack("<I", _BYTES),   # mov   $_BYTES, %esi
        b"\xb0\x2e",                          # 1: mov $'.', %al
        b"\x66\xba", struct.pack("<H", 0x3F8),  # mov $0x3f8, %dx
        b"\xee",                              # out   %al, (%dx)
        b"\xb9", struct.pack("<I", _STRIDE),  # mov   $_STRIDE, %ecx
        b"\x49",                              # 2: dec %ecx
        b"\x75\xfd",                          # jnz   2b
        b"\x4e",                              # dec   %esi
        b"\x75\xee",                          # jnz   1b
        b"\x66\xba", struct.pack("<H", 0x501),  # mov $0x501, %dx
        b"\x31\xc0",                          # xor   %eax, %eax
        b"\xee",                              # out   %al, (%dx)
        b"\xf4",                              # 3: hlt
        b"\xeb\xfd",                          # jmp   3b
    ])  # fmt: skip
    load, headers = 0x100000, 52 + 2 * 32
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", load + headers + 20)
    size = headers + len(note) + len(code)
    elf = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, load + headers + len(note), 52, 0, 0, 52, 32, 2, 0, 0, 0
    )
    segment = struct.pack("<8I", 1, 0, load, load, size, size, 5, 0x1000)
    notes = struct.pack("<8I", 4, headers, load + headers, load + headers, len(note), len(note), 4, 4)
    return elf + segment + notes + note + code


def _closed() -> str:
    if not _DEVICE.exists():
        return "this machine has no /dev/kvm"
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm cannot be opened ({os.strerror(error.errno or 0)})"
    return ""


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stamp(qemu: str) -> str:
    """Names this QEMU without starting it: a new version is another file."""
    seen = Path(qemu).stat()
    return f"{Path(qemu).resolve()} {seen.st_size} {seen.st_mtime_ns}"


def _kept() -> tuple[Kept, ...]:
    """What was measured since this machine was booted."""
    try:
        kept = msgspec.json.decode(accelerator_file().read_bytes(), type=KeptResults)
    except (OSError, msgspec.MsgspecError):
        return ()
    now = (KEPT_SCHEMA, _boot_id(), platform.release())
    return kept.results if (kept.schema, kept.boot, kept.kernel) == now else ()


def _keep(results: tuple[Kept, ...]) -> None:
    """A cache that cannot be written only costs the next start a second."""
    path = accelerator_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".accelerator", delete=False) as fresh:
            fresh.write(msgspec.json.encode(KeptResults(boot=_boot_id(), kernel=platform.release(), results=results)))
        Path(fresh.name).replace(path)
