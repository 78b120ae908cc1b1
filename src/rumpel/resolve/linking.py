"""Which components are in the plan, and in which order they are linked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rumpel.errors import ModelError, Problem, ResolveError
from rumpel.model.names import quoted
from rumpel.model.parts import Component, Composition, Kernel, Word
from rumpel.model.project import Project
from rumpel.resolve.plan import Reason


@dataclass(frozen=True)
class Linked:
    """The components of a plan. `libraries` is in link order: who uses another stands before it."""

    program: Component
    runtime: Component | None
    libraries: tuple[Component, ...]
    files: tuple[Component, ...]
    reasons: tuple[Reason, ...]

    @property
    def all(self) -> tuple[Component, ...]:
        """All components: the program, its runtime, the libraries in link order, the files."""
        runtime = () if self.runtime is None else (self.runtime,)
        return (self.program, *runtime, *self.libraries, *self.files)

    def with_sysroot(self, project: Project, kernel: Kernel) -> Linked:
        """The same, with the C library that the kernel's init program is compiled against, where no program has it."""
        if not kernel.init or any(part.c is not None and part.c.sysroot for part in self.all):
            return self
        for part in project.components():
            if part.c is not None and part.c.sysroot:
                reason = Reason(
                    part=f"component/{part.name}", by=f"kernel/{kernel.name}", because="its init is linked to it"
                )
                return replace(self, libraries=(*self.libraries, part), reasons=(*self.reasons, reason))
        unreadable = project.unreadable("component")
        if unreadable:  # it is one of them
            raise ModelError([problem for each in unreadable for problem in each.error.problems])
        return self

    def libraries_of(self, component: Component) -> tuple[str, ...]:
        """What is linked into the program; of another component: whose headers it may use, itself left out."""
        if component is self.program:
            return tuple(library.name for library in self.libraries)
        return self.headers_of(component)

    def headers_of(self, component: Component) -> tuple[str, ...]:
        """Whose headers `component` may use: what it names as libraries, and what those name, itself left out.

        Unlike what is linked into a program, this does not depend on the composition.
        """
        by_name = {each.name: each for each in self.all}
        used: set[str] = set()
        waiting = [word.text for word in component.libraries]
        while waiting:
            name = waiting.pop()
            if name not in used:
                used.add(name)
                waiting += [word.text for word in by_name[name].libraries]
        used.discard(component.name)
        return tuple(each.name for each in self.all if each.name in used)


def link(project: Project, composition: Composition) -> Linked:
    """Choose the program, pull in the libraries, and order them. Raises ModelError and ResolveError."""
    listed = _listed(project, composition)
    program = _program(composition, listed)
    _check_libraries(composition, program, listed)
    runtime = _runtime(project, program, listed)
    reasons = [
        Reason(part=f"component/{part.name}", by=f"composition/{composition.name}", because="the composition names it")
        for part in listed
    ]
    order = _Order(project, program, composition)
    roots = [part for part in listed if part.role == "library"]
    roots += [order.library(program, word) for word in program.libraries]
    # Reversed post-order, from the last root to the first: users come before what they use, and parts that do not
    # depend on each other stay in the order in which they are named.
    for root in reversed(roots):
        order.visit(root)
    libraries = tuple(reversed(order.finished))
    in_plan = (program, *libraries, *(part for part in listed if part.role == "files"))
    for part in in_plan:
        for word in part.libraries:
            if word.text != program.name:
                reasons.append(
                    Reason(part=f"component/{word.text}", by=f"component/{part.name}", because="it is linked to it")
                )
    if runtime is not None:
        reasons.append(
            Reason(part=f"component/{runtime.name}", by=f"component/{program.name}", because="it runs the program")
        )
    return Linked(program, runtime, libraries, tuple(part for part in listed if part.role == "files"), tuple(reasons))


