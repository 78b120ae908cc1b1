"""Running the machine's own clients (apt, npm, pip, dpkg): words kept, nothing left behind, no endless wait."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import HostError, SourceError
from rumpel.sources.progress import Progress, Step, silent

TIMEOUT = 1800.0
_POLL = 0.2
_LAST_LINES = 8


@dataclass(frozen=True)
class Ended:
    """How a tool ended: its exit status and its own words."""

    command: tuple[str, ...]
    status: int
    output: str
    errors: str

    def last_words(self) -> str:
        """The end of what it said, indented, for a message; standard error where there is any."""
        text = self.errors if self.errors.strip() else self.output
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join("    " + line for line in lines[-_LAST_LINES:]) or "    (it said nothing)"

    def failure(self, message: str, *, hint: str, source: str = "") -> SourceError:
        """A SourceError that ends with the tool's own words."""
        tool = Path(self.command[0]).name
        return SourceError(
            f"{message} '{tool}' ended with status {self.status} and said:\n{self.last_words()}",
            hint=hint,
            source=source,
        )


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    debian_package: str,
    progress: Progress = silent,
    step: Step | None = None,
    timeout: float = TIMEOUT,
) -> Ended:
    """Run a tool to its end in `cwd`; `environment` is added to ours. What grows in `cwd` is reported as progress.

    Raises HostError where the tool is not installed (`debian_package` brings it), SourceError where it takes longer
    than `timeout` seconds. A failure of the tool itself is in the answer.
    """
    program = shutil.which(command[0])
    if program is None:
        raise HostError(
            f"'{command[0]}' is not installed on this machine; it is needed to fetch sources.",
            hint=f"On Debian, the package '{debian_package}' brings it: `apt-get install {debian_package}`.",
        )
    process = subprocess.Popen(
        [program, *command[1:]],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that its helpers end with it
    )
    deadline = time.monotonic() + timeout
    try:
        while True:
            if step is not None:
                progress(Step(step.text, min(_size_below(cwd), step.total or 1 << 62), step.total))
            try:
                output, errors = process.communicate(timeout=_POLL)
                break
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise SourceError(
                        f"`{' '.join(command)}` was ended because it took longer than {timeout:.0f} seconds.",
                        hint="Check the network of this machine and try again.",
                    ) from None
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return Ended(tuple(command), process.returncode, output.decode(errors="replace"), errors.decode(errors="replace"))


def _size_below(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # the tool moves and removes files while we look
        for path in folder.rglob("*"):
            total += path.lstat().st_size
    return total
