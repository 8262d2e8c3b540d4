"""Which lines of a log somebody wants: read from whatever a command brings, within bounds."""

import datetime as dt

import pytest

from skerry.fleet.log_wishes import LIMIT_BYTES_DEFAULT, TAIL_LINES_MAX, LogWish, read_log_wish
from skerry.fleet.reports import ReportRefused


@pytest.mark.parametrize("content", [None, [], {}, "x"])
def test_nothing_that_is_said_is_all_lines_within_the_bounds(content: object) -> None:
    assert read_log_wish(content) == LogWish()


def test_numbers_without_measure_are_cut_to_what_a_node_can_reckon_with() -> None:
    wish = read_log_wish({"TailLines": 10**30, "SinceSeconds": 10**30, "LimitBytes": 10**30})
    assert (wish.tail_lines, wish.limit_bytes) == (TAIL_LINES_MAX, LIMIT_BYTES_DEFAULT)
    assert wish.since_seconds is not None
    assert dt.datetime.now(dt.UTC) - dt.timedelta(seconds=wish.since_seconds)


@pytest.mark.parametrize("value", [-1, "1", 1.5, True])
def test_what_is_no_number_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(ReportRefused, match="SinceSeconds"):
        read_log_wish({"SinceSeconds": value})


def test_a_wish_is_read_as_it_was_written() -> None:
    wish = LogWish(follow=True, previous=True, timestamps=True, tail_lines=0, since_seconds=5, limit_bytes=9)
    assert read_log_wish(wish.document()) == wish
