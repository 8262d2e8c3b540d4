"""Times that users write: each is one, or the error names its field."""

from typing import Any

import pytest

from skerry.api.baetyl_rollouts import ROLLOUT
from skerry.api.coordination_v1 import LEASE
from skerry.api.core_v1 import CONFIG_MAP, EVENT
from skerry.api.decoding import decode
from skerry.api.errors import Invalid
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.kinds import Kind
from skerry.api.model import Document

ACCEPTED = "must be a time of RFC 3339, such as 2030-01-31T12:00:00Z"


def lease(time: Any) -> Document:
    return {"metadata": {"name": "a"}, "spec": {"renewTime": time}}


def causes(kind: Kind[Any], document: Document, old: Document | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        decode(kind, document, old)
    return {cause["field"]: cause["message"] for cause in refused.value.details["causes"]}


@pytest.mark.parametrize(
    "time",
    [
        "2030-01-31T12:00:00Z",
        "2030-01-31T12:00:00.5Z",
        "2030-01-31T12:00:00.123456789+08:00",  # as Go writes nanoseconds
        "2030-01-31T12:00:00.000000Z",
        "0001-01-01T00:00:00Z",  # Go's zero time
        "2028-02-29T23:59:59-12:00",
        None,
    ],
)
def test_what_is_a_time_is_taken_as_it_is(time: str | None) -> None:
    assert decode(LEASE, lease(time)).object.spec.renew_time == time


@pytest.mark.parametrize(
    "time",
    [
        "",
        "soon",
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-01-31 12:00:00Z",
        "20300131T120000Z",
        "2030-02-30T12:00:00Z",
        "2030-01-31T25:00:00Z",
        "2030-01-31T12:00:00+99:00",
        "٢٠٣٠-01-31T12:00:00Z",
        "2030-01-31T12:00:00Z ",
        f"2030-01-31T12:00:00.{'1' * 5000}Z",
    ],
)
def test_what_is_no_time_is_refused_by_its_field(time: str) -> None:
    found = causes(LEASE, lease(time))
    assert found.keys() == {"spec.renewTime"}
    assert found["spec.renewTime"].endswith(ACCEPTED)


def test_every_time_of_an_object_is_looked_at_and_told_with_what_else_is_wrong() -> None:
    event = {
        "metadata": {"name": "a", "creationTimestamp": "then", "deletionTimestamp": 5},
        "involvedObject": {},
        "firstTimestamp": "then",
        "series": {"lastObservedTime": "then"},
    }
    found = causes(EVENT, event)
    assert {"metadata.creationTimestamp", "firstTimestamp", "series.lastObservedTime"} <= found.keys()
    assert found["metadata.deletionTimestamp"].startswith('Invalid value: "integer"')
    steps = {"metadata": {"name": "a"}, "status": {"history": [{"time": "2030-01-31T12:00:00Z"}, {"time": "then"}]}}
    assert "status.history[1].time" in causes(ROLLOUT, steps)
    conditions = [{"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": "then"}]
    function = {"metadata": {"name": "a"}, "spec": {}, "status": {"conditions": conditions}}
    assert "status.conditions[0].lastTransitionTime" in causes(EDGE_FUNCTION, function)


def test_what_is_stored_already_hinders_no_change_of_something_else() -> None:
    stored = lease("soon")
    assert (
        decode(LEASE, stored | {"metadata": {"name": "a", "labels": {"b": "c"}}}, stored).object.spec.renew_time
        == "soon"
    )
    assert causes(LEASE, lease("later"), stored).keys() == {"spec.renewTime"}


def test_metadata_of_every_kind_is_held_to_it() -> None:
    assert causes(CONFIG_MAP, {"metadata": {"name": "a", "creationTimestamp": "then"}}).keys() == {
        "metadata.creationTimestamp"
    }
