"""A build that another process started lives no longer than that process.

The build's standard input is a pipe that nothing is written to. It ends when its owner does, whatever ends the owner;
then the build is told to end with all its tools, which are a process group of their own.
"""

from __future__ import annotations

import os
import signal
import threading
import time

PATIENCE = 5.0  # seconds that a build has to end when it is told to


def end_with_owner() -> None:
    """Watch standard input from now on. Nothing where this process does not lead its process group."""
    if os.getpgrp() == os.getpid():
        threading.Thread(target=_watch, name="rumpel-owner", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(PATIENCE)
    os.killpg(0, signal.SIGKILL)
