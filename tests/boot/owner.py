"""An owner for tests: starts the machine that standard input describes, says QEMU's pid, and waits."""

from __future__ import annotations

import sys
import threading

import msgspec

from rumpel.machine.detached import Job
from rumpel.machine.instance import Instance, launch


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    started: list[Instance] = []

    def start() -> None:
        started.append(launch(job.plan, job.image, job.options))

    # From a thread that ends at once: QEMU must live as long as the process, not as the thread.
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    started[0].wait_ready()
    print(started[0].pid, flush=True)
    started[0].wait()


main()
