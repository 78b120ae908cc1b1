"""A Linux bzImage: find the compressed kernel in it, and take it out (Documentation/arch/x86/boot.rst).

All numbers are little-endian. The setup header begins at 0x1f1; `payload_offset` and `payload_length` exist from
boot protocol 2.08 on and count from the start of the protected-mode code.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

from rumpel.build.step import TOOL_PATH, missing_tool
from rumpel.errors import BuildError

_SECTOR = 512
_MAGIC_AT = 0x202
_VERSION_AT = 0x206
_SETUP_SECTORS_AT = 0x1F1
_PAYLOAD_AT = 0x248
_SIZE_TRAILER = 4  # every compressor but gzip has the size of the kernel appended by the kernel's own build

GZIP = b"\x1f\x8b"
XZ = b"\xfd7zXZ\x00"
LZ4_LEGACY = b"\x02\x21\x4c\x18"
ZSTD = b"\x28\xb5\x2f\xfd"


def payload(image: bytes, name: str) -> bytes:
    """The compressed kernel in the bzImage `image`; `name` is for messages. Raises BuildError."""
    if len(image) < _PAYLOAD_AT + 8 or image[_MAGIC_AT : _MAGIC_AT + 4] != b"HdrS":
        raise BuildError(f"The kernel '{name}' is not a bzImage: it has no setup header.")
    (version,) = struct.unpack_from("<H", image, _VERSION_AT)
    if version < 0x208:
        raise BuildError(
            f"The kernel '{name}' has boot protocol {version >> 8}.{version & 255:02}; 2.08 or later is needed."
        )
    sectors = image[_SETUP_SECTORS_AT] or 4  # 0 means 4, for old loaders
    offset, length = struct.unpack_from("<II", image, _PAYLOAD_AT)
    start = (sectors + 1) * _SECTOR + offset
    if length == 0 or start + length > len(image):
        raise BuildError(
            f"The kernel '{name}' is damaged: its setup header names a payload of {length} bytes at offset {start}, "
            f"but the file has {len(image)} bytes."
        )
    return image[start : start + length]


def decompress(data: bytes, name: str) -> bytes:
    """The kernel in the compressed payload `data`. Raises BuildError, or HostError where a tool is missing.

    gzip and xz come with Python. For LZ4 and Zstandard, the command-line tools: they are needed once for each
    kernel, and a binary Python module would tie the build to one Python version.
    """
    try:
        if data.startswith(GZIP):
            return zlib.decompressobj(wbits=31).decompress(data)
        if data.startswith(XZ):
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data)
    except (zlib.error, lzma.LZMAError) as error:
        raise _damaged(name, str(error)) from error
    if data.startswith(LZ4_LEGACY):
        return _filter(("lz4", "-dc"), data[:-_SIZE_TRAILER], name)
    if data.startswith(ZSTD):
        return _filter(("zstd", "-dc", "--quiet"), data[:-_SIZE_TRAILER], name)
    raise BuildError(
        f"The kernel '{name}' is compressed in a way that is not known here (it begins with {data[:4].hex(' ')}); "
        "gzip, xz, LZ4 and Zstandard are."
    )


def _filter(command: tuple[str, ...], data: bytes, name: str) -> bytes:
    with tempfile.TemporaryFile() as source:
        source.write(data)
        source.seek(0)
        try:
            done = subprocess.run(command, stdin=source, capture_output=True, check=False, env={"PATH": TOOL_PATH})
        except FileNotFoundError as error:
            raise missing_tool(command[0]) from error
    if done.returncode != 0:
        raise _damaged(name, done.stderr.decode("utf-8", "replace").strip())
    return done.stdout


def _damaged(name: str, why: str) -> BuildError:
    return BuildError(f"The kernel '{name}' cannot be decompressed: {why}.")


def vmlinux(path: Path) -> bytes:
    """The uncompressed kernel of the bzImage at `path`."""
    image = path.read_bytes()
    return decompress(payload(image, path.name), path.name)
