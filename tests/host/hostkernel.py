"""nano's own sources as an ordinary Linux program: every part but `jit` and the drivers for virtio, under sanitizers.

One compilation serves all tests of a run that use the same compiler, also those of another worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
HOST = ROOT / "hal/platform/host"
NANO = ROOT / "kernels/nano"
# What the host platform has its own of: the heap (malloc, so that the sanitizer sees each block), the vDSO, the life of
# the whole machine.
REPLACED = {"src/heap.c", "src/vdso.c", "src/vdso_image.S", "src/main.c"}
DRIVERS = [
    *("virtio/virtqueue.c", "virtio/virtio.c", "virtio-net/virtio_net.c", "virtio-mmio/virtio_mmio.c"),
    "virtio-rng/virtio_rng.c",
]
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0"}

_COMMON = [
    "-std=gnu11",
    "-g",
    "-O1",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-no-pie",
    "-fno-pie",
    "-fno-omit-frame-pointer",
]
_INCLUDE = [ROOT / "hal/include", HOST, NANO, NANO / "include", NANO / "net/port"]
_FLAGS = {
    "gcc": [
        *("-fsanitize=address,undefined", "-fno-sanitize=alignment,shift", "-fno-sanitize-recover=all"),
        *("-Wall", "-Wextra", "-Werror"),
    ],
    # The kernel's tables are arrays made by the linker: nothing may lie between their rows.
    "clang": [
        *("-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize=alignment,shift,function"),
        *("-fno-sanitize-recover=all", "-mllvm", "-asan-globals=0", "-Wno-unused-command-line-argument"),
    ],
}


@dataclass(frozen=True)
class HostKernel:
    """The compiled kernel. `link` makes a program of it and of one more C file."""

    compiler: str
    flags: tuple[str, ...]
    objects: tuple[str, ...]

    def link(self, source: Path, program: Path, *more: str) -> Path:
        """Compile and link `source`, with `more` flags, to `program`."""
        command = [self.compiler, *self.flags, *more, str(source), *self.objects, f"-Wl,-T,{HOST / 'tables.ld'}"]
        subprocess.run([*command, "-o", str(program)], check=True)
        return program


def _sources(lwip: Path) -> list[tuple[Path, list[str]]]:
    """Every C file, with the flags of its own."""
    kernel = yaml.safe_load((NANO / "kernel.yaml").read_text())
    optional = kernel["optional"]
    net = optional["net"]
    names = [
        *kernel["files"],
        *(name for part in optional if part != "jit" for name in optional[part].get("sources", ())),
    ]
    ours = [NANO / name for name in names if name not in REPLACED and name.endswith(".c")]
    ours += [ROOT / "hal/drivers" / name for name in DRIVERS]
    ours += [ROOT / "hal/platform/common/driver.c", ROOT / "hal/platform/common/format.c", *sorted(HOST.glob("*.c"))]
    return [(path, []) for path in ours] + [(lwip / name, ["-w"]) for name in net["source_files"]]


def host_kernel(compiler: Literal["gcc", "clang"], factory: pytest.TempPathFactory) -> HostKernel:
    """The kernel for the host: `gcc` for tests, `clang` for libFuzzer. Compiled by whoever comes first."""
    command = [sys.executable, str(NANO / "source_tree.py"), "lwip"]
    lwip = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    include = [f"-I{path}" for path in _INCLUDE] + [f"-isystem{lwip / 'src/include'}"]
    flags = [*_COMMON, *_FLAGS[compiler], *include]
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"host-kernel-{compiler}"
    folder.mkdir(exist_ok=True)
    jobs = [(source, more, folder / f"{number}.o") for number, (source, more) in enumerate(_sources(lwip))]
    with FileLock(folder / "lock"):
        if not (folder / "whole").exists():
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                steps = [[compiler, *flags, *more, "-c", str(source), "-o", str(to)] for source, more, to in jobs]
                list(pool.map(lambda step: subprocess.run(step, check=True), steps))
            (folder / "whole").touch()
    return HostKernel(compiler, tuple(flags), tuple(str(target) for _, _, target in jobs))
