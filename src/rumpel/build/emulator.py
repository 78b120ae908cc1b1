"""Building an emulator: QEMU from Debian's source, with the machines and devices of the parts here and no others.

    built = build_emulator(plan, workspace)

Debian's QEMU has all machines and devices there are, in a program with fifty shared libraries: to load these is half
of what its start costs. This one is linked statically, and starts in less than half of the time. Its firmware is
Debian's (the package qemu-system-data). Sources: QEMU's `docs/devel/kconfig.rst`, `docs/devel/build-system.rst`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rumpel.build import emulator_profile as profile
from rumpel.build.emulators import Built, built_emulator, folder_of, write_back, write_built
from rumpel.build.lock import hold
from rumpel.build.step import (
    FIXED_ENVIRONMENT,
    TOOL_PATH,
    ToolError,
    Workspace,
    last_lines,
)
from rumpel.build.toolchain import CC, STRIP, detect
from rumpel.errors import BuildError, HostError
from rumpel.model.names import suggestion
from rumpel.resolve.emulator import EmulatorPlan

PROGRAM = "qemu-system-x86_64"
FORMAT = 2  # counts changes of how it is built
_TOOLS = {"meson": "meson", "ninja": "ninja-build", "pkg-config": "pkgconf", "setpriv": "util-linux", CC: "gcc"}
_DEVICES_FILE = "rumpel"
_PROGRESS = re.compile(r"^\[(\d+)/(\d+)\] ")
_SHOWN_LINES = 60
_FIRMWARE = "/usr/share/qemu:/usr/share/seabios"  # of Debian's packages qemu-system-data and seabios

# The prefix is none of a real machine: QEMU takes what lies below it for relative to its own program.
_CONFIGURE = (
    "--prefix=/rumpel", f"--firmwarepath={_FIRMWARE}",
    "--without-default-features", "--without-default-devices",
    "--enable-tcg", "--enable-kvm", "--enable-slirp", "--enable-fdt=system", "--enable-zstd",
    "--enable-seccomp", "--enable-linux-io-uring",
    "--disable-docs", "--disable-tools", "--disable-guest-agent", "--disable-install-blobs",
    "--static", "--enable-pie", "--disable-debug-info", "--disable-qom-cast-debug", "--disable-werror",
)  # fmt: skip


def plan_digest(plan: EmulatorPlan, linked: Sequence[str]) -> str:
    """What a built emulator is known by: its plan, how it is built, and the compiler and libraries that go into it, as
    `linked_versions` tells them."""
    parts = (str(FORMAT), " ".join(_CONFIGURE), plan.digest, *sorted(linked))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def linked_versions(packages: Sequence[str]) -> tuple[str, ...]:
    """What of this computer goes into an emulator that is built here: the compiler's and the linker's first lines, and
    "PACKAGE VERSION" for each of Debian's `packages`. Raises HostError where one of them is not installed."""
    tools = detect()
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Version}\n", *packages]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
    except OSError as error:
        raise HostError(f"The program 'dpkg-query' cannot be run: {error.strerror}.") from error
    lines = sorted({line.removeprefix("installed ") for line in shown.splitlines() if line.startswith("installed ")})
    missing = set(packages) - {line.split()[0] for line in lines}
    if missing:
        raise HostError(
            f"Debian packages are missing that QEMU is built with: {', '.join(sorted(missing))}.",
            hint="`rumpel qemu build` installs them.",
        )
    return (tools.cc, tools.ld, *lines)


def build_emulator(
    plan: EmulatorPlan,
    workspace: Workspace,
    linked: Sequence[str],
    trainer: Callable[[Path], Path],
    say: Callable[[str], None] = lambda line: None,
) -> Built:
    """Build it where that was not done yet, and take it into use; `linked` is what `linked_versions` tells. `trainer`
    is given a folder, and answers with that of an image in it, by whose start the emulator is compiled
    (`emulator_profile`). Raises BuildError, HostError.

    Safe with two at once - the second waits, and says so - and with machines that run the one before.
    """
    folder = folder_of(plan.name)
    digest = plan_digest(plan, linked)
    with hold(folder, say):
        built = built_emulator(plan.name)
        if built is not None and built.plan == digest:
            return built
        for left in folder.glob(".building.*"):  # by a build that was killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        place = folder / digest[:32]
        built = _described_again(place, digest)
        if built is None:
            with tempfile.TemporaryDirectory(prefix=".building.", dir=folder) as name:
                program = _build(plan, workspace, Path(name), trainer)
                built = _describe(program, digest, place.name)
                write_back(program)
                place.mkdir(exist_ok=True)
                program.replace(place / PROGRAM)
        os.utime(place)
        write_built(built, plan.name)
        _remove_old(folder, place)
    return built


