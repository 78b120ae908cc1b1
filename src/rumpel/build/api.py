"""Building from Python: the same SCons build as on the command line, in a process of its own.

manifest = build("sqlite-web", BuildOptions(kernel="debian"), progress=print)
print(manifest.directory, manifest.kernel.sha256)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rumpel.build.manifest import Manifest, load_manifest
from rumpel.build.owner import PATIENCE
from rumpel.build.report import read_report
from rumpel.build.session import OWN_ROOT, REPORT_SETTING
from rumpel.errors import BuildError, RumpelError
from rumpel.places import cache_dir

# What a person has set for builds of other projects: it could clean (-c) or only pretend (-n).
_NOT_FOR_SCONS = frozenset({"SCONSFLAGS", "SCONS_LIB_DIR", "SCONS_CACHE_MSVC_CONFIG"})


@dataclass(frozen=True)
class BuildOptions:
    """What may be said about a build. `project` is the folder that holds `compositions/` and gets `build/`;
    `jobs` None: as many as there are processors; `scratch`: a folder for the build's own short-lived files."""

    project: Path = OWN_ROOT
    kernel: str | None = None
    machine: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    locked: bool = False
    offline: bool = False
    verbose: bool = False
    jobs: int | None = None
    scratch: Path | None = None

    def words(self) -> list[str]:
        """As words of SCons' command line."""
        words = [f"{name}={value}" for name, value in (("kernel", self.kernel), ("machine", self.machine)) if value]
        words += [f"set={name}={value}" for name, value in self.variables]
        switches = (("locked", self.locked), ("offline", self.offline), ("verbose", self.verbose))
        words += [f"{name}=1" for name, on in switches if on]
        return words + ([f"-j{self.jobs}"] if self.jobs is not None else [])


def build(
    composition: str,
    options: BuildOptions | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Build one composition; `progress` gets each line that the build prints, errors left out.

    Raises the error that the build ended with, of the kind and with the words that it has on the command line.
    """
    options = options or BuildOptions()
    with tempfile.TemporaryDirectory(prefix="rumpel-build-", dir=options.scratch) as folder:
        report = Path(folder) / "report.json"
        # -P: a file of the project, such as `secrets.py`, does not stand in for one of Python's own modules.
        command = [sys.executable, "-P", "-m", "SCons", "-Q", "--no-site-dir"]
        command += ["-f", str(OWN_ROOT / "SConstruct")]
        command += ["-C", str(options.project)]
        command += [f"composition={composition}", *options.words()]
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_SCONS}
        environment |= {REPORT_SETTING: str(report), "PYTHONUNBUFFERED": "1", "RUMPEL_CACHE": str(cache_dir())}
        with (
            tempfile.TemporaryFile(dir=options.scratch) as words,
            subprocess.Popen(
                command,
                env=environment,
                cwd=options.project,
                stdin=subprocess.PIPE,  # ends with this process: see rumpel.build.owner
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                errors="replace",
                process_group=0,
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    progress(line.rstrip("\n"))
                status = process.wait()
            except BaseException:
                _end(process)
                raise
            words.seek(0)
            said = words.read().decode("utf-8", "replace")
        told = read_report(report)
    if status != 0 or len(told.directories) != 1:
        raise told.failures()[0] if told.errors else _unexplained(status, said)
    return load_manifest(options.project / told.directories[0] / "manifest.json")


def _end(process: subprocess.Popen[str]) -> None:
    """End the build with the tools that it runs: they are a process group of their own."""
    _tell(process, signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except BaseException as error:
        _tell(process, signal.SIGKILL)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _tell(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _unexplained(status: int, output: str) -> RumpelError:
    ended = f"by signal {-status}" if status < 0 else f"with status {status}"
    return BuildError(f"The build ended {ended}.", output=output.rstrip("\n"))
