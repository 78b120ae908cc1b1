"""The source tree of Linux out of Debian's package `linux-source-*`, which holds it as one archive.

Unpacked once for all builds of this machine, beside the package's own tree, and never written to: kernels are built
out of tree. Other architectures and the documentation stay in the archive: a third of its files.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rumpel.build.step import ToolError, Workspace
from rumpel.errors import BuildError
from rumpel.resolve.plan import Source

FORMAT = 1  # counts changes of what the tree holds

# Patterns of tar. Documentation/Kconfig and arch/*/crypto/Kconfig belong to every architecture's configuration.
_LEFT_OUT = (
    "linux-source-*/arch/[!x]*/[!c]*",
    "linux-source-*/arch/xtensa/[!c]*",
    "linux-source-*/Documentation/[!K]*",
    "linux-source-*/tools/testing/*",
    "linux-source-*/tools/perf/*",
)
_VERSION = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)$", re.MULTILINE)


def source_tree(workspace: Workspace, source: Source) -> Path:
    """The folder of Linux's sources. Raises BuildError where the package holds none."""
    package = workspace.unpack(source)
    archives = sorted((package / "usr/src").glob("linux-source-*.tar.xz"))
    if len(archives) != 1:
        raise BuildError(
            f"The package '{source.package}' {source.version} holds {len(archives)} files 'linux-source-*.tar.xz'; one "
            "is needed.",
            hint="Name a package 'linux-source-VERSION' as the kernel's source.",
        )
    tree = package.with_name(f"{package.name}.linux-{FORMAT}")
    if not tree.is_dir():
        _unpack(workspace, archives[0], tree, source)
    return tree


def version_of(tree: Path) -> str:
    """The version in the tree's Makefile, such as 6.1.192."""
    found = dict(_VERSION.findall((tree / "Makefile").read_text("utf-8")))
    return ".".join(found.get(name, "?") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def _unpack(workspace: Workspace, archive: Path, tree: Path, source: Source) -> None:
    """The archive is pinned by its package's digest, and tar itself refuses names that lead out of the folder."""
    from filelock import FileLock

    partial = tree.with_name(f".partial.{tree.name}")
    with FileLock(tree.with_name(f".{tree.name}.lock")):
        if tree.is_dir():  # another build was faster
            return
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed: the lock is ours
        partial.mkdir(parents=True)
        command = ["tar", "--extract", "--xz", f"--file={archive}", f"--directory={partial}", "--strip-components=1"]
        command += ["--no-same-owner", "--no-same-permissions", "--anchored", "--wildcards"]
        command += ["--no-wildcards-match-slash"]
        command += [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        try:
            workspace.run(command)
        except ToolError as failure:
            shutil.rmtree(partial, ignore_errors=True)
            raise BuildError(
                f"The sources of Linux in '{source.package}' {source.version} cannot be unpacked.",
                hint="They need 1.2 GB in the cache's folder; RUMPEL_CACHE names another one.",
                output=failure.output,
            ) from failure
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(tree)
