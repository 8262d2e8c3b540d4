"""Removes events when they are old: an hour after they happened last, as Kubernetes' API server does.

Owns that events are bounded in time. Does not own who writes them (`client.events`, and users).
"""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from skerry.api.core_v1 import EVENT
from skerry.api.errors import NotFound
from skerry.api.model import Document
from skerry.client.client import Client
from skerry.client.informer import ReadInformer
from skerry.client.transport import DeleteConditions, Target
from skerry.kit.clock import Clock, from_rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, keep_running

log = get_logger(__name__)

EVENT_SECONDS_MAX = 3600.0
#: How often old events are looked for: a few minutes more or less are nothing to an event.
EXPIRE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class DatedEvent:
    """What is held of an event: there may be many, and most is said in words.

    Attributes:
        happened: last; None where nothing that is told of it is a time.
    """

    name: str
    namespace: str
    uid: str
    happened: dt.datetime | None


def dated_event(document: Document) -> DatedEvent:
    """Read an event; what its writer did not say of its time counts from its creation."""
    meta = document["metadata"]
    told: tuple[Any, ...] = (
        document.get("lastTimestamp"),
        (document.get("series") or {}).get("lastObservedTime"),
        document.get("eventTime"),
        meta["creationTimestamp"],
    )
    moments = [moment for text in told if text and (moment := _moment(text))]
    return DatedEvent(meta["name"], meta["namespace"], meta["uid"], max(moments, default=None))


def _moment(text: str) -> dt.datetime | None:
    """Read a time of a user's; None where it is none, which no other time of the event depends on."""
    try:
        return from_rfc3339(text)
    except ValueError:
        return None


class EventExpirer:
    """Removes old events; `run()` is its life.

    Args:
        client: where they are removed.
        events: the cache of events, each as a `DatedEvent`.
        clock: tells which are old.
    """

    def __init__(self, client: Client, events: ReadInformer, clock: Clock) -> None:
        self._client = client
        self._events = events
        self._clock = clock

    async def run(self) -> None:
        """Look at once and every `EXPIRE_SECONDS`; never returns."""
        await self._events.synced()
        await keep_running("event-expirer", self.expire, wakeup=Wakeup(), resync_seconds=EXPIRE_SECONDS)

    async def expire(self) -> None:
        """Remove what is old."""
        oldest = self._clock.now() - dt.timedelta(seconds=EVENT_SECONDS_MAX)
        old: list[DatedEvent] = [each for each in self._events if each.happened is None or each.happened < oldest]
        for event in old:
            await self._remove(event)
        if old:
            log.info("removed old events", count=len(old))

    async def _remove(self, event: DatedEvent) -> None:
        target = Target(EVENT, event.namespace, event.name)
        try:
            await self._client.transport.delete(target, DeleteConditions(uid=event.uid))
        except NotFound:
            return
