"""Conditions, as controllers write them."""

from skerry.api.model import Condition, pending, with_condition


def told(status: str, at: str) -> Condition:
    return Condition(type="Fetched", status=status, reason="Fetching", last_transition_time=at)  # type: ignore[arg-type]


def test_a_condition_that_nobody_wrote_yet_gives_its_time_to_none() -> None:
    (written,) = with_condition([pending("Fetched")], told("Unknown", "2026-11-22T06:00:00Z"))
    assert written.last_transition_time == "2026-11-22T06:00:00Z"


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    first = told("False", "2026-11-22T06:00:00Z")
    (same,) = with_condition([first], told("False", "2026-11-22T07:00:00Z"))
    assert same.last_transition_time == first.last_transition_time
    (changed,) = with_condition([same], told("True", "2026-11-22T08:00:00Z"))
    assert changed.last_transition_time == "2026-11-22T08:00:00Z"
