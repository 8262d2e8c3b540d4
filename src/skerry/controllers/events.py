"""Removes events when they are old: an hour after they happened last, as Kubernetes' API server does.

Owns that events are bounded in time. Does not own who writes them (`client.events`, and users).
"""

import datetime as dt

from skerry.api.core_v1 import Event
from skerry.client.client import Client
from skerry.client.informer import Informer
from skerry.kit.clock import Clock, from_rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, keep_running

log = get_logger(__name__)

EVENT_SECONDS_MAX = 3600.0
#: How often old events are looked for: a few minutes more or less are nothing to an event.
EXPIRE_SECONDS = 300.0


class EventExpirer:
    """Removes old events; `run()` is its life.

    Args:
        client: where they are removed.
        events: the cache of events.
        clock: tells which are old.
    """

    def __init__(self, client: Client, events: Informer[Event], clock: Clock) -> None:
        self._client = client
        self._events = events
        self._clock = clock

    async def run(self) -> None:
        """Look at once and every `EXPIRE_SECONDS`; never returns."""
        await self._events.synced()
        await keep_running("event-expirer", self.expire, wakeup=Wakeup(), resync_seconds=EXPIRE_SECONDS)

    async def expire(self) -> None:
        """Remove what is old."""
        old = [event for event in self._events if self._age_seconds(event) > EVENT_SECONDS_MAX]
        for event in old:
            await self._client.delete(event)
        if old:
            log.info("removed old events", count=len(old))

    def _age_seconds(self, event: Event) -> float:
        """Return how long ago an event happened last; what its writer did not say counts from its creation."""
        told = (
            event.last_timestamp,
            event.series.last_observed_time if event.series else None,
            event.event_time,
            event.metadata.creation_timestamp,
        )
        moments = [moment for text in told if text and (moment := _moment(text))]
        return (self._clock.now() - max(moments)).total_seconds() if moments else EVENT_SECONDS_MAX + 1


def _moment(text: str) -> dt.datetime | None:
    """Read a time of a user's; None where it is none, which no other time of the event depends on."""
    try:
        return from_rfc3339(text)
    except ValueError:
        return None
