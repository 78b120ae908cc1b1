"""A machine and a GDB that drives it: both command lines, and both as processes that end together.

In a `session_folder`, `launch` with `options_for` starts a machine that waits; after `wait_for_socket`, `run_gdb` of
the `gdb_command` drives it.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from rumpel.debug.symbols import Knowledge, to_json
from rumpel.errors import HostError, MachineError
from rumpel.machine.failure import end_message
from rumpel.machine.instance import Instance, Options

SOCKET = "gdb.sock"
_SESSION = "session.json"
_PATIENCE = 120.0  # seconds for QEMU to begin
_LONGEST_ADDRESS = 107  # bytes of a Unix socket's path: sockaddr_un(7)


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """A private folder with a short path, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rumpel-debug-") as folder:
        yield Path(folder)


def find_gdb() -> str:
    """The full path of GDB; raises HostError with the line to paste where there is none."""
    path = shutil.which("gdb")
    if path is None:
        raise HostError(
            "GDB is not installed: there is no program 'gdb'.",
            hint="Install it, as root: apt-get install --no-install-recommends gdb",
        )
    return path


def socket_in(folder: Path) -> str:
    """The path of the socket between both. Raises HostError where the folder's path is too long for one."""
    path = str(folder / SOCKET)
    if len(path.encode()) > _LONGEST_ADDRESS:
        raise HostError(
            f"The path of the debugger's socket is too long: '{path}'.",
            hint="Name a folder with a shorter path in TMPDIR or RUMPEL_STATE.",
        )
    return path


def options_for(options: Options, folder: Path) -> Options:
    """The start of a machine that waits for a GDB. Under TCG: only there breakpoints hold in memory that is not mapped
    yet."""
    return msgspec.structs.replace(options, debugger=socket_in(folder), accelerator="tcg")


def wait_for_socket(instance: Instance) -> None:
    """Wait until QEMU listens for GDB: it opens the socket before it answers anything. Raises MachineError where it
    does not, with how it ended."""
    try:
        instance.running.monitor.execute("query-status", timeout=_PATIENCE)
    except MachineError as error:
        if not instance.running.wait_end(2.0):
            raise
        raise instance.failed(end_message(instance.running)) from error


def gdb_command(knowledge: Knowledge, folder: Path, words: Sequence[str]) -> tuple[str, ...]:
    """GDB's command line; what it is to know is written into `folder`. `words` are GDB's own."""
    told = folder / _SESSION
    told.write_bytes(to_json(msgspec.structs.replace(knowledge, socket=socket_in(folder))))
    inside = Path(__file__).with_name("inside.py")
    return ("env", f"RUMPEL_DEBUG={told}", find_gdb(), "-q", "-x", str(inside), *words)


def run_gdb(command: Sequence[str]) -> int:
    """Run GDB on this terminal to its end; its exit status (negative: the signal). Ctrl-C is GDB's alone."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        process = subprocess.Popen(command)
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    finally:
        signal.signal(signal.SIGINT, before)


def pasteable(machine: str, gdb: Sequence[str]) -> str:
    """Two lines for two terminals: QEMU's, then GDB's."""
    return f"{machine}\n{shlex.join(gdb)}"
