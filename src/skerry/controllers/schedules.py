"""Objects that act by the clock: each schedule of each object fires once for each time that it is due.

Owns the `ScheduleStatus`es of the objects' statuses. Does not own when a schedule is due (`api.function_schedules`),
nor what firing means: whoever has such objects says it, and does the same thing twice only once.

Invariant: a due time is written down as fired after it has fired, or was refused for good. A crash between the two, or
another process that looks too, fires it again under the same name; so what fires must be an act that is idempotent by
its due time. What can't be done for now is tried again at each look, and so is made up for once the log takes it.
"""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol

from prometheus_client import Counter

from skerry.api.errors import (
    ApiError,
    InsufficientStorage,
    InternalError,
    NotFound,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
)
from skerry.api.function_schedules import Result, Schedule, ScheduleStatus, adopted, are_adopted, missed, next_due
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
#: Due times of one schedule that are made up for at one look; the others have their turn.
FIRED_AT_ONCE_MAX = 100
#: What keeps a due time from being fired now, and may be over at the next look.
_PASSING = (InsufficientStorage, InternalError, ServiceUnavailable, Timeout, TooManyRequests)


class Scheduled(Protocol):
    """The status of what has schedules."""

    schedules: list[ScheduleStatus] | None


class Outcome(NamedTuple):
    """What became of a schedule at a look.

    Attributes:
        fired: the last due time that needs no further look; "" for none.
        result: of the last one that was tried.
        message: why it failed.
    """

    fired: str
    result: Result
    message: str | None


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
        outcome = await self._make_up(obj, schedule, missed(told, now))
        if outcome is None:
            self._next[place] = (told.fired_until, next_due(told.key, max(now, from_rfc3339(told.fired_until))))
            return
        await self._write(obj, partial(_tell, told.key, outcome))

    async def _make_up(self, obj: R, schedule: Schedule, dues: Iterator[dt.datetime]) -> Outcome | None:
        """Fire what is due, in its order, until that can't be done for now; return None where nothing is due."""
        outcome = None
        for due in islice(dues, FIRED_AT_ONCE_MAX):
            try:
                outcome = await self._fired(obj, schedule, due)
            except _PASSING as error:
                log.warning("schedule did not fire, is tried again", **_called(obj, schedule), reason=error.public)
                return Outcome(outcome.fired if outcome else "", "Failed", error.public)
        return outcome

    async def _fired(self, obj: R, schedule: Schedule, due: dt.datetime) -> Outcome:
        """Fire a due time; raises what may be over at the next look."""
        outcome = Outcome(rfc3339(due), "Succeeded", None)
        try:
            await self._fire(obj, schedule, due)
        except _PASSING:
            raise
        except ApiError as error:
            outcome = Outcome(rfc3339(due), "Failed", error.public)
            log.warning("schedule did not fire", **_called(obj, schedule), reason=error.public)
        FIRED.labels(obj.kind, outcome.result.lower()).inc()
        return outcome

    async def _write(self, obj: R, mutate: Callable[[R], None]) -> None:
        try:
            await self._client.change_status(obj, mutate)
        except NotFound:
            return  # deleted meanwhile
        except ApiError as error:
            log.warning("schedule not written, will be looked at again", name=obj.name, error=error.public)


def _adopt(wanted: Sequence[tuple[str, str]], now: dt.datetime, obj: Any) -> None:
    obj.status.schedules = adopted(wanted, obj.status.schedules or (), now)


def _tell(key: tuple[str, str], outcome: Outcome, obj: Any) -> None:
    for told in obj.status.schedules or ():
        if told.key == key and (not outcome.fired or told.fired_until < outcome.fired):
            told.last_schedule_time = outcome.fired or told.last_schedule_time
            told.last_result, told.last_message = outcome.result, outcome.message


def _called(obj: Any, schedule: Schedule) -> dict[str, str]:
    return {"kind": obj.kind, "name": obj.name, "cron": schedule.cron}
