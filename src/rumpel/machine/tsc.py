"""The rate of this machine's time-stamp counter, which under TCG is the guest's too (QEMU `cpu_get_ticks`).

Linux measures it against the PIT's channel 2 or the ACPI timer. `microvm` has neither, and with ACPI on nothing
else ticks yet: a kernel that could not measure waits for ever. So it is told (`tsc_early_khz=`). Measured once for
each boot of this machine, over a tenth of a second, and kept.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import time
from pathlib import Path

from rumpel.places import cache_dir

_SECONDS = 0.1
# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
_CODE = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"


def host_tsc_khz() -> int:
    """Thousands of ticks a second; 0 where this machine has no such counter."""
    if platform.machine() != "x86_64":
        return 0
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept = cache_dir() / "tsc"
    with contextlib.suppress(OSError, ValueError):
        for_boot, _, khz = kept.read_text().partition(" ")
        if for_boot == boot:
            return int(khz)
    measured = measure_tsc_khz()
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_name(f".tsc.{os.getpid()}")
        fresh.write_text(f"{boot} {measured}")
        fresh.replace(kept)
    return measured


def measure_tsc_khz() -> int:
    """Read the counter and the clock twice; 0 where code may not be made executable."""
    import ctypes

    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0
    page.write(_CODE)
    holder = ctypes.c_char.from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(holder))
    ticks, nanoseconds = _pair(read)
    time.sleep(_SECONDS)
    more_ticks, more_nanoseconds = _pair(read)
    del holder
    page.close()
    return round((more_ticks - ticks) * 1_000_000 / (more_nanoseconds - nanoseconds))


def _pair(read: object) -> tuple[int, int]:
    """Counter and clock at one moment: of several tries the one that was interrupted least."""
    assert callable(read)
    best: tuple[int, int, int] | None = None
    for _ in range(20):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        ticks = read()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if best is None or after - before < best[0]:
            best = (after - before, ticks, (before + after) // 2)
    assert best is not None
    return best[1], best[2]
