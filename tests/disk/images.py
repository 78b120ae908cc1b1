"""Trees of files, and erofs images of them."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def make_tree(folder: Path) -> None:
    """Files of every kind that the filesystem stores in a way of its own: empty, smaller than a block, of whole blocks,
    hardly and very compressible, in turns; a folder of several blocks; links."""
    noise = random.Random(1)
    words = [noise.randbytes(noise.randint(3, 12)) for _ in range(500)]
    text = b"".join(noise.choice(words) for _ in range(60_000))
    files = {
        "empty": b"",
        "one": b"x",
        "tail": noise.randbytes(5000),
        "blocks": noise.randbytes(3 * 4096),
        "text": text,
        "zeros": bytes(700_001),
        "noise": noise.randbytes(100_001),
        "turns": b"".join(text[i * 9000 : i * 9000 + 9000] + noise.randbytes(7001) for i in range(30)),
        "repeat": (b"abc" * 30_000) + noise.randbytes(300) + bytes(70_000),
    }
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "many").mkdir()
    for number in range(400):
        (folder / "many" / f"a file with a long name, number {number:04}").write_bytes(b"%d" % number)
    (folder / "deep/er/still").mkdir(parents=True)
    (folder / "deep/er/still/link").symlink_to("../../../text")
    (folder / "long").symlink_to("x" * 3000)


def make_image(root: Path, image: Path, options: tuple[str, ...]) -> None:
    """The erofs image of a folder."""
    command = ["mkfs.erofs", "--quiet", "-T0", "--all-root", "-x-1", *options, str(image), str(root)]
    subprocess.run(command, check=True, capture_output=True)


def first_extent(image: Path, path: str) -> tuple[int, int]:
    """Where the first piece of a file is in an image: its first byte, its length."""
    command = ["dump.erofs", f"--path={path}", "-e", str(image)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # "0: FROM..TO | LENGTH : FROM..TO | LENGTH", of the file and of the disk.
    found = re.search(r"^ *0:[^:]*: *(\d+)\.\. *(\d+)", told, re.MULTILINE)
    assert found is not None, told
    return int(found.group(1)), int(found.group(2)) - int(found.group(1))


def described(folder: Path, name: str) -> list[str]:
    """What the program `read_tree` must print for a folder that is called `name` there."""
    lines = [f"{name} folder {len(list(folder.iterdir()))}"]
    for path in sorted(folder.iterdir(), key=lambda each: os.fsencode(each.name)):
        inside = f"{name}/{path.name}"
        if path.is_symlink():
            lines.append(f"{inside} link {path.readlink()}")
        elif path.is_dir():
            lines += described(path, inside)
        else:
            data = path.read_bytes()
            lines.append(f"{inside} file {len(data)} {_checksum(data):016x}")
    return lines


def _checksum(data: bytes) -> int:
    value = FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value
