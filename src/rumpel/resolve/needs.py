"""What the parts need, and who provides it: the machine, the kernel, the components, and drivers chosen by need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rumpel.errors import Location, ResolveError
from rumpel.model.names import nearest, quoted
from rumpel.model.parts import Component, Composition, Driver, Kernel, KernelGroup, Machine, Word
from rumpel.model.project import Project
from rumpel.resolve.plan import Reason


@dataclass(frozen=True)
class Need:
    """`by` (kind and name) needs `capability`; it says so at `location`. `because` ends "it is there because ..."."""

    capability: str
    by: tuple[str, str]
    location: Location
    because: str

    @property
    def sentence(self) -> str:
        """The beginning of an error's message."""
        return f"{self.location}: {self.by[0]} '{self.by[1]}' needs '{self.capability}'"


@dataclass(frozen=True)
class Obstacle:
    """Why a driver cannot be used. `circle` names the drivers of a circle where that is the reason."""

    text: str
    circle: tuple[str, ...] = ()


def needs_of(kind: str, name: str, words: Sequence[Word]) -> list[Need]:
    """The needs that a part's description lists."""
    return [Need(word.text, (kind, name), word.location, f"it needs '{word.text}'") for word in words]


DYNAMIC_LINKING = "dynamic-linking"


def unsaid_linking(part: Component, kernel: Kernel) -> list[Need]:
    """What the kernel must be able to do to start a program that is not compiled here. Out of packages it is linked
    dynamically, where the component does not say that it is `static`. A file of the component's folder may be either,
    which only the build can see: it refuses one that no need speaks for."""
    if part.kind == "c" or not _is_machine_code(part) or any(word.text == DYNAMIC_LINKING for word in part.needs):
        return []
    if part.packages is not None and not part.packages.static:
        because = "its program comes out of packages, and it does not say that it is static"
    elif part.packages is None and DYNAMIC_LINKING in kernel.provides:
        because = "its program is not compiled here, and may be linked dynamically"
    else:
        return []
    return [Need(DYNAMIC_LINKING, ("component", part.name), part.origin.location, because)]


def unsaid_calls(part: Component, kernel: Kernel) -> list[Need]:
    """All groups of system calls that need no device, for a program that is not compiled here and names none of them:
    whoever packaged it has not read its code. One that is compiled here gets what it names, as does one that names any.
    """
    calls = {name for name, _ in kernel.calls}
    groups = [group.name for group in kernel.optional if group.name in calls and not group.needs]
    if part.kind == "c" or not _is_machine_code(part) or any(word.text in groups for word in part.needs):
        return []
    because = "it is not compiled here, and does not say which calls it makes"
    return [Need(name, ("component", part.name), part.origin.location, because) for name in groups]


def _is_machine_code(part: Component) -> bool:
    return part.role == "runtime" or (part.role == "program" and part.runtime is None)


