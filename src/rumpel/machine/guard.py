"""A program of a few hundred bytes that ties its process to its parent's life, and becomes another program.

It asks the kernel for SIGKILL when its parent ends (prctl(2), PR_SET_PDEATHSIG), looks whether its parent is still the
owner - it may have died before - closes the descriptor that it was run from, and becomes the program that its arguments
name. It is a static ELF file, put together here: to load two programs and their libraries for this takes as long as a
tenth of a small machine's start. System calls by number: Linux, arch/x86/entry/syscalls/syscall_64.tbl.
"""

from __future__ import annotations

import errno
import os
import platform
import struct

OWNER_GONE = 125
NOT_STARTED = 127
_WORDS = b"QEMU could not be started, error "  # its number and the program follow
_MFD_EXEC = 0x10  # Linux 6.3, include/uapi/linux/memfd.h
_BASE = 0x400000
_HEADERS = 64 + 56


def guard_program(owner: int, descriptor: int) -> bytes:
    """The program for x86-64: its parent must be the process `owner`; `descriptor` is the file that it is run from."""
    gone = b"\xbf" + struct.pack("<I", OWNER_GONE)  # mov $OWNER_GONE, %edi
    write = b"\xbf\x02\x00\x00\x00\xb8\x01\x00\x00\x00\x0f\x05"  # mov $2, %edi; mov $1, %eax (write); syscall
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
        b"\xf7\xd8",                                          # neg   %eax: errno
        b"\x48\x89\xfd",                                      # mov   %rdi, %rbp: the program
        # The number, its last digit first, and ": " behind it.
        b"\x68\x3a\x20\x00\x00",                              # push  $': '
        b"\x48\x89\xe6",                                      # mov   %rsp, %rsi
        b"\xb9\x0a\x00\x00\x00",                              # mov   $10, %ecx
        b"\x31\xd2",                                          # 2: xor %edx, %edx
        b"\xf7\xf1",                                          # div   %ecx
        b"\x80\xc2\x30",                                      # add   $'0', %dl
        b"\x48\xff\xce",                                      # dec   %rsi
        b"\x88\x16",                                          # mov   %dl, (%rsi)
        b"\x85\xc0",                                          # test  %eax, %eax
        b"\x75\xf0",                                          # jne   2b
        b"\x49\x89\xf5",                                      # mov   %rsi, %r13
        b"\xbe@@@@",                                          # mov   $words, %esi
        b"\xba" + struct.pack("<I", len(_WORDS)),             # mov   $length, %edx
        write,
        b"\x4c\x89\xee",                                      # mov   %r13, %rsi
        b"\x48\x8d\x54\x24\x02",                              # lea   2(%rsp), %rdx
        b"\x48\x29\xf2",                                      # sub   %rsi, %rdx
        write,
        b"\x48\x89\xee",                                      # mov   %rbp, %rsi
        b"\x31\xd2",                                          # xor   %edx, %edx
        b"\xff\xc2",                                          # 3: inc %edx
        b"\x80\x7c\x16\xff\x00",                              # cmpb  $0, -1(%rsi,%rdx)
        b"\x75\xf7",                                          # jne   3b
        b"\xff\xca",                                          # dec   %edx
        write,
        b"\x6a\x0a",                                          # push  $'\\n'
        b"\x48\x89\xe6",                                      # mov   %rsp, %rsi
        b"\xba\x01\x00\x00\x00",                              # mov   $1, %edx
        write,
        b"\xbf" + struct.pack("<I", NOT_STARTED), leave,      # mov   $NOT_STARTED, %edi
    ])  # fmt: skip
    code = before + tell  # where it does not become the program
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
        written = _memory_file()
    except OSError:
        return None
    descriptor = -1
    try:
        # Nobody may run a file that somebody has open to write to it.
        descriptor = os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
        os.write(written, guard_program(owner, descriptor))
        os.fchmod(written, 0o500)
    except OSError:
        if descriptor >= 0:
            os.close(descriptor)
        return None
    finally:
        os.close(written)
    return descriptor


def _memory_file() -> int:
    """A file of memory that may be executed, whatever the sysctl vm.memfd_noexec says of files that do not say it."""
    try:
        return os.memfd_create("rumpel-guard", os.MFD_CLOEXEC | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a kernel before 6.3
            raise
    return os.memfd_create("rumpel-guard", os.MFD_CLOEXEC)
