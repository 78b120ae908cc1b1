"""A plan to nodes of the build: which step makes which file out of which files. Decides nothing that a plan decided."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rumpel.build.bytecode import CompilePython
from rumpel.build.cprogram import Archive, Compile, Link, PrepareSource, shown
from rumpel.build.decide import Decider
from rumpel.build.firmware import NAME as FIRMWARE
from rumpel.build.firmware import BuildFirmware
from rumpel.build.kernel_debian import CollectModules, ExtractKernel
from rumpel.build.kernel_linux import BASE_CONFIG, BuildKernel, PackKernel
from rumpel.build.kernel_linux_config import Configure, asked_by
from rumpel.build.kernel_nano import CompileKernelFile
from rumpel.build.manifest import Place, ReplacedSource, WriteManifest, WritePlan
from rumpel.build.modules import WantedModule
from rumpel.build.nano import NanoKernel
from rumpel.build.packages import CollectPackages
from rumpel.build.prologue import PROLOGUE
from rumpel.build.rootfs import PlacedFile, check_collisions, component_files
from rumpel.build.roots import Placed, Roots, numbered
from rumpel.build.step import AnyPath, ProjectPath, Step, TreePath, Workspace
from rumpel.build.toolchain import Toolchain
from rumpel.errors import BuildError
from rumpel.resolve.plan import CBuild, Component, Plan, Source

Node = Any  # SCons has no types

PARTS = "build/parts"


def image_folder(plan: Plan) -> str:
    """Where a plan's image is built, relative to the project's root."""
    return f"build/{plan.composition}/{plan.kernel.name}-{plan.machine.name}"


class DeclaringSession(Protocol):
    """What declaring needs of the build's session."""

    @property
    def decider(self) -> Decider: ...

    def check_code(self, kind: type[Step]) -> None:
        """Raises BuildError where a step's code may not be what this build runs."""


