"""The nano kernel of a plan as steps: which of its files are compiled with which folders of headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rumpel.build.kernel_nano import (
    INCLUDE,
    LINKER_SCRIPT,
    SPEED_FLAGS,
    SYMBOL_TABLE,
    CompileKernelFile,
    LinkKernel,
    LinkVdso,
    is_whole,
)
from rumpel.build.step import AnyPath, ProjectPath, TreePath, Workspace
from rumpel.build.toolchain import Toolchain
from rumpel.errors import BuildError
from rumpel.resolve.plan import Plan, Source

Node = Any  # SCons has no types

EMBEDS_VDSO = "src/vdso_image.S"


@dataclass(frozen=True)
class NanoKernel:
    """Declares the kernel of one plan. `once` declares a piece that plans may share, `step` one of this plan's."""

    plan: Plan
    folder: str
    parts: str
    workspace: Workspace
    tools: Toolchain
    file: Callable[[str], Node]
    once: Callable[..., list[Node]]
    step: Callable[..., list[Node]]

    def declare(self) -> tuple[Node, Node]:
        """The nodes of the kernel, and of the kernel with debugging information."""
        kernel = self.plan.kernel
        own = [path for path in kernel.platform if path != SYMBOL_TABLE]
        own += [f"{kernel.directory}/{name}" for name in kernel.files]
        objects = [self._compile(path, self._own) for path in own]
        for driver in self.plan.drivers:
            objects += [
                self._compile(f"{driver.directory}/{name}", self._own, flags=SPEED_FLAGS) for name in driver.sources
            ]
        objects += [
            self._compile(
                f"{kernel.directory}/{name}", self._group, flags=() if name.startswith("src/") else SPEED_FLAGS
            )
            for name in kernel.group_sources
        ]
        for files in kernel.group_files:
            source = self._source(files.source)
            objects += [self._foreign(source, name) for name in files.files]
        targets = [f"{self.folder}/debug/kernel", f"{self.folder}/kernel"]
        link = LinkKernel(part=self._part, tools=self.tools)
        debug, stripped = self.step(link, [self.file(LINKER_SCRIPT), self.file(SYMBOL_TABLE), *objects], targets)
        return stripped, debug

    @property
    def _part(self) -> str:
        return f"kernel/{self.plan.kernel.name}"

    @property
    def _own(self) -> tuple[AnyPath, ...]:
        folders = (*INCLUDE, f"{self.plan.kernel.directory}/include")
        return tuple(ProjectPath(project_path=folder) for folder in folders)

    @property
    def _group(self) -> tuple[AnyPath, ...]:
        """Optional parts see their own headers and those of the sources that they are made of, too."""
        kernel = self.plan.kernel
        own = [ProjectPath(project_path=_below(kernel.directory, name)) for name in kernel.group_include]
        trees = [
            TreePath(source=self._source(files.source), path=name)
            for files in kernel.group_files
            for name in files.include
        ]
        return (*self._own, *own, *trees)

    def _compile(self, path: str, include: tuple[AnyPath, ...], flags: tuple[str, ...] = ()) -> Node:
        if not self.workspace.locate(path).is_file():
            raise BuildError(
                f"The {self._part.replace('/', ' ')!r} is made of '{path}', but there is no such file.",
                hint="Create it, or correct the list of files in its description file.",
            )
        embeds = path == f"{self.plan.kernel.directory}/{EMBEDS_VDSO}"
        step = CompileKernelFile(
            part=self._part,
            tools=self.tools,
            source=ProjectPath(project_path=path),
            include=include,
            flags=flags,
            whole=is_whole(path),
            vdso="vdso.so" if embeds else "",
        )
        target = f"{self.parts}/{path}.o"
        sources = [self.file(path), *([self._vdso()] if embeds else [])]
        return self.once(target, step, sources, [target], CPPPATH=self._folders(include))[0]

    def _foreign(self, source: Source, name: str) -> Node:
        step = CompileKernelFile(
            part=self._part,
            tools=self.tools,
            source=TreePath(source=source, path=name),
            include=self._group,
            own=False,
            flags=SPEED_FLAGS,
            whole=True,
        )
        target = f"{self.parts}/{source.name}/{name}.o"
        return self.once(target, step, self._headers(), [target], CPPPATH=self._folders(self._own))[0]

    def _headers(self) -> list[Node]:
        """Our own headers that a fetched source's files may include: its configuration and its port. The build looks
        into them for what they include themselves."""
        kernel = self.plan.kernel
        folders = [self.workspace.locate(_below(kernel.directory, name)) for name in kernel.group_include]
        found = sorted({path for folder in folders for path in folder.rglob("*.h")})
        return [self.file(str(path)) for path in found]

    def _vdso(self) -> Node:
        folder = f"{self.plan.kernel.directory}/vdso"
        target = f"{self.parts}/vdso.so"
        sources = [self.file(f"{folder}/vdso.{suffix}") for suffix in ("c", "ld", "h")]
        return self.once(target, LinkVdso(part=self._part, tools=self.tools), sources, [target])[0]

    def _folders(self, include: tuple[AnyPath, ...]) -> list[str]:
        paths = [path.project_path for path in include if isinstance(path, ProjectPath)]
        return [str(self.workspace.locate(path)) for path in paths]

    def _source(self, name: str) -> Source:
        for source in self.plan.sources:
            if source.name == name:
                return source
        raise BuildError(f"The {self._part.replace('/', ' ')!r} needs the source '{name}', which is not in the plan.")


def _below(folder: str, name: str) -> str:
    return folder if name == "." else str(Path(folder) / name)
