"""When a function runs by the clock: `spec.template.schedules` and `status.schedules` of an EdgeFunction.

Skerry's own addition to Apoxy's API; the handler is that of Workers. Decides what a schedule may say and when it is
due. Does not own who fires it (the node).

Days on which clocks change follow Debian's cron: a time that the clock skips is due at once when it has been skipped,
and one that comes twice is due the first time only; what is to happen every minute or hour goes on doing so.
"""

import datetime as dt
import functools
import zoneinfo
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from cronsim import CronSim, CronSimError

from skerry.api.claims import Claim
from skerry.api.fields import FieldError, duplicate, invalid, required, too_many
from skerry.api.model import LIST_ATOMIC, Model, Time
from skerry.kit.clock import from_rfc3339, rfc3339

#: Of one function.
SCHEDULES_MAX = 10
CRON_CHARACTERS_MAX = 100
CRON_FIELDS = 5
TIME_ZONE_DEFAULT = "Etc/UTC"
#: What was due while nothing could fire it is made up for once, if it is no older.
CATCH_UP_SECONDS_MAX = 600.0
#: Where each due time counts, each is made up for, if it is no older.
MISSED_SECONDS_MAX = 86_400.0

Result = Literal["Running", "Succeeded", "Failed", "Interrupted"]


class Schedule(Model):
    """Runs the function's scheduled handler by the clock; Skerry's own addition."""

    cron: str
    """Five fields: minute, hour, day of the month, month, day of the week; such as "0 9 * * MON-FRI"."""
    time_zone: str | None = None
    """Name of the IANA time zone that the fields are in, such as Europe/Berlin. Defaults to Etc/UTC."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others of a function."""
        return (self.cron, self.time_zone or TIME_ZONE_DEFAULT)


class ScheduleStatus(Model):
    """What has become of a schedule of the live revision; Skerry's own addition."""

    cron: str
    """The schedule's fields."""
    time_zone: str
    """The time zone that they are in."""
    active_since: Time
    """When the schedule came into force: what was due before is not made up for."""
    last_schedule_time: Time | None = None
    """The last time that it was due and fired (or passed over, since it still ran)."""
    last_result: Result | None = None
    """What became of the last run."""
    last_message: str | None = None
    """Why it failed."""
    claim: Claim | None = None
    """Which node runs it, while one does."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others of a function."""
        return (self.cron, self.time_zone)

    @property
    def fired_until(self) -> str:
        """Up to when it has fired what was due."""
        return max(self.active_since, self.last_schedule_time or "")


Schedules = Annotated[list[Schedule] | None, LIST_ATOMIC]
ScheduleStatuses = Annotated[list[ScheduleStatus] | None, LIST_ATOMIC]


def next_due(key: tuple[str, str], after: dt.datetime) -> dt.datetime | None:
    """Return the first time after a moment that a schedule is due, in UTC; None where no such day comes.

    Args:
        key: fields and time zone, both valid.
        after: aware of its time zone.
    """
    cron, zone = key
    found = next(CronSim(cron, after.astimezone(zoneinfo.ZoneInfo(zone))), None)
    return found.astimezone(dt.UTC) if found else None


def are_adopted(wanted: Sequence[tuple[str, str]], told: Sequence[ScheduleStatus], now: dt.datetime) -> bool:
    """Tell whether what is told is what `adopted` would tell."""
    return list(wanted) == [status.key for status in told] and not any(_is_of_future(status, now) for status in told)


def adopted(
    wanted: Sequence[tuple[str, str]], told: Sequence[ScheduleStatus], now: dt.datetime
) -> list[ScheduleStatus] | None:
    """Return what is to be told of exactly the schedules that are wanted; those that stay keep what was told of them.

    One that has fired in the future begins anew: the clock was set back, and it would wait until that is there again.

    Args:
        wanted: the schedules' keys.
        told: what is told now.
        now: when those that are new come into force.
    """
    known = {status.key: status for status in told}
    found = []
    for key in wanted:
        status = known.get(key) or ScheduleStatus(cron=key[0], time_zone=key[1], active_since=rfc3339(now))
        if _is_of_future(status, now):
            status = status.model_copy(update={"active_since": rfc3339(now), "last_schedule_time": None})
        found.append(status)
    return found or None


def _is_of_future(status: ScheduleStatus, now: dt.datetime) -> bool:
    return (from_rfc3339(status.fired_until) - now).total_seconds() > CATCH_UP_SECONDS_MAX


def last_due(status: ScheduleStatus, now: dt.datetime) -> dt.datetime | None:
    """Return the last time up to `now` that a schedule was due and has not fired, if it is worth making up for."""
    found = None
    for due in _due(status, now, CATCH_UP_SECONDS_MAX):
        found = due
    return found


def missed(status: ScheduleStatus, now: dt.datetime) -> Iterator[dt.datetime]:
    """Yield each time up to `now` that a schedule was due and has not fired, the oldest first; of the last day."""
    return _due(status, now, MISSED_SECONDS_MAX)


def _due(status: ScheduleStatus, now: dt.datetime, seconds_max: float) -> Iterator[dt.datetime]:
    after = max(from_rfc3339(status.fired_until), now - dt.timedelta(seconds=seconds_max))
    while (due := next_due(status.key, after)) and due <= now:
        yield due
        after = due


def validate_schedules(schedules: Sequence[Schedule], path: str) -> Iterator[FieldError]:
    """Check what a template asks for."""
    if len(schedules) > SCHEDULES_MAX:
        yield too_many(path, len(schedules), SCHEDULES_MAX)
    seen = set()
    for index, schedule in enumerate(schedules):
        at = f"{path}[{index}]"
        if schedule.time_zone is not None and schedule.time_zone not in _time_zones():
            yield invalid(f"{at}.timeZone", schedule.time_zone, "must be the name of an IANA time zone")
        yield from _validate_cron(schedule.cron, f"{at}.cron")
        if schedule.key in seen:
            yield duplicate(at, " in ".join(schedule.key))
        seen.add(schedule.key)


def _validate_cron(cron: str, path: str) -> Iterator[FieldError]:
    if not cron:
        yield required(path)
        return
    wanted = "must have five fields, such as '*/5 * * * *' (minute, hour, day of the month, month, day of the week)"
    if len(cron) > CRON_CHARACTERS_MAX or len(cron.split()) != CRON_FIELDS:
        yield invalid(path, cron, f"{wanted} and {CRON_CHARACTERS_MAX} characters at most")
        return
    try:
        first = next_due((cron, TIME_ZONE_DEFAULT), dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
    except CronSimError as error:
        yield invalid(path, cron, f"{wanted}: {error}")
        return
    if first is None:
        yield invalid(path, cron, "names a day that never comes")


@functools.cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
