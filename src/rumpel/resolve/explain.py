"""A plan as a tree that a person reads: every part, and why it is there."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from rumpel.model.size import size_text
from rumpel.resolve.plan import Component, Plan, Ready

WIDTH = 80


@dataclass
class _Branch:
    """One line of the tree, notes under it, and its branches."""

    title: str
    notes: list[str] = field(default_factory=list)
    branches: list[_Branch] = field(default_factory=list)


def explain(plan: Plan) -> str:
    """The plan as a tree of plain Unicode, at most 80 columns wide; ends with a newline."""
    root = _Branch(f"composition {plan.composition}: {plan.summary}")
    root.branches = [
        _machine(plan),
        _kernel(plan),
        _drivers(plan),
        _components(plan),
        _root(plan),
        *_volumes(plan),
        *_ports(plan),
        _Branch(f"ready {_ready(plan.ready)}"),
        *_settings(plan),
        *_sources(plan),
    ]
    return "\n".join(_render(root, "", "")) + "\n"


def _machine(plan: Plan) -> _Branch:
    machine = plan.machine
    cpus = "1 CPU" if machine.cpus == 1 else f"{machine.cpus} CPUs"
    notes = [f"{size_text(machine.memory)} of memory, {cpus}", *_why(plan, f"machine/{machine.name}")]
    return _Branch(f"machine {machine.name}", notes)


def _kernel(plan: Plan) -> _Branch:
    kernel = plan.kernel
    branch = _Branch(f"kernel {kernel.name}: {kernel.summary}", _why(plan, f"kernel/{kernel.name}"))
    calls = {name for name, _ in kernel.calls}
    branch.branches = [
        _Branch(f"part {name}", _why(plan, f"group/{name}")) for name in kernel.groups if name not in calls
    ]
    if kernel.calls:
        branch.branches.append(_calls(plan))
    return branch


def _calls(plan: Plan) -> _Branch:
    """The groups of system calls that are linked, each with its reason."""
    branch = _Branch("system calls, by group; any other is ENOSYS, and named in the log")
    for name, summary in plan.kernel.calls:
        why = _why(plan, f"group/{name}") if name in plan.kernel.groups else ["every program has them"]
        branch.branches.append(_Branch(f"{name}: {summary}", why))
    if plan.kernel.left_out:
        left_out = _Branch("left out, because nothing needs them; 'needs' of a component brings them by name")
        left_out.branches = [_Branch(f"{name}: {summary}") for name, summary in plan.kernel.left_out]
        branch.branches.append(left_out)
    return branch


def _drivers(plan: Plan) -> _Branch:
    branch = _Branch("drivers, in load order")
    for driver in plan.drivers:
        models = [device.model for device in plan.devices if device.driver == driver.name]
        notes = _why(plan, f"driver/{driver.name}")
        if models:
            count = f"{len(models)} devices {models[0]}" if len(models) > 1 else f"device {models[0]}"
            notes.append(f"drives the {count}")
        branch.branches.append(_Branch(f"{driver.name}: {driver.summary}", notes))
    return branch


def _components(plan: Plan) -> _Branch:
    branch = _Branch("components, in link order")
    branch.branches = [_component(plan, component) for component in plan.components]
    return branch


def _component(plan: Plan, component: Component) -> _Branch:
    notes = _why(plan, f"component/{component.name}")
    if component.entry:
        notes.append(f"runs as {component.entry}" + (f", by {component.runtime}" if component.runtime else ""))
    if component.packages is not None:
        notes += [f"takes {pattern} from its packages" for pattern in component.packages.files]
        notes += [f"loads {library} while it runs" for library in component.packages.libraries]
        notes += [f"puts {module.path} into {component.packages.folder}" for module in component.packages.modules]
    notes += [f"puts {file.source} at {file.target}" for file in component.files]
    return _Branch(f"{component.role} {component.name}: {component.summary}", notes)


def _root(plan: Plan) -> _Branch:
    where = "on a compressed read-only disk (erofs)" if plan.root.kind == "disk" else "in memory (initramfs)"
    return _Branch(f"root filesystem {where}", [plan.root.because] if plan.root.because else [])


def _volumes(plan: Plan) -> list[_Branch]:
    return [
        _Branch(
            f"volume {volume.name}: {size_text(volume.size)} at {volume.mount}"
            + (", read-only" if volume.read_only else "")
        )
        for volume in plan.volumes
    ]


def _ports(plan: Plan) -> list[_Branch]:
    return [
        _Branch(
            f"port {port.name}: {port.port}/{port.protocol} in the guest, "
            + (f"{port.host} on the host" if port.host else "a free one on the host")
        )
        for port in plan.ports
    ]


def _settings(plan: Plan) -> list[_Branch]:
    settings = plan.settings
    lines = []
    if settings.arguments:
        lines.append(_Branch(f"arguments: {' '.join(settings.arguments)}"))
    lines += [_Branch(f"environment: {name}={value}") for name, value in settings.environment]
    return lines


def _sources(plan: Plan) -> list[_Branch]:
    if not plan.sources:
        return []
    branch = _Branch("sources, as the lock file pins them")
    owners = dict.fromkeys(plan.kernel.sources, f"kernel {plan.kernel.name}")
    for component in reversed(plan.components):
        owners.update(dict.fromkeys(component.sources, f"component {component.name}"))
    for source in plan.sources:
        notes = [f"for {owners[source.name]}"]
        if source.pinned_version:
            notes.append(f"in place of {source.pinned_version}, which is gone")
        branch.branches.append(_Branch(f"{source.kind} {source.package} {source.version}", notes))
    return [branch]


def _ready(ready: Ready) -> str:
    when = {
        "exit": "when the program has ended",
        "console": f"when the console says '{ready.console}'",
        "port": f"when port {ready.port} accepts a connection",
        "http": f"when GET {ready.path} on port {ready.port} is answered",
    }
    return f"{when[ready.kind]}, within {ready.timeout:g} s"


def _why(plan: Plan, part: str) -> list[str]:
    """One note for each who asked for `part`, its reasons joined."""
    asked: dict[str, list[str]] = {}
    for reason in plan.reasons:
        if reason.part == part:
            asked.setdefault(reason.by, []).append(reason.because)
    return [f"{by.replace('/', ' ')}: {', '.join(because)}" for by, because in asked.items()]


def _render(branch: _Branch, first: str, rest: str) -> list[str]:
    lines = _wrapped(branch.title, first, rest + ("│   " if branch.branches else "    "))
    inner = rest + ("│ " if branch.branches else "  ")
    for note in branch.notes:
        lines += _wrapped(note, f"{inner}· ", f"{inner}  ")
    for index, each in enumerate(branch.branches):
        last = index == len(branch.branches) - 1
        lines += _render(each, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return lines


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