def _described_again(place: Path, digest: str) -> Built | None:
    """The program that was built before and is out of use; None where there is none, or it does not run."""
    if not (place / PROGRAM).is_file():
        return None
    try:
        return _describe(place / PROGRAM, digest, place.name)
    except BuildError:
        return None


def _remove_old(folder: Path, used: Path) -> None:
    """Remove the programs that are out of use but for the latest of them: a start may have chosen it just now. A
    folder's time is that of its last coming into use."""
    others = [each for each in folder.iterdir() if each.is_dir() and each != used]
    for other in sorted(others, key=lambda each: each.stat().st_mtime)[:-1]:
        shutil.rmtree(other, ignore_errors=True)


def _build(plan: EmulatorPlan, workspace: Workspace, work: Path, trainer: Callable[[Path], Path]) -> Path:
    tree = changed_source(plan, workspace.unpack(plan.source("qemu")), work / "source")
    _check_known(plan, tree)
    network = _build_network(workspace.unpack(plan.source("libslirp")), workspace, work)
    devices = work / f"{_DEVICES_FILE}.mak"
    devices.write_text("".join(f"CONFIG_{symbol}=y\n" for symbol in plan.symbols), "ascii")
    # QEMU looks for the file in its own tree, which is not written to: a path that leads out of it.
    chosen = os.path.relpath(devices.with_suffix(""), tree / "configs/devices" / plan.target)
    output = work / "build"
    output.mkdir()
    # What __FILE__ says must not depend on where the sources are unpacked.
    relative = os.path.relpath(tree, output)
    flags = f"-ffile-prefix-map={relative}=. -ffile-prefix-map={tree}=."
    configure = [str(tree / "configure"), f"--target-list={plan.target}", f"--extra-cflags={flags}", *_CONFIGURE]
    configure += profile.write_compilers(work)
    configure.append(f"--with-devices-{plan.target.removesuffix('-softmmu')}={chosen}")
    configure.append(f"--with-pkgversion=rumpel, Debian {plan.source('qemu').version}")
    try:
        workspace.show_progress("EMULATOR configuring:", 0, 1)
        workspace.run(configure, cwd=output, extra=_environment(network))
    except ToolError as failure:
        raise BuildError(
            f"The emulator '{plan.name}' cannot be configured.",
            hint="The libraries that it needs are the packages of 'requirements/debian-emulator.txt', the symbols the "
            "'kconfig' of machines and drivers.",
            output=last_lines(failure.output),
        ) from failure
    _check_symbols(plan, output / f"{plan.target}-config-devices.mak")
    image = trainer(work / "trainer")
    try:
        _ninja(workspace, output, PROGRAM, profile.counting())
        workspace.show_progress("EMULATOR measuring:", 0, 1)
        profile.train(output / PROGRAM, image)
        profile.forget_counting(output)
        _ninja(workspace, output, PROGRAM, profile.counted())
    except ToolError as failure:
        raise BuildError(f"The emulator '{plan.name}' does not compile.", output=failure.output) from failure
    workspace.run([STRIP, "--strip-all", str(output / PROGRAM)], cwd=output)
    return output / PROGRAM