@dataclass
class Declarer:
    """Declares plans in one SCons environment. Pieces that several compositions share are declared once."""

    env: Any
    session: DeclaringSession
    workspace: Workspace
    tools: Toolchain
    count: int = 0
    _shared: dict[str, list[Node]] = field(default_factory=dict)

    def plan(self, plan: Plan) -> Node:
        """Declare all of `plan`; the node of its manifest."""
        folder = image_folder(plan)
        check_program(plan)
        program = program_of(plan)
        debug, placed = [], []
        if program.c is not None:
            unstripped, stripped = self._program(plan, folder)
            debug.append(unstripped)
            placed.append(Placed(_program_file(plan), stripped))
        for component in plan.components:
            placed += [
                Placed(file, None if file.path is None else self.env.File(literal(file.path)))
                for file in component_files(self.workspace, component)
            ]
        init = self._init(plan)
        first = []
        if init:
            file = PlacedFile(target="/init", owner=_kernel_part(plan), mode=stat.S_IFREG | 0o755)
            first.append(Placed(file, init[1]))
        check_collisions([each.file for each in (*placed, *first)])
        kernel, modules, kernel_debug = self._kernel(plan, folder)
        debug += kernel_debug
        firmware = self._firmware(plan, folder)
        debug += firmware[1:]
        collected = self._collected(plan)
        generated = self._bytecode(plan, folder, placed, collected)
        root = Roots(plan, folder, collected, generated, modules).declare(self._step, placed, first)
        written = self._step(
            WritePlan(part=f"composition/{plan.composition}", json=plan.to_json().decode()), [], [f"{folder}/plan.json"]
        )
        if init:
            debug += self._place(_kernel_part(plan), init[0], f"{folder}/debug/init")
        manifest = self._step(
            WriteManifest(
                part=f"composition/{plan.composition}",
                composition=plan.composition,
                directory=folder,
                tools=self.tools,
                on_disk=root.initramfs is not None,
                has_firmware=bool(firmware),
                substitutions=tuple(
                    ReplacedSource(source=source.name, pinned=source.pinned_version, used=source.version)
                    for source in plan.sources
                    if source.pinned_version
                ),
            ),
            [kernel, root.rootfs, *written, root.contents, *(root.initramfs or ()), *firmware[:1], *debug],
            [f"{folder}/manifest.json"],
        )
        return manifest[0]

    def _step(self, step: Step, sources: list[Node], targets: list[str], **settings: Any) -> list[Node]:
        """Declare one step. The signature is a node of its own, so that SCons can say that it changed."""
        self.session.check_code(type(step))
        scanned = isinstance(step, CompileKernelFile) or (isinstance(step, Compile) and step.own)
        builder = self.env.CObject if scanned else self.env.Step
        nodes: list[Node] = builder(targets, sources, STEP=step, **settings)
        signature = hashlib.sha256(step.signature().encode()).hexdigest()
        value = self.env.Value(f"{type(step).__name__} {signature}")
        value.Decider(self.session.decider.step_changed)
        self.env.Depends(nodes, value)
        self.count += 1
        return nodes

    def _place(self, part: str, shared: Node, target: str) -> list[Node]:
        """A shared piece in an image's folder; not cached, since it is cached as what it is."""
        nodes = self._step(Place(part=part, name=target), [shared], [target])
        self.env.NoCache(nodes)
        return nodes

    def _file(self, path: str) -> Node:
        return self.env.File(literal(self.workspace.locate(path)))

    def _once(self, key: str, step: Step, sources: list[Node], targets: list[str], **settings: Any) -> list[Node]:
        """Declare a shared piece; a second declaration with the same step is the same piece."""
        full = f"{key} {step.signature()}"
        if full not in self._shared:
            self._shared[full] = self._step(step, sources, targets, **settings)
        return self._shared[full]

    # Packages

    def _collected(self, plan: Plan) -> dict[str, Node]:
        """For each component that takes files from packages: a list of them."""
        found = {}
        for component in plan.components:
            if component.packages is None:
                continue
            names = set(component.sources)
            step = CollectPackages(
                part=f"component/{component.name}",
                directory=component.directory,
                entry=component.entry if component.kind == "deb" or component.packages.program else "",
                packages=component.packages,
                sources=tuple(source for source in plan.sources if source.name in names),
            )
            target = f"{PARTS}/{component.name}/packages.json"
            found[f"component/{component.name}"] = self._once(target, step, [], [target])[0]
        return found

    def _bytecode(self, plan: Plan, folder: str, placed: list[Placed], collected: dict[str, Node]) -> dict[str, Node]:
        """What is compiled for the runtime when the image is built."""
        runtime = next((each for each in plan.components if each.bytecode), None)
        if runtime is None:
            return {}
        placements, sources = numbered(placed)
        part = f"component/{runtime.name}"
        step = CompilePython(part=part, program=runtime.entry, placements=placements, collected=tuple(collected))
        target = f"{folder}/parts/bytecode.tar"
        return {part: self._step(step, [*sources, *collected.values()], [target])[0]}

    # Programs

    def _program(self, plan: Plan, folder: str) -> tuple[Node, Node]:
        program = program_of(plan)
        name = Path(program.entry).name
        objects: list[Node] = []
        for component in plan.components:
            if component.c is not None and not component.c.sysroot:
                objects += self._objects(plan, component, folder)
        step = Link(part=f"component/{program.name}", tools=self.tools, sysroot=sysroot_of(plan))
        nodes = self._step(step, objects, [f"{folder}/debug/{name}", f"{folder}/parts/{name}"])
        return nodes[0], nodes[1]

    def _objects(self, plan: Plan, component: Component, folder: str) -> list[Node]:
        """A component's own sources as objects, which are linked whole: a handler adds itself by a linker section
        that no other object refers to. What comes from a source package as an archive, taken from as needed."""
        assert component.c is not None
        build = component.c
        part = f"component/{component.name}"
        own = [self._own_source(component, source) for source in build.sources]
        result = [self._object(plan, component, part, source, True) for source in own]
        foreign = []
        for name in build.source_files:
            foreign.append(self._object(plan, component, part, self._foreign_source(plan, component, name), False))
        if foreign:
            archive = f"{PARTS}/{component.name}/lib{component.name}.a"
            result += self._once(archive, Archive(part=part, tools=self.tools), foreign, [archive])
        return result

    def _own_source(self, component: Component, name: str) -> ProjectPath:
        path = f"{component.directory}/{name}"
        if not self.workspace.locate(path).is_file():
            raise BuildError(
                f"The component '{component.name}' names the source '{name}', but there is no file '{path}'.",
                hint=f"Create it, or correct 'c.sources' in {component.directory}/component.yaml.",
            )
        return ProjectPath(project_path=path)

    def _foreign_source(self, plan: Plan, component: Component, name: str) -> AnyPath:
        build = component.c
        if build is not None and build.prepare is not None and name in build.prepare.outputs:
            self._prepared(plan, component)
            return ProjectPath(project_path=f"{PARTS}/{component.name}/prepared/{name}")
        return TreePath(source=source_of(plan, component), path=name)

    def _object(self, plan: Plan, component: Component, part: str, source: AnyPath, own: bool) -> Node:
        assert component.c is not None
        include, prepared = self._include(plan, component)
        step = Compile(
            part=part,
            tools=self.tools,
            sysroot=sysroot_of(plan),
            source=source,
            include=include,
            flags=component.c.flags,
            defines=component.c.defines,
            own=own,
        )
        name = source.project_path.removeprefix(f"{component.directory}/") if own else shown(source)  # type: ignore[union-attr]
        target = f"{PARTS}/{component.name}/{name.removeprefix(f'{PARTS}/{component.name}/')}.o"
        is_file = isinstance(source, ProjectPath)
        sources = [self._file(source.project_path)] if is_file else []  # type: ignore[union-attr]
        if not own:
            sources += self._headers(include)
        folders = [
            literal(self.workspace.locate(path.project_path)) for path in include if isinstance(path, ProjectPath)
        ]
        node = self._once(target, step, sources, [target], CPPPATH=folders)[0]
        if prepared:
            self.env.Depends(node, prepared)
        return node

    def _headers(self, include: tuple[AnyPath, ...]) -> list[Node]:
        """Our own headers that a fetched source's files may include, its configuration for one. What those files
        include is not looked for: they are large, and pinned."""
        folders = [path.project_path for path in include if isinstance(path, ProjectPath)]
        located = [self.workspace.locate(folder) for folder in folders if not folder.startswith(f"{PARTS}/")]
        found = sorted({path for folder in located for path in folder.rglob("*.h")})
        return [self.env.File(literal(path)) for path in found]

    def _include(self, plan: Plan, component: Component) -> tuple[tuple[AnyPath, ...], list[Node]]:
        """The folders of headers of a component and of every library that it uses; and the headers to be made."""
        folders: list[AnyPath] = []
        prepared: list[Node] = []
        for user in (component, *(other for other in plan.components if other.name in component.headers)):
            build = user.c or CBuild()
            if build.sysroot:
                continue
            folders += [ProjectPath(project_path=f"{user.directory}/{name}") for name in build.include]
            if build.prepare is not None:
                prepared += self._prepared(plan, user)
                base = f"{PARTS}/{user.name}/prepared"
                folders += [
                    ProjectPath(project_path=base if name == "." else f"{base}/{name}") for name in build.source_include
                ]
            folders += [TreePath(source=source_of(plan, user), path=name) for name in build.source_include]
        return tuple(dict.fromkeys(folders)), prepared

    def _prepared(self, plan: Plan, component: Component) -> list[Node]:
        assert component.c is not None and component.c.prepare is not None
        step = PrepareSource(
            part=f"component/{component.name}",
            source=source_of(plan, component),
            commands=component.c.prepare.commands,
            outputs=component.c.prepare.outputs,
        )
        base = f"{PARTS}/{component.name}/prepared"
        return self._once(base, step, [], [f"{base}/{name}" for name in step.outputs])

    def _init(self, plan: Plan) -> list[Node]:
        """The init program, unstripped and stripped; empty where the kernel needs none."""
        part = _kernel_part(plan)
        objects = []
        for path in plan.kernel.init:
            if not self.workspace.locate(path).is_file():
                raise BuildError(
                    f"The kernel '{plan.kernel.name}' names the init source '{path}', but there is no such file."
                )
            folder = str(Path(path).parent)
            step = Compile(
                part=part,
                tools=self.tools,
                sysroot=sysroot_of(plan),
                source=ProjectPath(project_path=path),
                include=(ProjectPath(project_path=folder),),
            )
            target = f"{PARTS}/init/{path}.o"
            objects += self._once(
                target, step, [self._file(path)], [target], CPPPATH=[literal(self.workspace.locate(folder))]
            )
        if not objects:
            return []
        link = Link(part=part, tools=self.tools, sysroot=sysroot_of(plan))
        return self._once("init", link, objects, [f"{PARTS}/init/debug/init", f"{PARTS}/init/init"])

    def _firmware(self, plan: Plan, folder: str) -> list[Node]:
        """The machine's own firmware, and the same with symbols; empty where QEMU brings it."""
        sources = [self._file(path) for path in plan.machine.firmware_sources]
        step = BuildFirmware(part=f"machine/{plan.machine.name}", tools=self.tools)
        return self._step(step, sources, [f"{folder}/{FIRMWARE}", f"{folder}/debug/{FIRMWARE}"]) if sources else []

    # Kernels

    def _kernel(self, plan: Plan, folder: str) -> tuple[Node, list[Node], list[Node]]:
        """The kernel, its modules, and what of it goes into `debug/`."""
        if plan.kernel.recipe == "linux":
            return self._linux(plan, folder)
        if plan.kernel.recipe == "nano":
            parts = f"{PARTS}/kernel-{plan.kernel.name}"
            nano = NanoKernel(plan, folder, parts, self.workspace, self.tools, self._file, self._once, self._step)
            nano_kernel, unstripped = nano.declare()
            return nano_kernel, [], [unstripped]
        part = _kernel_part(plan)
        source = named_source(plan, plan.kernel.sources, f"kernel '{plan.kernel.name}'")
        shared = f"{PARTS}/kernel-{plan.kernel.name}/kernel"
        extract = ExtractKernel(part=part, source=source, tools=self.tools)
        extracted = self._once(shared, extract, [self._file(PROLOGUE)], [shared])
        kernel = self._place(part, extracted[0], f"{folder}/kernel")
        wanted = (
            *(
                WantedModule(part=f"driver/{each.name}", module=module)
                for each in plan.drivers
                for module in each.modules
            ),
            *(WantedModule(part=part, module=module) for module in plan.kernel.modules),
        )
        if not wanted:
            return kernel[0], [], []
        step = CollectModules(part=part, source=source, wanted=wanted)
        return kernel[0], self._step(step, [], [f"{folder}/parts/modules.tar"]), []

    def _linux(self, plan: Plan, folder: str) -> tuple[Node, list[Node], list[Node]]:
        """A kernel of the plan's own configuration, which is built once for all plans that come to the same one."""
        part = _kernel_part(plan)
        source = named_source(plan, plan.kernel.sources, f"kernel '{plan.kernel.name}'")
        base = f"{plan.kernel.directory}/{BASE_CONFIG}"
        configure = Configure(part=part, source=source, tools=self.tools, base=base, asked=asked_by(plan))
        key = hashlib.sha256(configure.signature().encode()).hexdigest()[:12]
        shared = f"{PARTS}/kernel-{plan.kernel.name}/{key}"
        config = self._once("config", configure, [self._file(base)], [f"{shared}/kernel.config"])
        build = BuildKernel(part=part, source=source, tools=self.tools)
        built = self._once(
            shared,
            build,
            config,
            [f"{shared}/bzImage", f"{shared}/vmlinux"],
        )
        pack = PackKernel(part=part, tools=self.tools)
        packed = self._once(f"{shared} pack", pack, [built[1], self._file(PROLOGUE)], [f"{shared}/kernel"])
        kernel = self._place(part, packed[0], f"{folder}/kernel")
        debug = [
            self._place(part, node, f"{folder}/debug/{Path(node.get_path()).name}")[0] for node in [*config, *built]
        ]
        return kernel[0], [], debug


