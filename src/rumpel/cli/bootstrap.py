"""Set-up: the Python environment and the Debian packages, before anything of Rumpel's can be imported.

The launcher runs this with the machine's own Python, so it uses the standard library only. An environment is built
in `.venvs/`, and `.venv`, a symbolic link, is moved to it when it is complete: whoever uses `.venv` sees the old
one or the new one. A stamp in the environment for each level says what it was made of; the launcher compares it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rumpel.errors import HostError

STAMP_FORM = "1"
APT_LISTS = Path("/var/lib/apt/lists")
OUTPUT_LINES = 30


@dataclass(frozen=True)
class Level:
    """How much of the set-up a command needs. `files` are below requirements/, in the order of the digest."""

    name: str
    python: str
    debian: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return (self.python, *self.debian)

    def includes(self, other: Level) -> bool:
        """Whether a machine at this level is at `other` too: dev.txt holds all of run.txt."""
        return self.python in ("dev.txt", other.python) and set(other.debian) <= set(self.debian)


BASE = Level("base", "run.txt")
RUN = Level("run", "run.txt", ("debian.txt",))
DEV = Level("dev", "dev.txt")
TEST = Level("test", "dev.txt", ("debian.txt", "debian-test.txt"))
LEVELS = (BASE, RUN, DEV, TEST)
EMULATOR = Level("emulator", "run.txt", ("debian-emulator.txt",))  # what `rumpel qemu build` needs; no stamp is kept


def stamp(root: Path, level: Level, environment: Path) -> str:
    """The first line of the level's stamp, as it must be for `environment`."""
    digest = hashlib.sha256(b"".join((root / "requirements" / name).read_bytes() for name in level.files))
    return f"{STAMP_FORM} {root} {os.path.realpath(environment / 'bin/python')} {digest.hexdigest()}"


def is_set_up(root: Path, level: Level) -> bool:
    """Whether `.venv` was made for this level from today's requirements, by a Python that is still there."""
    environment = root / ".venv"
    try:
        lines = (environment / f"rumpel-{level.name}").read_text().splitlines()
    except OSError:
        return False
    asked = os.environ.get("RUMPEL_PYTHON", "")
    return (
        len(lines) == 2
        and os.access(environment / "bin/python", os.X_OK)
        and lines[0] == stamp(root, level, environment)
        and asked in ("", lines[1])
    )


