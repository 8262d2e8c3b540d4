"""dispatch.skerry.dev/v1: subscriptions of functions to events, and which events they want.

Owns what an event is to us (`Event`, of whichever version of CloudEvents it came in), and the match. Does not own how
one is read from a request (`server.dispatch.cloud_events`), nor its delivery (`controllers.dispatch_events`).

The type is matched exactly, as Dispatch does it; `filters` are Skerry's addition, in the words of the CloudEvents
Subscriptions API (exact, prefix, suffix).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from skerry.api.dispatch_failures import FailureTarget, validate_failure_target
from skerry.api.dispatch_traces import TraceContext
from skerry.api.dispatch_v1 import (
    GROUP,
    READY,
    RETRIES_MAX,
    TAGS_MAX,
    VERSION,
    Backoff,
    Names,
    State,
    Tag,
    validate_names,
)
from skerry.api.fields import FieldError, invalid, required, too_long, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, Document, Model, Resource, list_map

#: The label of a run that names the subscription which it was begun for.
SUBSCRIPTION_LABEL = f"{GROUP}/subscription"

EVENT_TYPE_CHARACTERS_MAX = 128
FILTERS_MAX = 20
#: Attributes of one filter.
FILTER_ATTRIBUTES_MAX = 20
RETRIES_DEFAULT = 3

#: What the type of an event is made of.
EVENT_TYPE = re.compile(r"[\w.-]+", re.ASCII)
_NAME = re.compile(r"[\w-]+", re.ASCII)
_NAME_CHARACTERS_MAX = 63


class EventFilter(Model):
    """Conditions on attributes of an event, each by its name in CloudEvents 1.0; all must hold."""

    exact: dict[str, str] | None = None
    """Attributes that must have just this value."""
    prefix: dict[str, str] | None = None
    """Attributes that must begin with this."""
    suffix: dict[str, str] | None = None
    """Attributes that must end with this."""


class SubscriptionSpec(Model):
    """Which events a function is run for."""

    event_type: str | None = None
    """The type of the events, exactly; any type where it is not given, and filters say which."""
    filters: Annotated[list[EventFilter] | None, LIST_ATOMIC] = None
    """Further conditions; all must hold. Skerry's own addition."""
    function: str
    """The function that is run, with the event's data as its input and the rest as `event` of its context."""
    secrets: Names = None
    """Names of secrets that each run is given, beside those of the function."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""
    retries: Annotated[int, Field(ge=0, le=RETRIES_MAX)] = RETRIES_DEFAULT
    """How often a run that failed, other than by its input, is tried again. Skerry's own addition."""
    backoff: Backoff = "1s"
    """How long to wait before the first retry; doubled at each. Skerry's own addition."""
    on_failure: FailureTarget | None = None
    """Who is told of a run that failed for good; by default who the function names. Skerry's own addition."""


class SubscriptionStatus(Model):
    """The present state of a subscription."""

    state: State | None = None
    """READY: it gets events."""
    conditions: Conditions = None
    """ResolvedRefs: whether the function is there, without which its runs fail."""


class Subscription(Resource):
    """Runs a function for each event of a type."""

    spec: SubscriptionSpec
    """Which events, and which function."""
    status: SubscriptionStatus = Field(default_factory=SubscriptionStatus)
    """The present state."""


@dataclass(frozen=True, slots=True)
class Event:
    """A CloudEvent.

    Attributes:
        attributes: by their names in version 1.0, whatever the version; extensions too.
        shown: the event as a function sees it: in its own version's JSON, without data.
        data: any JSON; text or base64 of what was none.
        trace: the trace that it came in.
    """

    attributes: Mapping[str, str]
    shown: Document
    data: Any = None
    trace: TraceContext | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """Source and id: what tells an event from every other, and is the same where it is sent again."""
        return self.attributes["source"], self.attributes["id"]


def own_event(
    event_type: str, *, source: str, event_id: str, time: str, data: Any, trace: TraceContext | None = None
) -> Event:
    """Make an event of Skerry's own; `time` is RFC 3339."""
    shown = {"specversion": "1.0", "type": event_type, "source": source, "id": event_id, "time": time}
    return Event(shown, {**shown, "datacontenttype": "application/json"}, data, trace)


