"""How often a node reports."""

import random
from collections import Counter

import pytest

from skerry.agent.member.pace import BUSY_SECONDS, RETRY_SECONDS_MAX, Pace
from skerry.kit import backoff

NODES = 5_000


def within(seconds: float, longest: float) -> bool:
    """Tell whether a wait is the longest one, less what jitter takes."""
    return longest * 0.9 <= seconds <= longest


def test_a_quiet_node_reports_as_its_control_plane_says():
    pace = Pace(None)
    assert within(pace.next_seconds(0, pending=False), 20)
    assert pace.told(120)
    assert within(pace.next_seconds(0, pending=False), 120)
    assert not pace.told(120)


@pytest.mark.parametrize(("own", "told", "longest"), [(5, 20, 5), (60, 20, 20), (None, 0, 1), (None, 10**9, 3600)])
def test_the_shorter_of_two_intervals_holds_and_none_is_unbounded(own: int | None, told: int, longest: int):
    pace = Pace(own)
    pace.told(told)
    assert within(pace.next_seconds(0, pending=False), longest)


def test_a_busy_node_reports_four_times_as_often_until_it_has_been_quiet_for_a_while():
    pace = Pace(None)
    assert within(pace.next_seconds(0, pending=True), 5)
    pace.changed(100)
    assert within(pace.next_seconds(100 + BUSY_SECONDS - 1, pending=False), 5)
    assert within(pace.next_seconds(100 + BUSY_SECONDS, pending=False), 20)


def test_no_pace_is_quicker_than_a_report_a_second():
    pace = Pace(2)
    assert within(pace.next_seconds(0, pending=True), 1)


@pytest.mark.parametrize(("own", "told", "longest"), [(None, 20, 20.0), (5, 20, 5.0), (None, 3600, RETRY_SECONDS_MAX)])
def test_a_failed_report_is_tried_again_within_its_interval_and_a_bound(own: int | None, told: int, longest: float):
    pace = Pace(own)
    pace.retries.next_seconds()
    pace.told(told)
    waits = [pace.retries.next_seconds() for _ in range(100)]
    assert longest / 2 < max(waits[10:]) <= longest


@pytest.mark.parametrize("outage_seconds", [60.0, 600.0])
def test_thousands_of_nodes_come_back_within_their_interval_and_not_as_one_herd(
    outage_seconds: float, monkeypatch: pytest.MonkeyPatch
):
    chance = random.Random(7)  # noqa: S311 - a simulation
    monkeypatch.setattr(backoff, "random", chance)
    returns: Counter[int] = Counter()
    for _ in range(NODES):
        retries, now_seconds = Pace(None).retries, chance.uniform(0, 20)
        while now_seconds <= outage_seconds:
            now_seconds += retries.next_seconds()
        returns[int(now_seconds - outage_seconds)] += 1
    assert max(returns) < 20
    assert max(returns.values()) < NODES / 8
