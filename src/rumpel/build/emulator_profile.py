"""What translates the guest's code in QEMU is compiled by what a guest's start asks of it (GCC: profile-guided).

Nearly all of a small machine's start under TCG is translation, and a translator is all branches. So its objects are
compiled twice: once to count, while the image of `TRAINED_WITH` starts, and once by these counts (GCC's manual,
"Options That Control Optimization", -fprofile-use). Code that the guest did not reach is compiled as ever.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from rumpel.build.toolchain import CC
from rumpel.errors import BuildError

CXX = CC.replace("gcc", "g++")
TRAINED_WITH = "hello"
TRAINING_LIMIT = 120  # seconds; it takes one
_SWITCH = "RUMPEL_PROFILE"
_COUNT = "-fprofile-generate"
_USE = "-fprofile-use -fprofile-partial-training -fprofile-correction -Wno-missing-profile"

# A compiler as QEMU's build calls it: what translates gets the flags of the environment, and so does a link.
_COMPILER = f"""#!/bin/sh
for last; do :; done
case " $* " in
*" -c "*) case $last in */tcg/*.c) exec COMPILER "$@" ${{{_SWITCH}-}} ;; esac ;;
*) exec COMPILER "$@" ${{{_SWITCH}-}} ;;
esac
exec COMPILER "$@"
"""


def write_compilers(folder: Path) -> list[str]:
    """The compilers to configure QEMU with; the environments below say which of the two compilations it is."""
    words = []
    for option, program in (("cc", CC), ("cxx", CXX)):  # QEMU links with the second
        compiler = folder / option
        compiler.write_text(_COMPILER.replace("COMPILER", program), "ascii")
        compiler.chmod(0o755)
        words.append(f"--{option}={compiler}")
    return words


def counting() -> Mapping[str, str]:
    """The environment of the first compilation."""
    return {_SWITCH: _COUNT}


def counted() -> Mapping[str, str]:
    """The environment of the second one."""
    return {_SWITCH: _USE}


def train(program: Path, image: Path) -> None:
    """Start `image`, a folder with nano for microvm, in the program that counts; the counts lie beside its objects.

    Raises BuildError where the guest does not come to its end, and then forgets the objects' counts with the program.
    """
    command = [
        str(program), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-M", "microvm,acpi=off,isa-serial=off,pic=off,pit=off", "-accel", "tcg,tb-size=64", "-cpu", "max,la57=off",
        "-m", "32M", "-bios", str(image / "firmware"), "-kernel", str(image / "kernel"),
        "-initrd", str(image / "rootfs.cpio"),
        "-chardev", "stdio,id=console,signal=off", "-device", "isa-serial,chardev=console,index=0",
        "-device", "isa-debug-exit,iobase=0x501,iosize=1", "-device", "virtio-rng-device",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TRAINING_LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BuildError(
            f"The emulator was built to be measured, but '{TRAINED_WITH}' did not end in it.",
            output=(error.stdout or b"").decode("utf-8", "replace"),
        ) from error
    if done.returncode != 1:  # isa-debug-exit: 2 * 0 + 1
        raise BuildError(
            f"The emulator was built to be measured, but '{TRAINED_WITH}' ended in it with status {done.returncode}.",
            output=done.stdout.decode("utf-8", "replace"),
        )


def forget_counting(output: Path) -> None:
    """Remove what was compiled to count, so that it is compiled anew by the counts."""
    counts = list(output.rglob("*.gcda"))
    if not counts:
        raise BuildError("The emulator was measured, but no counts were written.")
    for path in counts:
        path.with_suffix(".o").unlink(missing_ok=True)
        path.with_suffix(".gcno").unlink(missing_ok=True)
