"""The settings that reach the guest: as records, and as the bytes that the guest reads.

One form serves both places (docs/architecture.md, "What passes between host and guest"): the file
`/rumpel/settings` in the root filesystem holds a plan's defaults, the fw_cfg file `opt/rumpel/settings` holds what
is asked for at one start.

    records = settings_of(plan, StartSettings(environment=(("LIMIT", "50"),)))
    blob = encode_settings(records)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from rumpel.errors import UsageError
from rumpel.resolve.network import in_network, in_network6, is_hostname, network6_problem, network_problem, plain6
from rumpel.resolve.plan import Frozen, Plan, Settings, Volume

SETTINGS_SCHEMA = 1
MAX_SETTINGS_BYTES = 64 * 1024
MAX_CLOCK = 100 * 366 * 86400  # a century either way, in seconds

SETTINGS_KEYS = (
    "schema", "clear", "program", "arg", "env", "hostname", "net", "net6", "volume", "clock", "secret", "root",
)  # fmt: skip

_NETWORK6 = "Write 'auto' or ADDRESS/64,GATEWAY,NAMESERVER, such as fd00:2::15/64,fd00:2::2,fd00:2::3."
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_CONFIDENTIAL = ("env", "secret")  # no message shows their values


class Record(Frozen, frozen=True):
    """One setting: `key` is one of `SETTINGS_KEYS`, `value` any text without a NUL character."""

    key: str
    value: str


class VolumeStart(Frozen, frozen=True):
    """How one start uses the plan's volume `name`.

    `file`: an image file in place of the instance's own. `size`: at least so many MiB. `absent`: the machine starts
    without it.
    """

    name: str
    file: str = ""
    size: int = 0
    read_only: bool = False
    absent: bool = False


class StartSettings(Frozen, frozen=True):
    """What a start asks for in place of the plan's defaults; None leaves the default.

    `environment` is merged with the defaults by name. `address` is `ADDRESS/BITS` or `dhcp`; with an address alone,
    gateway and name server stay the plan's where they lie in its network. `address6` is `ADDRESS/64` or `auto`, and
    goes with `gateway6` and `nameserver6` in the same way. `clock` is in seconds and may be negative.
    `secrets` are names and contents of files in the guest's `/run/secrets`.
    """

    arguments: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    hostname: str | None = None
    address: str | None = None
    gateway: str | None = None
    nameserver: str | None = None
    address6: str | None = None
    gateway6: str | None = None
    nameserver6: str | None = None
    clock: int | None = None
    secrets: tuple[tuple[str, bytes], ...] = ()
    volumes: tuple[VolumeStart, ...] = ()


def check_start(asked: StartSettings) -> None:
    """Raises UsageError for what can be a setting of no plan, whatever it holds."""
    for name, _ in asked.environment:
        check_variable(name)
    if asked.hostname is not None and not is_hostname(asked.hostname):
        raise UsageError(
            f"{_shown(asked.hostname)} is not a host name.",
            hint="A host name is up to 64 letters, digits, '-' and '.'; between dots stand at most 63, the first and "
            "the last of them a letter or a digit (RFC 1123).",
        )
    if asked.address is not None:
        _check_network(asked.address, asked.gateway or "", asked.nameserver or "")
    if asked.address6 is not None:
        _check_network6(asked.address6, asked.gateway6 or "", asked.nameserver6 or "")
    if asked.clock is not None and abs(asked.clock) > MAX_CLOCK:
        raise UsageError(
            f"The clock cannot be moved by {asked.clock} seconds.", hint="It can be moved by a century either way."
        )
    for name, content in asked.secrets:
        _check_secret(name, content)
    _check_once("secret", [name for name, _ in asked.secrets])
    _check_once("volume", [volume.name for volume in asked.volumes])


def check_variable(name: str) -> None:
    """Raises UsageError for a name that no environment variable can have."""
    if not name:
        return  # encode_settings says it, with the value's place
    if _VARIABLE.fullmatch(name) is None:
        raise UsageError(
            f"{_shown(name)} cannot name an environment variable.",
            hint="A name has letters, digits and '_', and does not begin with a digit.",
        )


def at_start(plan: Plan, asked: StartSettings) -> Plan:
    """The plan as this start runs it: other settings, fewer volumes, or volumes used in another way.

    Raises UsageError for what does not fit the plan.
    """
    check_start(asked)
    volumes = _volumes(plan, asked.volumes)
    names = {volume.name for volume in volumes}
    devices = tuple(each for each in plan.devices if each.backend != "volume" or each.volume in names)
    return msgspec.structs.replace(plan, settings=_settings(plan, asked), volumes=volumes, devices=devices)


def settings_of(plan: Plan, overrides: StartSettings | None = None) -> tuple[Record, ...]:
    """The complete settings of `plan` with `overrides` applied, in the order in which the guest expects them."""
    asked = overrides or StartSettings()
    run = at_start(plan, asked)
    settings = run.settings
    records = [Record(key="schema", value=str(SETTINGS_SCHEMA))]
    # A group without a record would leave the image's own in force.
    if plan.settings.arguments and not settings.arguments:
        records.append(Record(key="clear", value="arg"))
    if plan.volumes and not run.volumes:
        records.append(Record(key="clear", value="volume"))
    program = next((component for component in plan.components if component.role == "program"), None)
    arguments = settings.arguments
    if program is not None:
        runtime = next((each for each in plan.components if each.name == program.runtime), None)
        records.append(Record(key="program", value=program.entry if runtime is None else runtime.entry))
        if runtime is not None:
            arguments = (*runtime.arguments, program.entry, *arguments)
    records += [Record(key="arg", value=argument) for argument in arguments]
    records += [Record(key="env", value=f"{name}={value}") for name, value in settings.environment]
    records.append(Record(key="hostname", value=settings.hostname))
    if _has_network(plan):
        static = f"static,{settings.address},{settings.gateway},{settings.nameserver}"
        records.append(Record(key="net", value="dhcp" if settings.address == "dhcp" else static))
        static6 = f"static,{settings.address6},{settings.gateway6},{settings.nameserver6}"
        if settings.address6 != "auto":
            records.append(Record(key="net6", value=static6))
        elif plan.settings.address6 != "auto":  # the image's own record would stay in force
            records.append(Record(key="net6", value="auto"))
    for volume in run.volumes:
        access = "ro" if volume.read_only else "rw"
        records.append(Record(key="volume", value=f"{volume.serial},{volume.mount},ext4,{access}"))
    if plan.root.kind == "disk":
        records.append(Record(key="root", value=f"{plan.root.serial},erofs"))
    if asked.clock is not None:
        records.append(Record(key="clock", value=str(asked.clock)))
    for name, content in asked.secrets:
        records.append(Record(key="secret", value=f"{name}={content.decode('utf-8', 'surrogateescape')}"))
    return tuple(records)


def encode_settings(records: Sequence[Record]) -> bytes:
    """`KEY=VALUE` and one NUL byte for each record, `schema` first.

    Raises UsageError for a value that holds a NUL character or an environment variable without a name, and where
    the whole is longer than `MAX_SETTINGS_BYTES`: these are things that a user can ask for. An unknown key or a
    missing `schema` is the caller's mistake (ValueError).
    """
    if not records or records[0].key != "schema":
        raise ValueError("the first record of the settings must be 'schema'")
    encoded = bytearray()
    for record in records:
        if record.key not in SETTINGS_KEYS:
            raise ValueError(f"'{record.key}' is not a key of the settings")
        if "\0" in record.value:
            raise UsageError(
                f"The setting '{record.key}' holds a NUL character: {_confidential(record)}.",
                hint="Arguments, variables and names cannot hold NUL characters; take it out.",
            )
        if record.key == "env" and record.value.partition("=")[0] == "":
            raise UsageError(
                f"The environment variable {_shown(record.value)} has no name.",
                hint="Write it as NAME=VALUE.",
            )
        encoded += f"{record.key}={record.value}".encode("utf-8", "surrogateescape") + b"\0"
    if len(encoded) > MAX_SETTINGS_BYTES:
        raise UsageError(
            f"The settings take {len(encoded)} bytes; the guest accepts at most {MAX_SETTINGS_BYTES}.",
            hint="Pass less by arguments and environment; put large data into a volume or a file of a component.",
        )
    return bytes(encoded)


def parse_address(word: str) -> tuple[str, str | None, str | None]:
    """`dhcp` or `ADDRESS/BITS[,GATEWAY[,NAMESERVER]]` taken apart; what is left out is None, what is empty is none."""
    parts = word.split(",")
    if len(parts) > 3 or (parts[0] == "dhcp" and len(parts) > 1):
        raise UsageError(
            f"'{word}' is not the setting of a network.",
            hint="Write 'dhcp' or ADDRESS/BITS,GATEWAY,NAMESERVER, such as 10.0.2.15/24,10.0.2.2,10.0.2.3.",
        )
    address, gateway, nameserver = (*parts, None, None)[:3]
    assert address is not None
    return address, gateway, nameserver


def parse_address6(word: str) -> tuple[str, str | None, str | None]:
    """`auto` or `ADDRESS/64[,GATEWAY[,NAMESERVER]]`, in the same way."""
    parts = word.split(",")
    if len(parts) > 3 or (parts[0] == "auto" and len(parts) > 1):
        raise UsageError(f"'{word}' is not the setting of a network of IPv6.", hint=_NETWORK6)
    address, gateway, nameserver = (*parts, None, None)[:3]
    assert address is not None
    return address, gateway, nameserver


def _settings(plan: Plan, asked: StartSettings) -> Settings:
    default = plan.settings
    address = default.address if asked.address is None else asked.address
    if asked.address is not None and not _has_network(plan):
        raise UsageError(
            f"The composition '{plan.composition}' has no network, so that '{asked.address}' would be nobody's.",
            hint="Leave the address out, or add a component that needs 'net'.",
        )
    gateway = _near(address, default.gateway) if asked.gateway is None else asked.gateway
    nameserver = _near(address, default.nameserver) if asked.nameserver is None else asked.nameserver
    _check_network(address, gateway, nameserver)
    address6, gateway6, nameserver6 = _settings6(plan, asked)
    return Settings(
        arguments=default.arguments if asked.arguments is None else asked.arguments,
        environment=tuple((dict(default.environment) | dict(asked.environment)).items()),
        hostname=asked.hostname or default.hostname,
        address=address,
        gateway=gateway,
        nameserver=nameserver,
        address6=address6,
        gateway6=gateway6,
        nameserver6=nameserver6,
    )


def _settings6(plan: Plan, asked: StartSettings) -> tuple[str, str, str]:
    """Address, gateway and name server of IPv6."""
    default = plan.settings
    address = default.address6 if asked.address6 is None else asked.address6
    if asked.address6 is not None and not _has_network(plan):
        raise UsageError(
            f"The composition '{plan.composition}' has no network, so that '{asked.address6}' would be nobody's.",
            hint="Leave the address out, or add a component that needs 'net'.",
        )
    if address != "auto" and plan.kernel.recipe == "linux" and "ipv6" not in plan.kernel.groups:
        raise UsageError(
            f"The kernel of '{plan.composition}' was built without IPv6, so that it cannot have the address "
            f"'{address}'.",
            hint="Write an 'address6' under 'network' of the composition, or choose the kernel 'debian' or 'nano'.",
        )
    gateway = _near6(address, default.gateway6) if asked.gateway6 is None else asked.gateway6
    nameserver = _near6(address, default.nameserver6) if asked.nameserver6 is None else asked.nameserver6
    _check_network6(address, gateway, nameserver)
    return plain6(address), plain6(gateway), plain6(nameserver)


def _near6(address: str, default: str) -> str:
    return default if address != "auto" and default and in_network6(address, default) else ""


def _near(address: str, default: str) -> str:
    """The plan's gateway or name server, where it is one of the guest's network."""
    if address == "dhcp" or not default or in_network(address, default):
        return default
    return ""


def _volumes(plan: Plan, asked: Iterable[VolumeStart]) -> tuple[Volume, ...]:
    volumes = {volume.name: volume for volume in plan.volumes}
    for start in asked:
        volume = volumes.get(start.name)
        if volume is None:
            known = ", ".join(f"'{each.name}'" for each in plan.volumes)
            raise UsageError(
                f"The composition '{plan.composition}' has no volume named '{start.name}'.",
                hint=f"Its volumes are: {known}." if known else "It has no volumes.",
            )
        if start.size and (start.read_only or volume.read_only):
            raise UsageError(
                f"The volume '{start.name}' is only read, so that it cannot be made larger.",
                hint="Leave out the size, or make it larger with 'rumpel volume grow'.",
            )
        if start.absent:
            del volumes[start.name]
        else:
            volumes[start.name] = msgspec.structs.replace(
                volume, size=start.size or volume.size, read_only=volume.read_only or start.read_only
            )
    return tuple(volumes.values())


def _has_network(plan: Plan) -> bool:
    return any(device.backend == "net-user" for device in plan.devices)


def _check_network(address: str, gateway: str, nameserver: str) -> None:
    problem = network_problem(address, gateway, nameserver)
    if problem:
        raise UsageError(
            problem, hint="Write 'dhcp' or ADDRESS/BITS,GATEWAY,NAMESERVER, such as 10.0.2.15/24,10.0.2.2,10.0.2.3."
        )


def _check_network6(address: str, gateway: str, nameserver: str) -> None:
    problem = network6_problem(address, gateway, nameserver)
    if problem:
        raise UsageError(problem, hint=_NETWORK6)


def _check_secret(name: str, content: bytes) -> None:
    if _SECRET.fullmatch(name) is None:
        raise UsageError(
            f"{_shown(name)} cannot name a secret.",
            hint="A name has up to 64 letters, digits, '.', '_' and '-', and does not begin with '.' or '-'.",
        )
    if b"\0" in content:
        raise UsageError(
            f"The secret '{name}' holds a NUL byte.", hint="Secrets are text; encode other data, such as by base64."
        )


def _check_once(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"The {what} '{name}' is set more than once.", hint="Keep one.")


def _confidential(record: Record) -> str:
    if record.key not in _CONFIDENTIAL:
        return _shown(record.value)
    return _shown(record.value.partition("=")[0].split("\0")[0] + "=...")


def _shown(value: str) -> str:
    text = value.encode("unicode_escape").decode("ascii")
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
