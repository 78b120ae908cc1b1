"""One program in an image: no second one, no script that could run, nothing for another architecture."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence

from rumpel.build.cpio import Entry
from rumpel.build.elf import ARCHITECTURE, is_elf, read_elf, script_interpreter
from rumpel.build.step import part_name
from rumpel.errors import BuildError
from rumpel.resolve.plan import Frozen


class Allowed(Frozen, frozen=True):
    """A program that the plan names: its absolute path, the part that it belongs to, and the name of the runtime that
    runs it; empty where it is machine code. `dynamic`: it may ask for a dynamic linker, which the kernel can start."""

    path: str
    owner: str
    runtime: str = ""
    dynamic: bool = False


def check_programs(entries: Sequence[Entry], owners: Mapping[str, str], allowed: Sequence[Allowed]) -> None:
    """Raises BuildError for the first file of a root filesystem that must not be there, or is missing."""
    files = {f"/{entry.path}": entry for entry in entries if not stat.S_ISDIR(entry.mode)}
    for program in allowed:
        _check_allowed(program, files)
    machine_code = {program.path: program for program in allowed if not program.runtime}
    for path, entry in files.items():
        if not stat.S_ISREG(entry.mode):
            continue
        who = part_name(owners.get(entry.path, "kernel/rumpel"))
        if is_elf(entry.data):
            elf = read_elf(entry.data, f"The file '{path}' of {who}")
            if elf.architecture != ARCHITECTURE:
                raise BuildError(
                    f"The file '{path}' of {who} is for the architecture '{elf.architecture}', not for {ARCHITECTURE}.",
                    hint="Take the file for x86-64, or leave it out.",
                )
            if elf.interpreter and path in machine_code and not machine_code[path].dynamic:
                raise BuildError(
                    f"The program '{path}' of {who} is linked dynamically, but the plan has it as a static one.",
                    hint="Take a static program; or remove 'static' from its component, or add 'dynamic-linking' to "
                    "its 'needs'. Then it runs on kernels that provide 'dynamic-linking'.",
                )
            if elf.is_program and path not in machine_code:
                raise BuildError(
                    f"The file '{path}' of {who} is a program, but no 'entry' names it; an image holds one program.",
                    hint="Leave it out: 'except' of the component, or a narrower pattern.",
                )
        elif entry.mode & 0o111 and script_interpreter(entry.data) and path not in {each.path for each in allowed}:
            raise BuildError(
                f"The file '{path}' of {who} is an executable script (for '{script_interpreter(entry.data)}'), but no "
                "'entry' names it; an image holds one program.",
                hint="Leave it out, or make it a file that cannot be executed (mode 0644).",
            )


def _check_allowed(program: Allowed, files: Mapping[str, Entry]) -> None:
    who = part_name(program.owner)
    entry = files.get(program.path)
    if entry is None:
        raise BuildError(
            f"The {who} names '{program.path}' as its program, but no part puts a file there.",
            hint="Correct its 'entry', or add the file under its 'files'.",
        )
    if program.runtime or is_elf(entry.data) or stat.S_ISLNK(entry.mode):
        return
    interpreter = script_interpreter(entry.data)
    if interpreter:
        name = interpreter.rpartition("/")[2]
        raise BuildError(
            f"The program '{program.path}' of {who} is a script for '{interpreter}', which is not in the image.",
            hint=f"Name the component of role 'runtime' that brings '{name}': 'runtime: NAME'.",
        )
    raise BuildError(
        f"The program '{program.path}' of {who} is neither an ELF program nor a script.",
        hint="Name the component of role 'runtime' that runs it: 'runtime: NAME'.",
    )