def changed_source(plan: EmulatorPlan, tree: Path, place: Path) -> Path:
    """QEMU's source with the plan's files and changes, in `place`; `tree`, which is shared, stays as it is. Raises
    BuildError for a file that is there, and for a change that does not fit."""
    if not plan.changes and not plan.files:
        return tree
    shutil.copytree(tree, place, symlinks=True, copy_function=_link)
    for name, text in plan.files:
        path = place / name
        if path.exists():
            raise BuildError(
                f"QEMU has a file '{name}' of its own, where the emulator '{plan.name}' lays one.",
                hint=f"Give it another name under 'files' in 'hal/emulators/{plan.name}/emulator.yaml'.",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for change in plan.changes:
        path = place / change.file
        text = path.read_text("utf-8") if path.is_file() else ""
        behind = text.find(change.after)
        at = text.find(change.old, behind + len(change.after)) if behind >= 0 else -1
        if at < 0:
            missing = repr(change.old if behind >= 0 else change.after)
            what = f"has no text {missing}" if text else "is no file"
            raise BuildError(
                f"QEMU's '{change.file}' {what}. The emulator '{plan.name}' changes it, because {change.because}.",
                hint=f"QEMU {plan.source('qemu').version} is another one than the change was written for. Correct "
                f"'changes' in 'hal/emulators/{plan.name}/emulator.yaml', or take this one out.",
            )
        path.unlink()  # the file that it was is the tree's
        path.write_text(text[:at] + change.new + text[at + len(change.old) :], "utf-8")
    return place


def _link(source: str, target: str) -> None:
    """The same file by another name; a copy where the file system is another one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _build_network(tree: Path, workspace: Workspace, work: Path) -> Path:
    """libslirp as a static library; the folder of its pkg-config file."""
    prefix, output = work / "network", work / "libslirp"
    setup = ["meson", "setup", str(output), str(tree), "--default-library=static", "--buildtype=release"]
    setup += [f"--prefix={prefix}", "--libdir=lib"]
    try:
        flags = f"-ffile-prefix-map={os.path.relpath(tree, output)}=. -ffile-prefix-map={tree}=."
        workspace.run(setup, cwd=work, extra={**_environment(), "CFLAGS": flags, "CC": CC})
        workspace.run(["ninja", "-C", str(output), "install"], cwd=work, extra=_environment())
    except ToolError as failure:
        raise BuildError(
            "The user network 'libslirp' of the emulator does not compile.", output=last_lines(failure.output)
        ) from failure
    return prefix / "lib/pkgconfig"


def _environment(packages: Path | None = None) -> Mapping[str, str]:
    found = {"PYTHONDONTWRITEBYTECODE": "1"}  # the tree is shared, and not written to
    return found if packages is None else {**found, "PKG_CONFIG_PATH": str(packages)}


def _check_known(plan: EmulatorPlan, tree: Path) -> None:
    """Raises BuildError for a symbol that QEMU does not have: it would be taken as it stands."""
    files = (tree / name for name in ("Kconfig", "Kconfig.host"))
    found = [path for folder in ("hw", "accel", "backends", "target") for path in (tree / folder).rglob("Kconfig*")]
    text = "\n".join(path.read_text("utf-8", "replace") for path in (*files, *found) if path.is_file())
    known = set(re.findall(r"^config\s+(\w+)", text, re.MULTILINE))
    unknown = [symbol for symbol in plan.symbols if symbol not in known]
    if unknown:
        raise BuildError(
            f"QEMU has no Kconfig symbol {', '.join(map(repr, unknown))}, which a part names under 'kconfig'.",
            hint=suggestion(unknown[0], sorted(known), "Its symbols") if len(unknown) == 1 else "Correct the names.",
        )


def _check_symbols(plan: EmulatorPlan, written: Path) -> None:
    """Raises BuildError where Kconfig left out a symbol that a part names."""
    there = set(re.findall(r"^CONFIG_(\w+)=y$", written.read_text("ascii"), re.MULTILINE))
    missing = [symbol for symbol in plan.symbols if symbol not in there]
    if missing:
        raise BuildError(
            f"QEMU's Kconfig left out {', '.join(map(repr, missing))}, which parts name under 'kconfig'.",
            hint="Correct the symbol, or name what it depends on as well.",
        )


def _ninja(workspace: Workspace, folder: Path, target: str, extra: Mapping[str, str]) -> None:
    """Run ninja, its progress counted. It ends with this process, whatever ends this one. Raises ToolError."""
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        "ninja",
        f"-j{len(os.sched_getaffinity(0))}",
        "-C",
        str(folder),
        target,
    ]
    workspace.show_command(command)
    lines: deque[str] = deque(maxlen=_SHOWN_LINES)
    with subprocess.Popen(
        command, env={"PATH": TOOL_PATH, **FIXED_ENVIRONMENT, **_environment(), **extra}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                found = _PROGRESS.match(line)
                if found is None:
                    lines.append(line.rstrip("\n"))
                else:
                    workspace.show_progress("EMULATOR objects:", int(found[1]), int(found[2]))
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise ToolError(command, process.returncode, "\n".join(lines))


def _describe(program: Path, digest: str, folder: str) -> Built:
    """Ask a program what it can do; `folder` is the name of that in which it is kept. Raises BuildError where it does
    not run."""

    def ask(*words: str) -> str:
        command = f"'{program.name} {' '.join(words)}'"
        try:
            done = subprocess.run(
                [program, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise BuildError(f"The emulator was built, but {command} cannot be run: {error.strerror}.") from error
        if done.returncode != 0 or not done.stdout:
            raise BuildError(
                f"The emulator was built, but {command} fails with status {done.returncode}.", output=done.stderr
            )
        return done.stdout

    data = program.read_bytes()
    return Built(
        program=f"{folder}/{PROGRAM}",
        plan=digest,
        version=ask("--version").splitlines()[0].removeprefix("QEMU emulator version "),
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        machines=_machines(ask("-M", "help")),
        devices=tuple(sorted(re.findall(r'^name "([^"]+)"', ask("-device", "help"), re.MULTILINE))),
    )


def _machines(listing: str) -> tuple[str, ...]:
    """`-M help`: a name and what it is on each line; `q35` is told as the alias of the newest."""
    names = {line.split()[0] for line in listing.splitlines()[1:] if line.strip()}
    return tuple(sorted(names))


def require_tools() -> None:
    """Raises HostError where a program is missing that the emulator is built with."""
    for tool, package in _TOOLS.items():
        if not any((Path(folder) / tool).exists() for folder in TOOL_PATH.split(":")):
            raise HostError(f"The program '{tool}' is missing.", hint=f"Install it: apt-get install {package}")
