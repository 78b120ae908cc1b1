"""Running the build of Linux: its make, out of tree, in a fixed environment, with its progress counted."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from pathlib import Path

from rumpel.build.step import (
    FIXED_ENVIRONMENT,
    TOOL_PATH,
    ToolError,
    Workspace,
    last_lines,
    missing_tool,
)
from rumpel.build.toolchain import CC
from rumpel.errors import BuildError, HostError
from rumpel.places import cache_dir

_TOOLS = ("make", "gcc", CC, "flex", "bison", "bc", "lz4", "xz")
_OBJECT = re.compile(r"^  (?:CC|AS) ")
_SHOWN_LINES = 60
OBJECT_CACHE_LIMIT = "300M"

# What a kernel says of its build is the same everywhere, so that its bytes are, too (Linux,
# Documentation/kbuild/reproducible-builds.rst).
_IDENTITY = {
    "KBUILD_BUILD_TIMESTAMP": "Wed Jan  1 00:00:00 UTC 2020",
    "KBUILD_BUILD_USER": "rumpel",
    "KBUILD_BUILD_HOST": "rumpel",
    "KBUILD_BUILD_VERSION": "1",
}


def require_tools(workspace: Workspace) -> None:
    """Raises HostError where a program or header is missing, before an hour of a person's time is."""
    for tool in _TOOLS:
        if not _installed(tool):
            raise missing_tool(tool)
    try:
        workspace.run(["gcc", "-fsyntax-only", "-include", "gelf.h", "-x", "c", "/dev/null"])
    except ToolError as failure:
        raise HostError(
            "The header 'gelf.h' is missing: Linux's own checker of its machine code is compiled with it.",
            hint="Install it: apt-get install libelf-dev",
        ) from failure


def make(workspace: Workspace, tree: Path, output: Path, *words: str, total: int = 0) -> None:
    """Run make for the source `tree` with everything that it writes in `output`. Raises ToolError.

    Where `total` is given, it is how many objects there will be, about, and the progress is shown. Where ccache is
    installed, objects are kept: most of them do not depend on what two configurations differ in.
    """
    command = ["make", f"--directory={tree}", f"O={output}", "ARCH=x86_64", f"CROSS_COMPILE={CC.removesuffix('gcc')}"]
    command += [f"-j{len(os.sched_getaffinity(0))}", *words]
    environment = {"PATH": TOOL_PATH, **FIXED_ENVIRONMENT, **_IDENTITY}
    if _installed("ccache"):
        command.append(f"CC=ccache {CC}")
        environment |= {"CCACHE_DIR": str(cache_dir() / "ccache"), "CCACHE_MAXSIZE": OBJECT_CACHE_LIMIT}
    workspace.show_command(command)
    lines: deque[str] = deque(maxlen=_SHOWN_LINES)
    count = 0
    with subprocess.Popen(
        command,
        cwd=output,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if total and _OBJECT.match(line):
                    count += 1
                    workspace.show_progress("KERNEL objects:", count, max(total, count))
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise ToolError(command, process.returncode, "\n".join(lines))


def _installed(tool: str) -> bool:
    return any((Path(folder) / tool).exists() for folder in TOOL_PATH.split(":"))


def make_error(message: str, failure: ToolError) -> BuildError:
    """A BuildError with what make said last: its error stands before what the other jobs still printed."""
    if re.search(r"^make.*\b(Interrupt|Terminated)$", failure.output, re.MULTILINE):
        return BuildError("The build of Linux was interrupted.", hint="What was compiled so far is kept by ccache.")
    errors = [line for line in failure.output.splitlines() if not re.match(r"^  [A-Z]+ +\S+$", line)]
    return BuildError(message, output=last_lines("\n".join(errors)))