def _check_libraries(composition: Composition, program: Component, listed: list[Component]) -> None:
    libraries = [part for part in listed if part.role == "library"]
    if libraries and program.kind != "c":
        raise ResolveError(
            f"{composition.components[0].location}: the component '{libraries[0].name}' is linked into programs of "
            f"kind 'c', but the program '{program.name}' of '{composition.name}' is of kind '{program.kind}'.",
            hint=f"Remove '{libraries[0].name}' from 'components'.",
            parts=[f"component/{libraries[0].name}", f"component/{program.name}"],
        )


def _runtime(project: Project, program: Component, listed: list[Component]) -> Component | None:
    """The component that runs the program, where it is not machine code; no other runtime may be listed."""
    word = program.runtime
    runtime = None if word is None else project.component(word.text, word.location)
    if word is not None and runtime is not None and runtime.role != "runtime":
        raise ResolveError(
            f"{word.location}: component '{program.name}' names '{runtime.name}' as its runtime, but its role is "
            f"'{runtime.role}'.",
            hint="Name a component with 'role: runtime'.",
            parts=[f"component/{program.name}", f"component/{runtime.name}"],
        )
    for part in listed:
        if part.role == "runtime" and part is not runtime:
            raise ResolveError(
                f"{part.origin.location}: the runtime '{part.name}' has nothing to run: the program '{program.name}' "
                + (f"runs with '{runtime.name}'." if runtime is not None else "runs without one."),
                hint=f"Remove '{part.name}' from the composition's 'components'.",
                parts=[f"component/{part.name}", f"component/{program.name}"],
            )
    return runtime


def _listed(project: Project, composition: Composition) -> list[Component]:
    listed = []
    problems: list[Problem] = []
    for word in composition.components:
        try:
            listed.append(project.component(word.text, word.location))
        except ModelError as error:
            problems += error.problems
    if problems:
        raise ModelError(problems)
    return listed


def _program(composition: Composition, listed: list[Component]) -> Component:
    programs = [part for part in listed if part.role == "program"]
    if len(programs) == 1:
        return programs[0]
    where = composition.components[0].location
    names = [part.name for part in programs]
    if programs:
        raise ResolveError(
            f"{where}: the composition '{composition.name}' has {len(programs)} programs: {quoted(names)}; "
            "it can have only one.",
            hint="Remove the others from 'components'.",
            parts=[f"component/{name}" for name in names],
        )
    raise ResolveError(
        f"{where}: the composition '{composition.name}' has no program: {quoted([part.name for part in listed])} "
        f"{'is' if len(listed) == 1 else 'are'} only linked or copied into one.",
        hint="Add a component with 'role: program' to 'components'.",
        parts=[f"component/{part.name}" for part in listed],
    )


class _Order:
    """A depth-first walk over libraries that notices circles."""

    def __init__(self, project: Project, program: Component, composition: Composition) -> None:
        self.finished: list[Component] = []
        self._project = project
        self._program = program
        self._composition = composition
        self._open: list[Component] = []

    def visit(self, part: Component) -> None:
        if part in self.finished:
            return
        if part in self._open:
            names = [each.name for each in self._open[self._open.index(part) :]] + [part.name]
            raise ResolveError(
                f"{part.origin.location}: the libraries use each other in a circle: {' -> '.join(names)}.",
                hint="Remove one of these names from 'libraries', or make one component of them.",
                parts=[f"component/{name}" for name in names[:-1]],
            )
        self._open.append(part)
        for word in reversed(part.libraries):
            if word.text != self._program.name:
                self.visit(self.library(part, word))
        self._open.pop()
        self.finished.append(part)

    def library(self, user: Component, word: Word) -> Component:
        part = self._project.component(word.text, word.location)
        if part.role == "library":
            return part
        if part.role == "program":
            message = (
                f"{word.location}: component '{user.name}' is made for the program '{part.name}', but the program of "
                f"'{self._composition.name}' is '{self._program.name}'."
            )
            hint = f"Leave out '{user.name}', or take '{part.name}' as the program."
        else:
            message = (
                f"{word.location}: component '{user.name}' names '{part.name}' as a library, but its role is 'files'."
            )
            hint = f"Name '{part.name}' under the composition's 'components' instead."
        raise ResolveError(message, hint=hint, parts=[f"component/{user.name}", f"component/{part.name}"])
