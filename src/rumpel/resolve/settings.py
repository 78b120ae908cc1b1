"""The settings that reach the guest: as records, and as the bytes that the guest reads.

One form serves both places (docs/architecture.md, "What passes between host and guest"): the file
`/rumpel/settings` in the root filesystem holds a plan's defaults, the fw_cfg file `opt/rumpel/settings` holds what
is asked for at one start.

    records = settings_of(plan, StartSettings(environment=(("LIMIT", "50"),)))
    blob = encode_settings(records)
"""

from __future__ import annotations

from collections.abc import Sequence

from rumpel.errors import UsageError
from rumpel.resolve.plan import Frozen, Plan

SETTINGS_SCHEMA = 1
MAX_SETTINGS_BYTES = 64 * 1024

SETTINGS_KEYS = ("schema", "program", "arg", "env", "hostname", "net", "volume", "clock")


class Record(Frozen, frozen=True):
    """One setting: `key` is one of `SETTINGS_KEYS`, `value` any text without a NUL character."""

    key: str
    value: str


class StartSettings(Frozen, frozen=True):
    """What a start asks for in place of the plan's defaults; None leaves the default.

    `environment` is merged with the defaults by name. `address` is `ADDRESS/BITS` or `dhcp`. `clock` is in seconds
    and may be negative.
    """

    arguments: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    hostname: str | None = None
    address: str | None = None
    gateway: str | None = None
    nameserver: str | None = None
    clock: int | None = None


def settings_of(plan: Plan, overrides: StartSettings | None = None) -> tuple[Record, ...]:
    """The complete settings of `plan` with `overrides` applied, in the order in which the guest expects them."""
    asked = overrides or StartSettings()
    default = plan.settings
    records = [Record(key="schema", value=str(SETTINGS_SCHEMA))]
    program = next((component for component in plan.components if component.role == "program"), None)
    if program is not None:
        records.append(Record(key="program", value=program.entry))
    arguments = default.arguments if asked.arguments is None else asked.arguments
    records += [Record(key="arg", value=argument) for argument in arguments]
    environment = dict(default.environment) | dict(asked.environment)
    records += [Record(key="env", value=f"{name}={value}") for name, value in environment.items()]
    records.append(Record(key="hostname", value=asked.hostname or default.hostname))
    if any(device.backend == "net-user" for device in plan.devices):
        address = asked.address or default.address
        gateway = default.gateway if asked.gateway is None else asked.gateway
        nameserver = default.nameserver if asked.nameserver is None else asked.nameserver
        net = "dhcp" if address == "dhcp" else f"static,{address},{gateway},{nameserver}"
        records.append(Record(key="net", value=net))
    for volume in plan.volumes:
        access = "ro" if volume.read_only else "rw"
        records.append(Record(key="volume", value=f"{volume.serial},{volume.mount},ext4,{access}"))
    if asked.clock is not None:
        records.append(Record(key="clock", value=str(asked.clock)))
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
                f"The setting '{record.key}' holds a NUL character: {_shown(record.value)}.",
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


def _shown(value: str) -> str:
    text = value.encode("unicode_escape").decode("ascii")
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