def required_packages(root: Path, level: Level) -> list[str]:
    """The Debian packages of the level, in the order of the files. A line `PACKAGE unless PROGRAM` counts where there
    is no such program: it may have come in another way."""
    lines = [line for name in level.debian for line in (root / "requirements" / name).read_text().splitlines()]
    packages = []
    for line in lines:
        package, _, program = line.partition("#")[0].strip().partition(" unless ")
        if package and (not program or shutil.which(program) is None):
            packages.append(package)
    return packages


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Which of the Debian packages are not installed; raises HostError where this is no Debian system."""
    if not packages:
        return []
    query = shutil.which("dpkg-query")
    if query is None:
        raise HostError(
            "This is no Debian system: 'dpkg-query' is not on the PATH.",
            hint="Rumpel gets its tools and sources through apt; it needs Debian 12 or a system made from it.",
        )
    answer = subprocess.run(
        [query, "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in answer.stdout.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def set_up(root: Path, level: Level, *, verify: bool = False) -> None:
    """Bring this machine to `level`: Debian packages, then the environment. Safe with two at once.

    With `verify`, Debian's packages are looked at even where the stamp says that they were there.
    """
    if is_set_up(root, level) and not verify:
        return
    with _locked(root):
        if is_set_up(root, level) and not verify:
            return  # another one did it while this one waited
        _set_up_packages(root, level)
        only_python = DEV if level.python == DEV.python else BASE
        environment = root / ".venv"
        if is_set_up(root, only_python):
            _write_stamps(root, level, environment.resolve())
            return
        keep_dev = (environment / f"rumpel-{DEV.name}").exists()
        made_for = Level(level.name, DEV.python, level.debian) if keep_dev else level
        _switch(root, _build_environment(root, made_for))


def _set_up_packages(root: Path, level: Level) -> None:
    packages = required_packages(root, level)
    if importlib.util.find_spec("ensurepip") is None and "python3-venv" not in packages:
        packages.append("python3-venv")
    missing = missing_packages(packages)
    if missing:
        _install_or_tell(
            missing,
            f"Debian packages are missing, and only the administrator may install them: {', '.join(missing)}.",
            told=[*missing, *missing_packages(required_packages(root, RUN))],
        )


def bring(program: str, package: str, why: str) -> None:
    """Install the Debian package that brings `program`, where it is not on the PATH. Raises HostError where this user
    may not; `why` ends the sentence "'PROGRAM' is not installed; ..."."""
    if shutil.which(program) is None:
        _install_or_tell([package], f"'{program}' is not installed; {why}")


def bring_emulator_packages(root: Path, *, offline: bool = False) -> None:
    """Install the Debian packages that an emulator is built with. Raises HostError where this user may not, or nothing
    may be fetched (`offline`)."""
    missing = missing_packages(required_packages(root, EMULATOR))
    if missing and offline:
        named = ", ".join(missing)
        raise _to_paste(missing, f"Nothing may be fetched, but Debian packages are missing to build QEMU: {named}.")
    if missing:
        _install_or_tell(missing, f"Debian packages are missing that QEMU is built with: {', '.join(missing)}.")


def _install_or_tell(packages: Sequence[str], message: str, told: Sequence[str] = ()) -> None:
    """Install Debian packages, or raise HostError with the line to paste where only the administrator may; `told` are
    those of the line, where it is to bring more."""
    administrator = _administrator()
    if administrator is None:
        raise _to_paste(told or packages, message)
    install_packages(packages, administrator)


def _to_paste(packages: Sequence[str], message: str) -> HostError:
    """The error that says `message`, and the line that installs the packages."""
    sudo = "sudo " if shutil.which("sudo") else ""
    line = f"{sudo}apt-get install --yes --no-install-recommends {' '.join(dict.fromkeys(packages))}"
    paste = "Paste" if sudo or os.geteuid() == 0 else "As root, paste"
    return HostError(message, hint=f"{paste} this line, then start again:\n    {sudo}apt-get update && {line}")


def _administrator() -> tuple[str, ...] | None:
    """The words before a command that make the administrator run it; None where this user may not."""
    if os.geteuid() == 0:
        return ()
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    asked = subprocess.run([sudo, "-n", "true"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return (sudo, "-n") if asked.returncode == 0 else None


def install_packages(packages: Sequence[str], administrator: Sequence[str]) -> None:
    """Install Debian packages through apt; its lists are brought up to date when they are empty or too old."""
    apt = [*administrator, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"]
    apt += ["-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0"]
    update = [*apt, "update"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    what = f"Installing Debian packages: {', '.join(packages)}"
    if not any(APT_LISTS.glob("*_Packages*")):
        _step("Bringing apt's lists of packages up to date", update)
    else:
        with contextlib.suppress(HostError):
            _step(what, install)
            return
        _step("That failed, perhaps by old lists: bringing them up to date", update)
    _step(what, install)


def _build_environment(root: Path, level: Level) -> Path:
    """Make an environment with the level's Python packages and its stamps; nothing is left of one that failed."""
    environments = root / ".venvs"
    current = os.path.realpath(root / ".venv")
    for old in environments.iterdir():  # the one before the current is left: a process may still run in it
        if old.is_dir() and str(old) != current and not (old / "rumpel-base").exists():
            shutil.rmtree(old)
    environment = Path(tempfile.mkdtemp(prefix=f"{time.strftime('%Y%m%d-%H%M%S')}-", dir=environments))
    environment.chmod(0o755)
    python = environment / "bin/python"
    requirements = root / "requirements" / level.python
    try:
        version = ".".join(str(number) for number in sys.version_info[:3])
        _step(
            f"Making a Python environment ({sys.executable}, {version})",
            [sys.executable, "-I", "-m", "venv", environment],
        )
        count = sum(1 for line in requirements.read_text().splitlines() if line[:1].isalnum())
        pip: list[str | Path] = [python, "-I", "-m", "pip", "--no-input", "--disable-pip-version-check", "--quiet"]
        _step(
            f"Installing {count} Python packages, pinned in requirements/{level.python}, through pip",
            [*pip, "install", "--require-hashes", "--only-binary", ":all:", "--requirement", requirements],
        )
        (site_packages,) = environment.glob("lib/python3*/site-packages")
        (site_packages / "rumpel.pth").write_text(f"{root / 'src'}\n")
        _write_stamps(root, level, environment)
    except BaseException:
        shutil.rmtree(environment, ignore_errors=True)
        raise
    return environment


