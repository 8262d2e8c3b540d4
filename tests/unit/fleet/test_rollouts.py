"""Rollouts: which nodes are let in, and what is next."""

import datetime as dt
import itertools
from typing import Any

import pytest

from skerry.api.baetyl_rollouts import ROLLOUT, Rollout, RolloutCounts
from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.model import ObjectMeta, from_document
from skerry.fleet.rollouts import counted, is_late, next_status, shift_of

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def rollout(*groups: Any, **spec: Any) -> Rollout:
    document = {"application": "web", "target": "web-2", "groups": list(groups), **spec}
    made = from_document(Rollout, {"metadata": {"name": "to-2", "uid": "u-1"}, "spec": document})
    made.metadata = ObjectMeta(name="to-2", namespace="default", uid="u-1", generation=1)
    return made


def advance(made: Rollout, succeeded: int, failed: int = 0, *, admitted: int = 10, seconds: float = 0) -> str:
    """Take one look, and return the phase and the groups that are in."""
    counts = RolloutCounts(total=200, arriving=200, admitted=admitted, succeeded=succeeded, failed=failed)
    made.status = next_status(made, counts, NOW + dt.timedelta(seconds=seconds))
    return f"{made.status.phase} {made.status.admitted_groups}"


def admitted(made: Rollout) -> list[str]:
    shift = shift_of(made)
    sites = ("lyon", "oslo")
    return [f"n{number}" for number in range(200) if shift.admits(f"n{number}", {"site": sites[number % 2]})]


def test_groups_follow_each_other_as_they_succeed_and_everyone_is_last() -> None:
    made = rollout({"selector": "site=lyon"}, {"percentage": 60})
    assert advance(made, 0, admitted=0) == "Progressing 1"
    assert advance(made, 9) == "Progressing 1"
    assert advance(made, 10) == "Progressing 2"
    assert advance(made, 10) == "Progressing 3"
    assert advance(made, 10) == "Complete 3"
    assert [step.message for step in made.status.history or ()] == [
        "group 1 is let in",
        "group 2 is let in",
        "everyone is let in",
        "all nodes run the target",
    ]
    assert advance(made, 0, failed=10) == "Complete 3"


def test_nodes_that_are_in_stay_in_as_the_share_grows() -> None:
    made = rollout({"selector": "site=lyon"}, {"percentage": 30}, {"percentage": 60})
    sets = []
    for count in range(5):
        made.status.admitted_groups = count
        sets.append(set(admitted(made)))
    assert all(before <= after for before, after in itertools.pairwise(sets))
    assert [len(each) for each in (sets[0], sets[1], sets[4])] == [0, 100, 200]
    assert 100 < len(sets[2]) < len(sets[3]) < 200


def test_one_failure_too_many_takes_all_back_for_good() -> None:
    made = rollout({"percentage": 10}, failurePercentage=20)
    advance(made, 0, admitted=0)
    assert advance(made, 0, failed=2) == "Progressing 1"
    assert advance(made, 0, failed=3) == "RolledBack 0"
    assert admitted(made) == []
    assert advance(made, 10) == "RolledBack 0"
    assert (made.status.history or [])[-1].message == "3 of 10 nodes failed"


def test_the_threshold_of_success_may_leave_some_behind() -> None:
    made = rollout({"percentage": 10}, successPercentage=80, failurePercentage=50)
    advance(made, 0, admitted=0)
    assert advance(made, 7) == "Progressing 1"
    assert advance(made, 8) == "Progressing 2"


def test_a_group_soaks_and_begins_again_where_it_falters() -> None:
    made = rollout({"percentage": 10}, soakSeconds=60)
    advance(made, 0, admitted=0)
    assert advance(made, 10, seconds=1) == "Progressing 1"
    assert advance(made, 9, seconds=30) == "Progressing 1"
    assert advance(made, 10, seconds=40) == "Progressing 1"
    assert advance(made, 10, seconds=99) == "Progressing 1"
    assert advance(made, 10, seconds=100) == "Progressing 2"


def test_a_group_without_nodes_is_not_waited_for() -> None:
    made = rollout({"selector": "stage=canary"}, soakSeconds=600)
    assert [advance(made, 0, admitted=0) for _ in range(2)] == ["Progressing 1", "Progressing 2"]


def test_a_group_waits_for_approval() -> None:
    made = rollout({"percentage": 10}, {"percentage": 50, "approval": True})
    advance(made, 0, admitted=0)
    assert advance(made, 10) == "AwaitingApproval 1"
    made.spec.approved_groups = 2
    assert advance(made, 10) == "Progressing 2"


def test_a_paused_rollout_stands_still_but_goes_back_where_it_fails() -> None:
    made = rollout({"percentage": 10})
    advance(made, 0, admitted=0)
    made.spec.paused = True
    assert advance(made, 10) == "Paused 1"
    assert len(admitted(made)) < 200
    assert advance(made, 9, failed=1) == "RolledBack 0"


