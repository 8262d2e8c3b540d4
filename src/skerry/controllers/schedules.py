"""Objects that act by the clock: each schedule of each object fires once for each time that it is due.

Owns the `ScheduleStatus`es of the objects' statuses. Does not own when a schedule is due (`api.function_schedules`),
nor what firing means: whoever has such objects says it, and does the same thing twice only once.

Invariant: a due time is written down as fired after it has fired. A crash between the two, or another process that
looks too, fires it again under the same name; so what fires must be an act that is idempotent by its due time.
"""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, Protocol

from prometheus_client import Counter

from skerry.api.errors import ApiError, NotFound
from skerry.api.function_schedules import Result, Schedule, ScheduleStatus, adopted, are_adopted, last_due, next_due
from skerry.api.model import R
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running

log = get_logger(__name__)
FIRED = Counter("skerry_schedules_fired_total", "Due times of schedules.", ["kind", "result"])

#: How late a schedule may fire because nobody looked.
LOOK_SECONDS = 1.0


class Scheduled(Protocol):
    """The status of what has schedules."""

    schedules: list[ScheduleStatus] | None


class Schedules(Generic[R]):
    """Fires the schedules of the objects of a kind, whose status is `Scheduled`; `running()` is its life.

    Args:
        client: where statuses are written.
        objects: the cache of the kind.
        wanted: returns an object's schedules.
        fire: does what a schedule is for; called with object, schedule, and the time that was due. What it raises as
            an `ApiError` is the firing's failure.
        clock: says what is due.
    """

    def __init__(
        self,
        client: Client,
        objects: Informer[R],
        wanted: Callable[[R], Sequence[Schedule]],
        fire: Callable[[R, Any, dt.datetime], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._client = client
        self._objects = objects
        self._wanted = wanted
        self._fire = fire
        self._clock = clock
        #: When to look at a schedule again, by what it has fired until: to work it out costs 30 µs each.
        self._next: dict[tuple[Key, tuple[str, str]], tuple[str, dt.datetime | None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fire schedules for the length of the block."""
        looks = partial(keep_running, "schedules", self.turn, wakeup=Wakeup(), resync_seconds=LOOK_SECONDS)
        async with background(("schedules", looks)):
            yield

    async def turn(self) -> None:
        """Look at every schedule once: adopt those that are new, and fire those that are due."""
        await self._objects.synced()
        seen = set()
        for key, obj in self._objects.objects.items():
            schedules = {each.key: each for each in self._wanted(obj)}
            status: Scheduled = obj.status  # type: ignore[attr-defined]  # every kind that is scheduled has one
            if not (schedules or status.schedules) or obj.metadata.deletion_timestamp:
                continue
            if not are_adopted(list(schedules), status.schedules or (), self._clock.now()):
                await self._write(obj, partial(_adopt, list(schedules), self._clock.now()))
                continue
            for told in status.schedules or ():
                seen.add((key, told.key))
                await self._look(obj, schedules[told.key], told)
        self._next = {place: until for place, until in self._next.items() if place in seen}

    async def _look(self, obj: R, schedule: Schedule, told: ScheduleStatus) -> None:
        now, place = self._clock.now(), ((obj.namespace, obj.name), told.key)
        after, coming = self._next.get(place, ("", now))
        if after == told.fired_until and (coming is None or now < coming):
            return
        due = last_due(told, now)
        if due is None:
            self._next[place] = (told.fired_until, next_due(told.key, max(now, from_rfc3339(told.fired_until))))
            return
        result, message = await self._fired(obj, schedule, due)
        await self._write(obj, partial(_tell, told.key, rfc3339(due), result, message))

    async def _fired(self, obj: R, schedule: Schedule, due: dt.datetime) -> tuple[Result, str | None]:
        result: Result = "Succeeded"
        message = None
        try:
            await self._fire(obj, schedule, due)
        except ApiError as error:
            result, message = "Failed", error.public
            log.warning("schedule did not fire", kind=obj.kind, name=obj.name, cron=schedule.cron, reason=message)
        FIRED.labels(obj.kind, result.lower()).inc()
        return result, message

    async def _write(self, obj: R, mutate: Callable[[R], None]) -> None:
        try:
            await self._client.change_status(obj, mutate)
        except NotFound:
            return  # deleted meanwhile
        except ApiError as error:
            log.warning("schedule not written, will be looked at again", name=obj.name, error=error.public)


def _adopt(wanted: Sequence[tuple[str, str]], now: dt.datetime, obj: Any) -> None:
    obj.status.schedules = adopted(wanted, obj.status.schedules or (), now)


def _tell(key: tuple[str, str], due: str, result: Result, message: str | None, obj: Any) -> None:
    for told in obj.status.schedules or ():
        if told.key == key and told.fired_until < due:
            told.last_schedule_time, told.last_result, told.last_message = due, result, message
