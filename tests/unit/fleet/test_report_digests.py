"""What of reports is looked at all the time."""

from typing import Any

import pytest

from skerry.api.baetyl_v1alpha1 import NodeReport
from skerry.api.model import ObjectMeta, OwnerReference, to_document
from skerry.fleet.report_digests import ReportDigest, report_digest


def digest(report: Any, **more: Any) -> ReportDigest:
    owner = OwnerReference(api_version="cloud.baetyl.io/v1alpha1", kind="Node", name="n1", uid="u1")
    meta = ObjectMeta(name="n1", namespace="default", owner_references=[owner])
    return report_digest(to_document(NodeReport(metadata=meta, time="2026-01-01T00:00:00Z", report=report, **more)))


def test_a_digest_tells_whose_report_it_is_and_when_it_came() -> None:
    found = digest({}, conflict_time="2026-01-01T00:00:01Z")
    assert (found.namespace, found.name, found.node_uid) == ("default", "n1", "u1")
    assert (found.time, found.conflict_time) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")


def test_a_state_counts_in_the_version_that_is_wanted() -> None:
    found = digest({"appstats": [{"name": "web-2", "version": "7", "status": "Running"}, "junk"]})
    assert found.state_of("web-2", 7) == "Running"
    assert found.state_of("web-2", 8) == found.state_of("web", 7) == ""


@pytest.mark.parametrize("junk", [None, 1, "x", {"a": 1}, [None], [{"name": ["a"], "status": {}}]])
def test_states_of_another_form_tell_nothing(junk: Any) -> None:
    assert digest({"appstats": junk}).state_of("web", 1) == ""
