"""One build at a time in one checkout: a lock on the folder `build/`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from rumpel.errors import BuildError


def hold(folder: Path, say: Callable[[str], None]) -> IO[str]:
    """Lock `folder` until the answer is closed or the process ends; waits while another build holds it, and says so.

    The lock is the kernel's (flock(2)), so it cannot stay behind.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("a+", encoding="ascii")
    except OSError as error:
        raise BuildError(
            f"The folder '{folder}' cannot be written: {error.strerror}.", hint="Check its permissions and its disk."
        ) from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        owner = stream.read().strip()
        say(f"Another build{f' (process {owner})' if owner else ''} runs in '{folder}'; waiting for it to end.")
        fcntl.flock(stream, fcntl.LOCK_EX)
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()}\n")
    stream.flush()
    return stream
