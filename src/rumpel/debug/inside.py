"""Runs in GDB's own Python: connects to the machine, and gives GDB the symbols of programs as they are started.

The file that the environment variable RUMPEL_DEBUG names holds what `symbols` found out. Only the standard library and
GDB's own module are there.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

gdb: Any = importlib.import_module("gdb")  # it is in no package: GDB brings it

_PATIENCE = 120  # seconds for an answer of QEMU, which may be busy with a snapshot of the machine
_PAGE = 0xFFF
_MASK = (1 << 64) - 1


class Debugged:
    """The machine, as this GDB sees it."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known
        self._waiting = list(known["programs"])
        self._bases: dict[str, int] = {}
        self._start: Any = None

    def attach(self) -> None:
        """Load the kernel's symbols, connect, and run to where the session is to begin."""
        for option in ("confirm off", "breakpoint pending on", f"remotetimeout {_PATIENCE}"):
            _run(f"set {option}")
        for prefix, folder in self.known["sources"]:
            _run(f"set substitute-path {_quoted(prefix)} {_quoted(folder)}")
        if self.known["kernel"]:
            _run(f"file {_quoted(self.known['kernel'])}")
        for remark in self.known["remarks"]:
            _say(remark)
        _run(f"target remote {self.known['socket']}")
        if self.known["stop"] in ("main", "entry"):
            self._run_to_program()
        else:
            self._follow()
            if self.known["stop"] == "kernel":
                _stop_at(self.known["kernel_main"])
                _run("continue", shown=True)

    def entered(self) -> dict[str, Any] | None:
        """The kernel starts a program: the one of those to come that it is now has symbols. None: it is another."""
        address = int(gdb.parse_and_eval("(unsigned long)$rsi")) & _MASK
        for program in self._waiting:
            if (address - program["entry"]) & _PAGE == 0:
                self._waiting.remove(program)
                base = address - program["entry"]
                self._bases[program["name"]] = base
                _run(f"add-symbol-file {_quoted(program['file'])} -o {base:#x}")
                _say(f"The program '{program['name']}' is at {base:#x}.")
                if not self._waiting:
                    self._start.enabled = False
                return dict(program)
        return None

    def _run_to_program(self) -> None:
        start = self._watch_for_programs()
        while True:
            _run("continue")
            if int(gdb.parse_and_eval("(unsigned long)$pc")) & _MASK != self.known["starts_program"]:
                _say("The machine has stopped before it started its program.")
                return
            program = self.entered()
            if program is not None and program["is_main"]:
                break
        start.enabled = False
        offset = program["main"] if self.known["stop"] == "main" and program["main"] else program["entry"]
        _stop_at(self._bases[program["name"]] + offset)
        _run("continue", shown=True)

    def _follow(self) -> None:
        """From now on programs get their symbols while the user's commands run the machine."""
        if self.known["starts_program"] and self._waiting:
            start = self._watch_for_programs()
            start.commands = "silent\npython rumpel_debugged.entered()\ncontinue"

    def _watch_for_programs(self) -> Any:
        # Hardware: before there are page tables, GDB may not write into the code.
        self._start = gdb.Breakpoint(f"*{self.known['starts_program']:#x}", gdb.BP_HARDWARE_BREAKPOINT, internal=True)
        self._start.silent = True
        return self._start


def _stop_at(address: int) -> None:
    _run(f"thbreak *{address:#x}")


def _run(command: str, *, shown: bool = False) -> None:
    said = gdb.execute(command, to_string=not shown)
    del said


def _say(sentence: str) -> None:
    gdb.write(f"rumpel: {sentence}\n")


def _quoted(path: str) -> str:
    """As GDB takes words apart (libiberty's buildargv)."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    rumpel_debugged = Debugged(json.loads(Path(os.environ["RUMPEL_DEBUG"]).read_text()))
    rumpel_debugged.attach()