def _write_stamps(root: Path, level: Level, environment: Path) -> None:
    for other in LEVELS:
        if level.includes(other):
            path = environment / f"rumpel-{other.name}"
            aside = path.with_name(path.name + ".new")
            aside.write_text(f"{stamp(root, other, environment)}\n{os.environ.get('RUMPEL_PYTHON', '')}\n")
            aside.replace(path)


def _switch(root: Path, environment: Path) -> None:
    """Point `.venv` to `environment` in one step. A folder of that name that is not ours is moved aside, never lost."""
    link = root / ".venv"
    before = link.resolve() if link.is_symlink() else None
    if before is None and link.exists():
        number = next(n for n in range(1, 1000) if not (root / f".venv.before-{n}").exists())
        link.rename(root / f".venv.before-{number}")
        _say(f"'.venv' was not made by Rumpel: it is '.venv.before-{number}' now.")
    aside = root / ".venvs" / "link"
    aside.unlink(missing_ok=True)
    aside.symlink_to(Path(".venvs") / environment.name)
    aside.replace(link)
    for old in sorted(path for path in environment.parent.iterdir() if path.is_dir()):
        if old not in (environment, before):
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the checkout's set-up lock; waits for another set-up of the same checkout."""
    try:
        (root / ".venvs").mkdir(exist_ok=True)
        lock = (root / ".venvs" / "lock").open("w")
    except OSError as error:
        raise HostError(
            f"The set-up needs to write to the checkout: '{error.filename}': {error.strerror}.",
            hint=f"Run it once as the owner of '{root}', or use a clone of your own.",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another command sets this checkout up; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _step(what: str, command: Sequence[str | Path]) -> None:
    """Run one step of the set-up, saying what it is and how long it took; HostError holds the tool's own words."""
    start = time.monotonic()
    terminal = sys.stderr.isatty()
    _say(f"{what} ...")
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
                    break
                if terminal:
                    print(f"\r  {time.monotonic() - start:.0f} s", end="", file=sys.stderr, flush=True)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if terminal:
            print("\r", end="", file=sys.stderr)
        if process.returncode == 0:
            _say(f"  done in {time.monotonic() - start:.0f} s")
            return
        output.seek(0)
        words = "\n".join("    " + line for line in output.read().splitlines()[-OUTPUT_LINES:])
    raise HostError(
        f"{what} failed with status {process.returncode}. '{Path(command[0]).name}' said:\n{words}",
        hint="Nothing was left half-made. Put right what it says, then start again.",
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """The launcher's entry: ROOT LEVEL. Ends with the exit status of the error, or 130 when interrupted."""
    root = Path(sys.argv[1])
    level = next(level for level in LEVELS if level.name == sys.argv[2])
    try:
        set_up(root, level)
    except HostError as error:
        print(f"rumpel: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("\nrumpel: The set-up was interrupted; the next command starts it again.", file=sys.stderr)
        sys.exit(130)
