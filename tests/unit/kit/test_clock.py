"""Moments as texts."""

import datetime as dt

import pytest

from skerry.kit.clock import rfc3339_micro, rfc3339_milli


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (dt.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), "2030-01-02T03:04:05.000006Z"),
        (dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2030-01-02T03:04:05.000000Z"),
        (dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC), "1969-12-31T23:59:59.999999Z"),
        (dt.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2030-01-02T01:04:05.000006Z"),
    ],
)
def test_times_are_written_to_the_microsecond(moment: dt.datetime, text: str):
    assert rfc3339_micro(moment) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (dt.datetime(2030, 1, 2, 3, 4, 5, 250_999, tzinfo=dt.UTC), "2030-01-02T03:04:05.250Z"),
        (dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2030-01-02T01:04:05.000Z"),
    ],
)
def test_times_are_written_to_the_millisecond(moment: dt.datetime, text: str):
    assert rfc3339_milli(moment) == text