def literal(path: Path) -> str:
    """A path as SCons has to get it: it takes `$` for the beginning of a variable."""
    return str(path).replace("$", "$$")


def check_program(plan: Plan) -> None:
    """Raises BuildError where the plan has no program that can be built."""
    programs = [component for component in plan.components if component.role == "program"]
    if len(programs) != 1:
        raise BuildError(
            f"The composition '{plan.composition}' has {len(programs)} programs; one is needed.",
            hint="Name exactly one component with the role 'program' in 'components'.",
        )


def program_of(plan: Plan) -> Component:
    """The component that is the program."""
    return next(component for component in plan.components if component.role == "program")


def named_source(plan: Plan, names: tuple[str, ...], what: str) -> Source:
    """The first of `names` among the plan's sources."""
    for source in plan.sources:
        if source.name in names:
            return source
    raise BuildError(f"The {what} has no source in the plan.", hint="Name it under 'sources' in its description file.")


def source_of(plan: Plan, component: Component) -> Source:
    """The source package of a component."""
    return named_source(plan, component.sources, f"component '{component.name}'")


def sysroot_of(plan: Plan) -> Source:
    """The C library that programs of this plan are linked against."""
    for component in plan.components:
        if component.c is not None and component.c.sysroot:
            return source_of(plan, component)
    raise BuildError(
        f"The composition '{plan.composition}' has no C library.",
        hint="Add a component with 'c: {sysroot: true}' to the libraries of its program, such as 'musl'.",
    )


def _program_file(plan: Plan) -> PlacedFile:
    program = program_of(plan)
    return PlacedFile(target=program.entry, owner=f"component/{program.name}", mode=stat.S_IFREG | 0o755)


def _kernel_part(plan: Plan) -> str:
    return f"kernel/{plan.kernel.name}"
