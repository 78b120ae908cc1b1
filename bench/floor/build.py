"""Builds the floor guest: `python bench/floor/build.py OUTPUT`. Needs gcc that can make 32-bit code (no C library)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
COMPILE = (
    "-m32", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic", "-fno-stack-protector",
    "-fcf-protection=none", "-mgeneral-regs-only", "-fno-asynchronous-unwind-tables",
)  # fmt: skip
LINK = (
    "-no-pie", "-nostdlib", "-static", "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096",
    "-Wl,--no-warn-rwx-segments",
)  # fmt: skip


def build_floor(output: Path) -> Path:
    """Compile and link the guest into `output`, a 32-bit ELF kernel with a PVH note."""
    sources = [str(HERE / name) for name in ("start.S", "floor.c")]
    subprocess.run(["gcc", *COMPILE, *LINK, "-T", str(HERE / "floor.ld"), "-o", str(output), *sources], check=True)
    return output


if __name__ == "__main__":
    build_floor(Path(sys.argv[1]))
