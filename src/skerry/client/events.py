"""Events: what a component tells people about an object, beside its conditions.

    events = EventRecorder(client, "wasm-plugin-controller", clock)
    await events.record(plugin, "Warning", "NotFound", "the registry has no such image")

Owns how they are written. Does not own how long they stay (`controllers.events`).

Invariant: an object has one event a type and reason, which counts how often it happened and tells the last message; so
what fails again and again adds no objects. An event that can't be written is logged, and holds up nobody's work.
"""

import hashlib
from typing import Literal

from skerry.api.core_v1 import Event, EventSource, ObjectReference
from skerry.api.errors import AlreadyExists, ApiError
from skerry.api.model import ObjectMeta, Resource
from skerry.api.names import SUBDOMAIN_CHARACTERS_MAX
from skerry.api.registry import kind_of
from skerry.client.client import Client
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger

log = get_logger(__name__)

EventType = Literal["Normal", "Warning"]

#: As in Kubernetes.
MESSAGE_CHARACTERS_MAX = 1024
_HASH_CHARACTERS = 16


class EventRecorder:
    """Writes events.

    Args:
        client: where they are written.
        component: who reports them.
        clock: stamps them.
    """

    def __init__(self, client: Client, component: str, clock: Clock) -> None:
        self._client = client
        self._component = component
        self._clock = clock

    async def record(self, about: Resource, kind: EventType, reason: str, message: str) -> None:
        """Tell that something happened to an object."""
        event = self._event(about, kind, reason, message[:MESSAGE_CHARACTERS_MAX])
        try:
            stored = await self._client.find(Event, event.name, namespace=event.namespace)
            if stored is None:
                await self._client.create(event)
            else:
                await self._client.change(stored, lambda present: _happened_again(present, event))
        except AlreadyExists:
            log.info("another told the same event", name=event.name)
        except ApiError as error:
            log.warning("event can't be written", name=event.name, reason=reason, error=str(error))

    def _event(self, about: Resource, kind: EventType, reason: str, message: str) -> Event:
        now, declared = rfc3339(self._clock.now()), kind_of(type(about))
        told = hashlib.sha256(f"{about.uid}/{kind}/{reason}/{self._component}".encode()).hexdigest()
        prefix = about.name[: SUBDOMAIN_CHARACTERS_MAX - _HASH_CHARACTERS - 1].rstrip("-.")
        namespace = about.namespace or "default"
        return Event(
            metadata=ObjectMeta(name=f"{prefix}.{told[:_HASH_CHARACTERS]}", namespace=namespace),
            involved_object=ObjectReference(
                api_version=declared.api_version,
                kind=declared.kind,
                namespace=about.namespace or None,
                name=about.name,
                uid=about.uid,
                resource_version=about.metadata.resource_version,
            ),
            type=kind,
            reason=reason,
            message=message,
            source=EventSource(component=self._component),
            reporting_component=self._component,
            first_timestamp=now,
            last_timestamp=now,
            count=1,
        )


def _happened_again(present: Event, event: Event) -> None:
    present.count = (present.count or 1) + 1
    present.message = event.message
    present.last_timestamp = event.last_timestamp
    present.involved_object = event.involved_object
