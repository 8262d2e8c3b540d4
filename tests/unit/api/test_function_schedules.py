import datetime as dt

import pytest

from skerry.api.function_schedules import (
    CATCH_UP_SECONDS_MAX,
    SCHEDULES_MAX,
    Schedule,
    ScheduleStatus,
    last_due,
    next_due,
    validate_schedules,
)
from skerry.kit.clock import rfc3339

BERLIN = "Europe/Berlin"


def problems(*schedules: Schedule) -> list[str]:
    return [str(error) for error in validate_schedules(schedules, "spec.template.schedules")]


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def dues(cron: str, zone: str, after: str, count: int) -> list[str]:
    found, moment = [], utc(after)
    for _ in range(count):
        due = next_due((cron, zone), moment)
        assert due is not None
        found.append(due.strftime("%m-%d %H:%M"))
        moment = due
    return found


@pytest.mark.parametrize("cron", ["* * * * *", "*/5 8-18 * * MON-FRI", "0 0 L * *", "0 9 1,15 JAN-JUN *"])
def test_five_fields_of_cron_are_accepted(cron: str):
    assert problems(Schedule(cron=cron), Schedule(cron=cron, time_zone=BERLIN)) == []


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("", "Required value"),
        ("* * * *", "must have five fields"),
        ("0 * * * * *", "must have five fields"),
        ("@daily", "must have five fields"),
        ("61 * * * *", "Bad minute"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("* " * 200, "100 characters at most"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_reason(cron: str, told: str):
    [problem] = problems(Schedule(cron=cron))
    assert problem.startswith("spec.template.schedules[0].cron")
    assert told in problem


def test_a_time_zone_that_is_none_and_a_schedule_given_twice_are_refused():
    told = problems(
        Schedule(cron="* * * * *", time_zone="Mars/Base"), Schedule(cron="0 * * * *"), Schedule(cron="0 * * * *")
    )
    assert [line.partition(":")[0] for line in told] == [
        "spec.template.schedules[0].timeZone",
        "spec.template.schedules[2]",
    ]
    assert "at most" in problems(*[Schedule(cron=f"{n} * * * *") for n in range(SCHEDULES_MAX + 1)])[0]


def test_fields_are_in_the_time_zone():
    assert dues("0 9 * * *", BERLIN, "2030-01-01", 1) == ["01-01 08:00"]
    assert dues("0 9 * * *", BERLIN, "2030-07-01", 1) == ["07-01 07:00"]


def test_a_time_that_the_clock_skips_is_due_when_it_has_been_skipped():
    assert dues("30 2 * * *", BERLIN, "2030-03-30 12:00", 2) == ["03-31 01:00", "04-01 00:30"]


def test_a_time_that_comes_twice_is_due_once_and_every_hour_stays_every_hour():
    assert dues("30 2 * * *", BERLIN, "2030-10-26 12:00", 2) == ["10-27 00:30", "10-28 01:30"]
    assert dues("0 * * * *", BERLIN, "2030-10-26 23:30", 3) == ["10-27 00:00", "10-27 01:00", "10-27 02:00"]


def test_of_what_was_missed_the_last_is_due_and_nothing_that_is_too_old():
    status = ScheduleStatus(cron="* * * * *", time_zone="Etc/UTC", active_since="2030-01-01T00:00:00Z")
    assert last_due(status, utc("2030-01-01 00:00:59")) is None
    assert last_due(status, utc("2030-01-01 08:30:10")) == utc("2030-01-01 08:30")
    status.last_schedule_time = "2030-01-01T08:30:00Z"
    assert last_due(status, utc("2030-01-01 08:30:59")) is None
    daily = ScheduleStatus(cron="0 3 * * *", time_zone="Etc/UTC", active_since="2030-01-01T00:00:00Z")
    due = utc("2030-01-02 03:00")
    within = due + dt.timedelta(seconds=CATCH_UP_SECONDS_MAX - 1)
    assert last_due(daily, within) == due
    assert last_due(daily, within + dt.timedelta(seconds=2)) is None
    daily.active_since = rfc3339(due + dt.timedelta(seconds=1))
    assert last_due(daily, within) is None, "it was not in force then"
