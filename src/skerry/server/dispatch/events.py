"""Events and the subscriptions to them.

An event is answered once its runs are on disk: with 200 and itself where it came in Dispatch's own form, with 202 where
it came in a form of CloudEvents' HTTP binding.
"""

from typing import Any, Protocol

import orjson
from pydantic import Field

from skerry.api.dispatch_events import (
    EVENT_TYPE,
    EVENT_TYPE_CHARACTERS_MAX,
    SUBSCRIPTION,
    Event,
    Subscription,
    SubscriptionSpec,
)
from skerry.api.dispatch_v1 import DELETING, RUN
from skerry.api.errors import AlreadyExists
from skerry.api.model import Document, ObjectMeta, to_document
from skerry.server.dispatch.bodies import Body, TagBody, reason_of, seconds_of, spec_of, tags_document, tags_json
from skerry.server.dispatch.cloud_events import is_emission, read_events
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.dispatch.errors import PATTERN, TOO_LONG, RequestRefused
from skerry.server.dispatch.selecting import has_application, wanted_applications
from skerry.server.http import Response
from skerry.server.operations import json

_EVENTS = "/v1/event"
_COLLECTION = "/v1/event/subscriptions"
_ITEM = "/v1/event/subscriptions/{name}"

#: One event, or a batch: its data is the input of runs, and those are bounded (`PAYLOAD_BYTES_MAX`).
EVENT_BYTES_MAX = 4 << 20


class Events(Protocol):
    """Delivers events."""

    async def deliver(self, namespace: str, event: Event) -> list[str]:
        """Begin, on disk, the run of each subscription; return their names. Raises TooManyRequests."""
        ...


class SubscriptionBody(Body):
    """A subscription as it is created or replaced; `filters`, `retries`, `backoff`, `onFailure` are Skerry's own."""

    name: str
    event_type: str | None = Field(default=None, alias="eventType")
    function: str
    filters: list[dict[str, Any]] | None = None
    secrets: list[str] | None = None
    tags: list[TagBody] | None = None
    retries: int | None = None
    backoff: str | None = None
    on_failure: dict[str, Any] | None = Field(default=None, alias="onFailure")


class EventEmission:
    """The handler of events; who may create runs may emit them.

    Args:
        events: delivers them.
    """

    def __init__(self, events: Events) -> None:
        self._events = events

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [Operation("POST", _EVENTS, "create", RUN, self.emit)]

    async def emit(self, asked: Asked) -> Response:
        """Begin the runs of an event, or of each event of a batch."""
        body = await asked.request.body(EVENT_BYTES_MAX)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked.request.raw_headers}
        runs = []
        for event in read_events(headers, body):
            runs += await self._events.deliver(asked.objects.namespace, event)
        if is_emission(headers):
            return json(orjson.loads(body))
        return json({"runs": runs}, 202)


class Subscriptions:
    """The handlers of subscriptions."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        return [
            Operation("POST", _COLLECTION, "create", SUBSCRIPTION, self.create),
            Operation("GET", _COLLECTION, "list", SUBSCRIPTION, self.list),
            Operation("GET", _ITEM, "get", SUBSCRIPTION, self.get),
            Operation("PUT", _ITEM, "update", SUBSCRIPTION, self.replace),
            Operation("DELETE", _ITEM, "delete", SUBSCRIPTION, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Subscribe a function; whether there is one is not asked, as in Dispatch."""
        body = await asked.body(SubscriptionBody)
        subscription = Subscription(metadata=ObjectMeta(name=body.name), spec=_spec(body))
        try:
            return json(_json(await asked.objects.create(subscription)), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"subscription {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List subscriptions."""
        wanted = wanted_applications(asked.query_list("tags"))
        found = [s async for s in asked.objects.list(Subscription) if has_application(s.spec.tags, wanted)]
        return json([_json(subscription) for subscription in found])

    async def get(self, asked: Asked) -> Response:
        """Return a subscription."""
        wanted_applications(asked.query_list("tags"))
        return json(_json(await asked.objects.get(Subscription, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace a subscription; the next event is its."""
        body = await asked.body(SubscriptionBody)

        def change(subscription: Subscription) -> None:
            subscription.spec = _spec(body)

        return json(_json(await asked.objects.change(Subscription, asked.name, change)))

    async def delete(self, asked: Asked) -> Response:
        """End a subscription; runs that were begun go on."""
        return json(_json(await asked.objects.delete(Subscription, asked.name)) | {"status": DELETING})


def _spec(body: SubscriptionBody) -> SubscriptionSpec:
    check_event_type(body.event_type)
    document: Document = {
        "eventType": body.event_type,
        "filters": body.filters,
        "function": body.function,
        "secrets": body.secrets,
        "tags": tags_document(body.tags),
        "retries": body.retries,
        "backoff": body.backoff,
        "onFailure": body.on_failure,
    }
    return spec_of(SubscriptionSpec, document)


def check_event_type(event_type: str | None) -> None:
    """Refuse what is no type of an event, in the words of Dispatch's framework."""
    if event_type is None:
        return
    if len(event_type) > EVENT_TYPE_CHARACTERS_MAX:
        raise RequestRefused(TOO_LONG, f"eventType in body should be at most {EVENT_TYPE_CHARACTERS_MAX} chars long")
    if not EVENT_TYPE.fullmatch(event_type):
        raise RequestRefused(PATTERN, f"eventType in body should match '^{EVENT_TYPE.pattern}$'")


def _json(subscription: Subscription) -> Document:
    spec, metadata = subscription.spec, subscription.metadata
    document: Document = {
        "kind": "Subscription",
        "id": subscription.uid,
        "name": subscription.name,
        "eventType": spec.event_type,
        "function": spec.function,
        "filters": [to_document(each) for each in spec.filters] if spec.filters else None,
        "onFailure": to_document(spec.on_failure) if spec.on_failure else None,
        "reason": reason_of(None, subscription.status.conditions),
        "createdTime": seconds_of(metadata.creation_timestamp),
    }
    return {key: value for key, value in document.items() if value is not None} | {
        "secrets": spec.secrets,
        "tags": tags_json(spec.tags),
        "retries": spec.retries,
        "backoff": spec.backoff,
        "status": subscription.status.state,
    }
