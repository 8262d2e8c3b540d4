"""Two agents that are one node."""

from typing import Any

import pytest

from skerry.api.baetyl_v1alpha1 import Reporter
from skerry.fleet.sightings import REPORTERS_MAX, identity_of, seen


def conflicts(*identities: str) -> list[bool]:
    """Return for each of some reports whether it showed a second agent."""
    told, before = [], list[Reporter]()
    for second, identity in enumerate(identities):
        before, back = seen(before, identity, f"2026-01-01T00:00:{second:02}Z")
        told.append(back)
    return told


def test_one_agent_is_no_conflict():
    assert conflicts("a", "a", "a") == [False, False, False]


def test_a_device_that_is_installed_again_is_no_conflict():
    assert conflicts("a", "a", "b", "b", "c") == [False] * 5


def test_an_agent_that_comes_back_after_another_is_a_conflict():
    assert conflicts("a", "b", "a", "a", "b") == [False, False, True, False, True]


def test_what_is_remembered_is_bounded_and_the_newest():
    before: list[Reporter] = []
    for number in range(REPORTERS_MAX + 2):
        before, _ = seen(before, str(number), "2026-01-01T00:00:00Z")
    assert [each.identity for each in before] == ["5", "4", "3", "2"]


def report(**machine: str) -> dict[str, Any]:
    return {"node": {"host": machine}}


def test_agents_are_told_apart_by_credential_machine_and_session():
    told = {
        identity_of("c1", report(machineID="m1")),
        identity_of("c2", report(machineID="m1")),
        identity_of("c1", report(machineID="m2")),
        identity_of("c1", report(machineID="m1", bootID="b2")),
        identity_of("c1", {**report(machineID="m1"), "core": {"session": "s1"}}),
        identity_of("c1", {**report(machineID="m1"), "core": {"session": "s2"}}),
    }
    assert len(told) == 6


def test_what_changes_from_report_to_report_makes_no_other_agent():
    same = {identity_of("c", {**report(machineID="m"), "time": str(second)}) for second in range(3)}
    assert len(same) == 1


@pytest.mark.parametrize("node", [None, 1, [], {}, {"host": 1}])
def test_a_report_of_any_shape_has_an_agent(node: Any):
    assert identity_of("c", {"node": node})