def test_people_take_a_rollout_back_even_a_complete_one() -> None:
    made = rollout()
    assert [advance(made, 10) for _ in range(2)] == ["Progressing 1", "Complete 1"]
    made.spec.rolled_back = True
    assert advance(made, 10) == "RolledBack 0"


def test_a_node_that_is_late_has_failed() -> None:
    made = rollout({"percentage": 10}, deadlineSeconds=60)
    advance(made, 0, admitted=0)
    assert not is_late(made, NOW + dt.timedelta(seconds=59))
    assert is_late(made, NOW + dt.timedelta(seconds=60))
    states = ["Running", "Pending", "", "Failed"]
    assert counted(9, states, late=False) == RolloutCounts(total=9, admitted=4, succeeded=1, failed=1)
    assert counted(9, states, late=True) == RolloutCounts(total=9, admitted=4, succeeded=1, failed=3)


def test_nodes_of_a_group_come_one_after_the_other_at_their_rate() -> None:
    made = rollout(nodesPerMinute=60)
    assert advance(made, 0, admitted=0) == "Progressing 1"
    assert admitted(made) == []
    came = []
    for second in range(1, 301):
        assert advance(made, 0, admitted=len(admitted(made)), seconds=second + 0.9) == "Progressing 1"
        came.append(len(admitted(made)))
    assert all(before <= after for before, after in itertools.pairwise(came))
    assert 25 < came[59] < 95  # places are even, not exact
    assert came[-1] == 200


def test_a_pause_holds_up_who_comes_and_saves_nothing_up() -> None:
    made = rollout(nodesPerMinute=20)
    advance(made, 0, admitted=0)
    made.spec.paused = True
    assert advance(made, 0, seconds=3000) == "Paused 1"
    assert admitted(made) == []
    made.spec.paused = False
    advance(made, 0, seconds=6000)
    assert 5 < len(admitted(made)) < 40


def test_a_group_that_still_arrives_is_not_done_and_goes_back_where_it_fails() -> None:
    made = rollout({"percentage": 50}, nodesPerMinute=20)
    advance(made, 0, admitted=0)
    assert advance(made, 10, seconds=60) == "Progressing 1"
    assert advance(made, 9, failed=1, seconds=61) == "RolledBack 0"
    assert admitted(made) == []


def test_without_its_rate_all_the_rest_comes() -> None:
    made = rollout(nodesPerMinute=1)
    advance(made, 0, admitted=0)
    made.spec.nodes_per_minute = None
    advance(made, 0, admitted=0)
    assert len(admitted(made)) == 200


def test_history_is_bounded() -> None:
    made = rollout({"percentage": 10})
    for turn in range(60):
        made.spec.paused = turn % 2 == 0
        advance(made, 5)
    assert len(made.status.history or ()) == 20


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"application": ""}, "spec.application"),
        ({"target": "web"}, "spec.target"),
        ({"target": ""}, "spec.target"),
        ({"replaces": [{"configuration": "a", "by": "b"}]}, "spec.target"),
        ({"target": "", "replaces": [{"configuration": "a", "by": ""}]}, "spec.replaces[0]"),
        ({"target": "", "replaces": [{"configuration": "a", "by": "b"}] * 51}, "spec.replaces"),
        ({"target": "", "replaces": [{"configuration": "a", "by": "b"}], "application": "to-2"}, "spec.target"),
        ({"nodesPerMinute": 0}, "spec.nodesPerMinute"),
        ({"groups": [{}]}, "spec.groups[0]"),
        ({"groups": [{"selector": "a", "percentage": 1}]}, "spec.groups[0]"),
        ({"groups": [{"selector": "a in ("}]}, "spec.groups[0].selector"),
        ({"groups": [{"percentage": 50}, {"percentage": 40}]}, "spec.groups[1].percentage"),
        ({"groups": [{"percentage": 1}] * 51}, "spec.groups"),
        ({"groups": [{"percentage": 101}]}, "spec.groups[0].percentage"),
    ],
    ids=[
        *(
            "no-application",
            "itself",
            "no-target",
            "two-targets",
            "no-other",
            "many-replaced",
            "made-itself",
            "no-rate",
        ),
        *("neither", "both", "selector", "falling", "many", "share"),
    ],
)
def test_rollouts_refuse(spec: Any, path: str) -> None:
    document = {"metadata": {"name": "to-2"}, "spec": {"application": "web", "target": "web-2", **spec}}
    with pytest.raises(Invalid) as refused:
        complete(ROLLOUT, decode(ROLLOUT, document).object, None)
    assert path in [cause["field"] for cause in refused.value.details["causes"]]
