"""The C compiler for programs of the guest: Debian's gcc, with a C library that the plan pins as its sysroot.

No header and no archive of the host's own C library is used: `-nostdinc` and `-nostdlib`, then the sysroot's
folders and gcc's own (its freestanding headers and libgcc).
"""

from __future__ import annotations

from pathlib import Path

from rumpel.build.step import TOOL_PATH, ToolError, missing_tool, run_tool
from rumpel.errors import HostError
from rumpel.resolve.plan import Frozen

CC = "x86_64-linux-gnu-gcc"
AR = "x86_64-linux-gnu-ar"
STRIP = "x86_64-linux-gnu-strip"
LD = "x86_64-linux-gnu-ld"

MUSL_INCLUDE = "usr/include/x86_64-linux-musl"
MUSL_LIB = "usr/lib/x86_64-linux-musl"

# Of our own code everything that a debugger can show; of other people's, which is much more, what a backtrace needs (-g
# lets SQLite compile for a third longer). Neither changes the code.
OWN_DEBUGGING = ("-g", "-gz=zlib", "-gno-record-gcc-switches")
FOREIGN_DEBUGGING = ("-g1", "-gz=zlib", "-gno-record-gcc-switches")
COMPILE_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-fPIE",
    "-ffunction-sections",
    "-fdata-sections",
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-fno-ident",
    "-U_FORTIFY_SOURCE",
)
OWN_WARNINGS = ("-Wall", "-Wextra", "-Werror")
FOREIGN_WARNINGS = ("-w",)

BUILD_ID = 20  # bytes, which `buildid` fills in
LINK_FLAGS = (
    "-nostdlib",
    "-static-pie",
    "-Wl,--gc-sections",
    f"-Wl,--build-id=0x{bytes(BUILD_ID).hex()}",
    "-Wl,--compress-debug-sections=zlib",
    "-Wl,-z,relro,-z,now",
    "-Wl,-z,noexecstack",
    "-Wl,-z,text",
    "-Wl,-z,separate-code",
    "-Wl,--no-dynamic-linker",
    "-Wl,--hash-style=gnu",
)


class Toolchain(Frozen, frozen=True):
    """The versions, which are part of what a program's bytes depend on."""

    cc: str
    ld: str


class ToolchainFiles(Frozen, frozen=True):
    """Where gcc keeps its own headers and libgcc on this machine; never part of a signature."""

    include: str
    libgcc: str


def detect() -> Toolchain:
    """Ask the installed tools for their versions. Raises HostError where one is missing."""
    return Toolchain(cc=_first_line(CC, "--version"), ld=_first_line(LD, "--version"))


def files() -> ToolchainFiles:
    """Where gcc keeps its own files. Raises HostError where gcc is missing."""
    return ToolchainFiles(include=_first_line(CC, "-print-file-name=include"), libgcc=_libgcc())


def _libgcc() -> str:
    return _first_line(CC, "-print-libgcc-file-name")


def _first_line(program: str, option: str) -> str:
    if not any((Path(folder) / program).exists() for folder in TOOL_PATH.split(":")):
        raise missing_tool(program)
    try:
        return run_tool((program, option), cwd=Path("/")).splitlines()[0].strip()
    except (ToolError, IndexError) as error:
        raise HostError(f"The program '{program}' does not answer to '{option}': {error}.") from error
