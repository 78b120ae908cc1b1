"""A program of a few hundred bytes that ties its process to its parent's life, and becomes another program.

It asks the kernel for SIGKILL when its parent ends (prctl(2), PR_SET_PDEATHSIG), looks whether its parent is still the
owner - it may have died before - closes the descriptor that it was run from, and becomes the program that its arguments
name. It is a static ELF file, put together here: to load two programs and their libraries for this takes as long as a
tenth of a small machine's start. System calls by number: Linux, arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import os
import platform
import struct

OWNER_GONE = 125
NOT_STARTED = 127
_WORDS = b"The program could not be started.\n"
_BASE = 0x400000
_HEADERS = 64 + 56


def guard_program(owner: int, descriptor: int) -> bytes:
    """The program for x86-64: its parent must be the process `owner`; `descriptor` is the file that it is run from."""
    gone = b"\xbf" + struct.pack("<I", OWNER_GONE)  # mov $OWNER_GONE, %edi
    leave = b"\xb8\xe7\x00\x00\x00\x0f\x05"  # mov $231, %eax (exit_group); syscall
    before = b"".join([
        b"\xbf\x01\x00\x00\x00",                              # mov   $PR_SET_PDEATHSIG, %edi
        b"\xbe\x09\x00\x00\x00",                              # mov   $SIGKILL, %esi
        b"\xb8\x9d\x00\x00\x00\x0f\x05",                      # mov   $157, %eax (prctl); syscall
        b"\xb8\x6e\x00\x00\x00\x0f\x05",                      # mov   $110, %eax (getppid); syscall
        b"\x3d" + struct.pack("<I", owner),                   # cmp   $owner, %eax
        b"\x74" + struct.pack("b", len(gone) + len(leave)),   # je    1f
        gone, leave,
        b"\xbf" + struct.pack("<I", descriptor),              # 1: mov $descriptor, %edi
        b"\xb8\x03\x00\x00\x00\x0f\x05",                      # mov   $3, %eax (close); syscall
        b"\x48\x8b\x04\x24",                                  # mov   (%rsp), %rax: the number of arguments
        b"\x48\x8d\x74\x24\x10",                              # lea   16(%rsp), %rsi: those behind the first
        b"\x48\x8d\x54\xc4\x10",                              # lea   16(%rsp,%rax,8), %rdx: the environment
        b"\x48\x8b\x3e",                                      # mov   (%rsi), %rdi
        b"\xb8\x3b\x00\x00\x00\x0f\x05",                      # mov   $59, %eax (execve); syscall
    ])  # fmt: skip
    tell = b"".join([
        b"\xbf\x02\x00\x00\x00",                              # mov   $2, %edi: standard error
        b"\xbe@@@@",                                          # mov   $words, %esi
        b"\xba" + struct.pack("<I", len(_WORDS)),             # mov   $length, %edx
        b"\xb8\x01\x00\x00\x00\x0f\x05",                      # mov   $1, %eax (write); syscall
        b"\xbf" + struct.pack("<I", NOT_STARTED), leave,      # mov   $NOT_STARTED, %edi
    ])  # fmt: skip
    code = before + tell
    code = code.replace(b"@@@@", struct.pack("<I", _BASE + _HEADERS + len(code)))
    size = _HEADERS + len(code) + len(_WORDS)
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return elf + segment + code + _WORDS


def guard_file(owner: int) -> int | None:
    """A descriptor of the program for this owner, in a file of memory without a name; None where this is another kind
    of machine, or the kernel has none. It stays open; in a child that inherits it it has the same number."""
    if platform.machine() != "x86_64":
        return None
    try:
        written = os.memfd_create("rumpel-guard", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        # Nobody may run a file that somebody has open to write to it.
        descriptor = os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
        os.write(written, guard_program(owner, descriptor))
        os.fchmod(written, 0o500)
    except OSError:
        return None
    finally:
        os.close(written)
    return descriptor