class Needs:
    """Satisfies needs one after the other and keeps what that brought into the plan.

    Who provides: the machine, the kernel, a component of the composition, an optional part of the kernel, a driver;
    in this order. `drivers` grows in load order: what a driver needs is there before it.
    """

    def __init__(
        self,
        project: Project,
        composition: Composition,
        kernel: Kernel,
        machine: Machine,
        components: Sequence[Component],
    ) -> None:
        self.drivers: list[Driver] = []
        self.groups: list[KernelGroup] = []
        self.reasons: dict[Reason, None] = {}
        self.used: dict[str, tuple[str, str]] = {}
        self._project = project
        self._kernel = kernel
        self._machine = machine
        self._components = tuple(components)
        self._preferred = {word.text for word in composition.drivers}
        self._known = project.drivers()
        self._reachable: set[str] = set()
        self._buses: dict[str, set[str]] = {}
        self._provided: dict[str, tuple[str, str]] = {}
        for component in components:
            for capability in component.provides:
                self._provided.setdefault(capability, ("component", component.name))
        self._provided.update(dict.fromkeys(kernel.provides, ("kernel", kernel.name)))
        self._provided.update(dict.fromkeys(machine.provides, ("machine", machine.name)))

    def satisfy(self, need: Need) -> None:
        """Bring into the plan what `need` asks for. Raises ResolveError where that is not possible."""
        capability = need.capability
        if capability not in self._provided:
            group = self._group(capability)
            if group is not None:
                self._switch_on(group, need)
            else:
                self._add(self._choose(need))
        provider = self._provided[capability]
        if provider[0] == "component":
            self._check_single(need)
        if provider == need.by:
            return
        self.used[capability] = provider
        because = need.because
        if provider[0] == "group":
            because += "".join(f": {group.because}" for group in self._kernel.optional if group.name == capability)
        self.reasons[Reason(part="/".join(provider), by="/".join(need.by), because=because)] = None

    def include(self, word: Word, composition: str) -> None:
        """Bring in a driver that the composition names."""
        driver = self._project.driver(word.text, word.location)
        if driver not in self.drivers:
            obstacle = self._obstacle(driver, ())
            if obstacle is not None:
                raise ResolveError(
                    f"{word.location}: the composition '{composition}' names the driver '{driver.name}', which cannot "
                    f"be used on machine '{self._machine.name}' with kernel '{self._kernel.name}': {obstacle.text}.",
                    hint="Remove it from 'drivers', or choose another machine or kernel.",
                    parts=[f"driver/{driver.name}"],
                )
            self._add(driver)
        self.reasons[
            Reason(part=f"driver/{driver.name}", by=f"composition/{composition}", because="the composition names it")
        ] = None

    def buses(self, driver: Driver) -> set[str]:
        """The machine's capabilities that `driver` rests on, through all drivers between."""
        return self._buses[driver.name]

    def _group(self, capability: str) -> KernelGroup | None:
        return next((group for group in self._kernel.optional if group.name == capability), None)

    def _switch_on(self, group: KernelGroup, need: Need) -> None:
        # Entered before its needs: a group that needs itself through others must not go round.
        self._provided[group.name] = ("group", group.name)
        for inner in needs_of("group", group.name, group.needs):
            self.satisfy(inner)
        self.groups.append(group)

    def _add(self, driver: Driver) -> None:
        buses: set[str] = set()
        for need in needs_of("driver", driver.name, driver.needs):
            self.satisfy(need)
            kind, name = self._provided[need.capability]
            if kind == "machine":
                buses.add(need.capability)
            elif kind == "driver":
                buses |= self._buses[name]
        self._buses[driver.name] = buses
        self.drivers.append(driver)
        for capability in driver.provides:
            self._provided.setdefault(capability, ("driver", driver.name))

    def _choose(self, need: Need) -> Driver:
        capability = need.capability
        candidates = [driver for driver in self._known if capability in driver.provides]
        obstacles = [(driver, self._obstacle(driver, ())) for driver in candidates]
        possible = [driver for driver, obstacle in obstacles if obstacle is None]
        if len(possible) > 1:
            possible = [driver for driver in possible if driver.name in self._preferred] or possible
        if len(possible) == 1:
            return possible[0]
        if possible:
            names = [driver.name for driver in possible]
            ways = " or ".join(f"'drivers: [{name}]'" for name in names)
            raise ResolveError(
                f"{need.sentence}; the drivers {quoted(names)} could each provide it.",
                hint=f"Say which one in the composition: {ways}.",
                parts=[f"driver/{name}" for name in names],
            )
        found = [(driver, obstacle) for driver, obstacle in obstacles if obstacle is not None]
        raise self._with_unreadable(need, self._unsatisfied(need, found))

    def _check_single(self, need: Need) -> None:
        names = [part.name for part in self._components if need.capability in part.provides]
        if len(names) > 1:
            raise ResolveError(
                f"{need.sentence}; the components {quoted(names)} each provide it.",
                hint="Remove all but one from the composition's 'components'.",
                parts=[f"component/{name}" for name in names],
            )

    def _obstacle(self, driver: Driver, trail: tuple[str, ...]) -> Obstacle | None:
        """Why `driver` cannot be in this plan; `trail` are the drivers that are being looked at."""
        if driver.name in self._reachable or driver in self.drivers:
            return None
        if driver.name in trail:
            circle = (*trail[trail.index(driver.name) :], driver.name)
            return Obstacle(f"the needs go round in a circle: {' -> '.join(circle)}", circle)
        if driver.realisation(self._kernel.name) is None:
            kernels = ", ".join(each.kernel for each in driver.kernels)
            return Obstacle(f"'{driver.name}' is not made for kernel '{self._kernel.name}', only for: {kernels}")
        for word in driver.needs:
            obstacle = self._unreachable(word.text, driver.name, (*trail, driver.name))
            if obstacle is not None:
                return obstacle
        self._reachable.add(driver.name)
        return None

    def _unreachable(self, capability: str, by: str, trail: tuple[str, ...]) -> Obstacle | None:
        if capability in self._provided:
            return None
        group = self._group(capability)
        if group is not None:
            found = (self._unreachable(word.text, group.name, trail) for word in group.needs)
            return next((obstacle for obstacle in found if obstacle is not None), None)
        candidates = [driver for driver in self._known if capability in driver.provides]
        if not candidates:
            return Obstacle(f"'{by}' needs '{capability}', which nothing here provides")
        obstacles = []
        for driver in candidates:
            obstacle = self._obstacle(driver, trail)
            if obstacle is None:
                return None
            obstacles.append(obstacle)
        return next((each for each in obstacles if each.circle), obstacles[0])

    def _unsatisfied(self, need: Need, obstacles: Sequence[tuple[Driver, Obstacle]]) -> ResolveError:
        parts = ["/".join(need.by)]
        circle = next((obstacle.circle for _, obstacle in obstacles if obstacle.circle), ())
        if circle:
            return ResolveError(
                f"{need.sentence}; the drivers for it need each other in a circle: {' -> '.join(circle)}.",
                hint="Remove one of these needs from its 'driver.yaml'.",
                parts=[*parts, *(f"driver/{name}" for name in circle[:-1])],
            )
        if obstacles:
            why = "; ".join(
                obstacle.text if obstacle.text.startswith(f"'{driver.name}'") else f"'{driver.name}': {obstacle.text}"
                for driver, obstacle in obstacles
            )
            return ResolveError(
                f"{need.sentence}; no driver can provide it on machine '{self._machine.name}' with kernel "
                f"'{self._kernel.name}': {why}.",
                hint="Choose another machine or kernel.",
                parts=[*parts, *(f"driver/{driver.name}" for driver, _ in obstacles)],
            )
        return self._nobody(need, parts)

    def _with_unreadable(self, need: Need, error: ResolveError) -> ResolveError:
        """The error, and which files could not be read: what is missing may be in them."""
        suspects = [each for each in self._project.unreadable() if each.may_provide(need.capability)]
        if not suspects:
            return error
        problems = "\n".join(str(each.error) for each in suspects)
        what = "this file" if len(suspects) == 1 else "these files"
        return ResolveError(
            error.message,
            hint=f"{error.hint}\nWhat provides it may be in {what}, which could not be read:\n{problems}",
            parts=[*error.parts, *(f"{each.kind}/{each.name}" for each in suspects)],
        )

    def _nobody(self, need: Need, parts: list[str]) -> ResolveError:
        capability = need.capability
        kernels = [
            kernel.name
            for kernel in self._project.kernels()
            if capability in kernel.provides or any(group.name == capability for group in kernel.optional)
        ]
        if kernels:
            return ResolveError(
                f"{need.sentence}; kernel '{self._kernel.name}' does not provide it; kernels that do: "
                f"{', '.join(kernels)}.",
                hint="Choose one of them: 'kernel:' in the composition, or --kernel.",
                parts=[*parts, f"kernel/{self._kernel.name}"],
            )
        components = [part.name for part in self._project.components() if capability in part.provides]
        if components:
            return ResolveError(
                f"{need.sentence}; no component of the composition provides it; components that do: "
                f"{', '.join(components)}.",
                hint="Add one to the composition's 'components'.",
                parts=parts,
            )
        machines = [part.name for part in self._project.machines() if capability in part.provides]
        if machines:
            return ResolveError(
                f"{need.sentence}; machine '{self._machine.name}' does not provide it; machines that do: "
                f"{', '.join(machines)}.",
                hint="Choose one of them: 'machine:' in the composition, or --machine.",
                parts=[*parts, f"machine/{self._machine.name}"],
            )
        close = nearest(capability, self._all_capabilities())
        hint = f"Did you mean '{close}'?" if close else "Remove the need, or add a part that provides it."
        return ResolveError(f"{need.sentence}, which no part provides.", hint=hint, parts=parts)

    def _all_capabilities(self) -> set[str]:
        found = set(self._provided)
        for driver in self._known:
            found.update(driver.provides)
        for kernel in self._project.kernels():
            found.update(kernel.provides, (group.name for group in kernel.optional))
        for component in self._project.components():
            found.update(component.provides)
        for machine in self._project.machines():
            found.update(machine.provides)
        return found