def is_wanted(spec: SubscriptionSpec, event: Event) -> bool:
    """Tell whether a subscription is to an event."""
    if spec.event_type is not None and spec.event_type != event.attributes.get("type"):
        return False
    return all(_holds(each, event.attributes) for each in spec.filters or ())


def _holds(conditions: EventFilter, attributes: Mapping[str, str]) -> bool:
    return (
        all(attributes.get(name) == value for name, value in (conditions.exact or {}).items())
        and all(attributes.get(name, "").startswith(value) for name, value in (conditions.prefix or {}).items())
        and all(attributes.get(name, "").endswith(value) for name, value in (conditions.suffix or {}).items())
    )


def validate_tags(tags: list[Tag] | None, path: str) -> Iterator[FieldError]:
    """Check how many tags there are."""
    if tags and len(tags) > TAGS_MAX:
        yield too_many(path, len(tags), TAGS_MAX)


def validate_name(obj: Resource) -> Iterator[FieldError]:
    """Check a name by Dispatch's rule."""
    if not _NAME.fullmatch(obj.name) or len(obj.name) > _NAME_CHARACTERS_MAX:
        detail = f"may only contain letters, numbers, underscores and dashes, at most {_NAME_CHARACTERS_MAX}"
        yield invalid("metadata.name", obj.name, detail)


def validate_event_type(event_type: str, path: str) -> Iterator[FieldError]:
    """Check the type of an event."""
    if len(event_type) > EVENT_TYPE_CHARACTERS_MAX:
        yield too_long(path, EVENT_TYPE_CHARACTERS_MAX, "characters")
    elif not EVENT_TYPE.fullmatch(event_type):
        yield invalid(path, event_type, "may only contain letters, numbers, underscores, dashes and dots")


def _validate_subscription(subscription: Subscription, _: Subscription | None) -> Iterator[FieldError]:
    spec = subscription.spec
    yield from validate_name(subscription)
    if spec.event_type is not None:
        yield from validate_event_type(spec.event_type, "spec.eventType")
    elif not spec.filters:
        yield required("spec.eventType", "give a type, or filters")
    if not spec.function:
        yield required("spec.function")
    yield from _validate_filters(spec.filters or [])
    yield from validate_names(spec.secrets, "spec.secrets")
    yield from validate_tags(spec.tags, "spec.tags")
    yield from validate_failure_target(spec.on_failure, "spec.onFailure")


def _validate_filters(filters: list[EventFilter]) -> Iterator[FieldError]:
    if len(filters) > FILTERS_MAX:
        yield too_many("spec.filters", len(filters), FILTERS_MAX)
    for index, each in enumerate(filters):
        conditions = [*(each.exact or {}).items(), *(each.prefix or {}).items(), *(each.suffix or {}).items()]
        path = f"spec.filters[{index}]"
        if not conditions:
            yield required(path, "a condition: exact, prefix or suffix, with an attribute")
        elif len(conditions) > FILTER_ATTRIBUTES_MAX:
            yield too_many(path, len(conditions), FILTER_ATTRIBUTES_MAX)
        elif not all(name and value for name, value in conditions):
            yield required(path, "names of attributes and what they are compared with must not be empty")


def _default_subscription(subscription: Subscription) -> None:
    subscription.status.state = READY  # it gets the next event: whoever delivers reads subscriptions from the log


SUBSCRIPTION = Kind(
    group=GROUP,
    version=VERSION,
    model=Subscription,
    plural="subscriptions",
    namespaced=True,
    columns=(
        Column("Event type", value_at(".spec.eventType"), description="Of the events that it wants."),
        Column("Function", value_at(".spec.function"), description="What is run for them."),
        Column("Status", value_at(".status.state"), description="READY where it gets events."),
    ),
    name_format="path-segment",
    default=_default_subscription,
    validate=_validate_subscription,
    read_by="view",
    written_by="edit",
)
