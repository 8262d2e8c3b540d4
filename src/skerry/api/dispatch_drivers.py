"""dispatch.skerry.dev/v1: event drivers, where events come from, and the types of drivers.

A driver of type `cron` emits an event by the clock; of any other type it is a program of this machine that posts
events, and its type, which only a cluster administrator makes, says which one. Who runs them is
`controllers.event_drivers`.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from skerry.api.claims import Claim
from skerry.api.dispatch_events import validate_event_type, validate_name, validate_tags
from skerry.api.dispatch_v1 import GROUP, VERSION, Names, State, Tag, validate_names
from skerry.api.fields import FieldError, forbidden, invalid, required, too_many
from skerry.api.function_schedules import Schedule, ScheduleStatuses, validate_schedules
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Model, Resource, list_map

#: The type that needs no program.
CRON: Final = "cron"
#: The type of the events of a cron driver that names none, as Dispatch's own has it.
CRON_EVENT_TYPE = "cron.trigger"
TYPE_CHARACTERS_MAX = 32
CONFIG_MAX = 100
ARGUMENTS_MAX = 100

_DRIVER_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_CONFIG_KEY = re.compile(r"[\w][\w.-]*", re.ASCII)
#: What a cron driver is told with.
_CRON_KEYS = ("cron", "time-zone", "event-type")


class Config(Model):
    """A setting of a driver."""

    key: str
    """Its name."""
    value: str = ""
    """Its value."""


Configs = Annotated[list[Config] | None, list_map("key")]


class EventDriverTypeSpec(Model):
    """How drivers of a type are run."""

    command: Annotated[list[str], LIST_ATOMIC]
    """The program and its first arguments; each setting follows as --key=value."""
    config: Configs = None
    """Settings of all drivers of the type; a driver's own come after them."""


class EventDriverType(Resource):
    """A kind of program that events come from."""

    spec: EventDriverTypeSpec
    """How it is run."""


class EventDriverSpec(Model):
    """Where events come from."""

    type: str
    """The type: cron, or the name of an EventDriverType."""
    config: Configs = None
    """Settings. Of cron: cron (five fields), time-zone, event-type."""
    secrets: Names = None
    """Names of Secrets whose values are in the program's environment, under their keys."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""

    def setting(self, key: str) -> str:
        """Return a setting, "" where it is not given."""
        return next((each.value for each in self.config or () if each.key == key), "")


class EventDriverStatus(Model):
    """The present state of a driver."""

    state: State | None = None
    """READY: it runs."""
    reason: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Why it does not, or not for long."""
    restarts: int = 0
    """How often its program ended and was started again, since it was started here."""
    claim: Claim | None = None
    """The process of Skerry that runs its program."""
    schedules: ScheduleStatuses = None
    """Of a cron driver: when it emitted an event last."""


class EventDriver(Resource):
    """A source of events."""

    spec: EventDriverSpec
    """Where they come from."""
    status: EventDriverStatus = Field(default_factory=EventDriverStatus)
    """The present state."""


def schedules_of(driver: EventDriver) -> list[Schedule]:
    """Return when a driver emits events by the clock: never, but for one of type cron."""
    spec = driver.spec
    if spec.type != CRON:
        return []
    return [Schedule(cron=spec.setting("cron"), time_zone=spec.setting("time-zone") or None)]


def _validate_config(config: list[Config] | None, path: str) -> Iterator[FieldError]:
    if config and len(config) > CONFIG_MAX:
        yield too_many(path, len(config), CONFIG_MAX)
    for index, each in enumerate(config or ()):
        if not _CONFIG_KEY.fullmatch(each.key):
            yield invalid(f"{path}[{index}].key", each.key, "must be of letters, numbers, underscores, dashes and dots")


def _validate_type(kind: EventDriverType, _: EventDriverType | None) -> Iterator[FieldError]:
    yield from validate_name(kind)
    if kind.name == CRON:
        yield forbidden("metadata.name", f"{CRON} is built in")
    if len(kind.name) > TYPE_CHARACTERS_MAX:
        yield invalid("metadata.name", kind.name, f"must have at most {TYPE_CHARACTERS_MAX} characters")
    if not kind.spec.command or not kind.spec.command[0]:
        yield required("spec.command", "the program")
    elif len(kind.spec.command) > ARGUMENTS_MAX:
        yield too_many("spec.command", len(kind.spec.command), ARGUMENTS_MAX)
    yield from _validate_config(kind.spec.config, "spec.config")


def _validate_driver(driver: EventDriver, _: EventDriver | None) -> Iterator[FieldError]:
    spec = driver.spec
    yield from validate_name(driver)
    if not _DRIVER_NAME.fullmatch(driver.name):
        yield invalid("metadata.name", driver.name, "must be of small letters, numbers and dashes")
    if not spec.type or len(spec.type) > TYPE_CHARACTERS_MAX:
        yield invalid("spec.type", spec.type, f"must have from 1 to {TYPE_CHARACTERS_MAX} characters")
    yield from _validate_config(spec.config, "spec.config")
    yield from validate_names(spec.secrets, "spec.secrets")
    yield from validate_tags(spec.tags, "spec.tags")
    if spec.type == CRON:
        for error in validate_schedules(schedules_of(driver), "spec.config"):
            setting = _CRON_KEYS[1] if error.path.endswith(".timeZone") else _CRON_KEYS[0]
            yield FieldError(error.reason, _place(spec, setting), error.message)
        yield from validate_event_type(spec.setting("event-type") or CRON_EVENT_TYPE, "spec.config")
        if unknown := [each.key for each in spec.config or () if each.key not in _CRON_KEYS]:
            yield invalid("spec.config", unknown[0], f"a cron driver has the settings {', '.join(_CRON_KEYS)}")


def _place(spec: EventDriverSpec, key: str) -> str:
    """Where the value of a setting is, or would be."""
    places = (f"spec.config[{index}].value" for index, each in enumerate(spec.config or ()) if each.key == key)
    return next(places, f'spec.config[key="{key}"].value')


def _default_driver(driver: EventDriver) -> None:
    driver.status.state = driver.status.state or ("READY" if driver.spec.type == CRON else "CREATING")


EVENT_DRIVER_TYPE = Kind(
    group=GROUP,
    version=VERSION,
    model=EventDriverType,
    plural="eventdrivertypes",
    namespaced=True,
    columns=(Column("Command", lambda d: " ".join(d["spec"].get("command") or ()), description="What is run."),),
    name_format="path-segment",
    validate=_validate_type,
    read_by="view",  # written by cluster-admin alone: its command runs beside the control plane, as its user
)

EVENT_DRIVER = Kind(
    group=GROUP,
    version=VERSION,
    model=EventDriver,
    plural="eventdrivers",
    namespaced=True,
    columns=(
        Column("Type", value_at(".spec.type"), description="What it is."),
        Column("Status", value_at(".status.state"), description="READY where it runs."),
        Column("Restarts", value_at(".status.restarts"), type="integer", description="How often its program ended."),
    ),
    name_format="path-segment",
    default=_default_driver,
    validate=_validate_driver,
    read_by="view",
    written_by="edit",
)
