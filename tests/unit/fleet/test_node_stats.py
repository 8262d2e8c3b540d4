"""What a report says of a node, as people see it. Figures are those of upstream's own facts."""

from typing import Any

import pytest

from skerry.fleet.node_stats import report_view

USAGE = {"cpu": "336037951n", "memory": "4033160Ki"}
CAPACITY = {"cpu": "2", "memory": "8066320Ki"}
PLAIN = {"usage": {"cpu": "0.337", "memory": "4129955840"}, "capacity": {"cpu": "2", "memory": "8259911680"}}


def stats_of(report: dict[str, Any]) -> Any:
    return report_view(report, ready=True)["nodestats"]


def test_usage_is_told_in_cores_and_bytes_and_as_a_share():
    stats = stats_of({"nodestats": {"usage": USAGE, "capacity": CAPACITY}})
    assert {name: stats[name] for name in PLAIN} == PLAIN
    assert stats["percent"] == {"cpu": 0.1685, "memory": 0.5}


def test_one_machine_of_a_later_agent_is_shown_as_the_document_has_it():
    report = {
        "node": {"host1": {"hostname": "host1", "arch": "amd64"}},
        "nodestats": {"host1": {"usage": USAGE, "capacity": CAPACITY}},
    }
    view = report_view(report, ready=True)
    assert view["node"] == {"hostname": "host1", "arch": "amd64"}
    assert view["nodestats"]["percent"]["cpu"] == 0.1685


def test_machines_of_a_cluster_are_shown_by_their_names():
    stats = stats_of({"nodestats": {name: {"usage": USAGE, "capacity": CAPACITY} for name in ("a", "b")}})
    assert stats["a"]["percent"]["memory"] == stats["b"]["percent"]["memory"] == 0.5


@pytest.mark.parametrize("quantity", ["512a", "", "-1", "1e999", "NaN", "n"])
def test_a_quantity_that_cannot_be_read_is_shown_as_it_was_reported(quantity: str):
    stats = stats_of({"nodestats": {"usage": {"memory": quantity}, "capacity": CAPACITY}})
    assert stats["usage"]["memory"] == quantity
    assert stats["percent"]["memory"] == 0.0


def test_more_than_everything_is_everything():
    assert stats_of({"nodestats": {"usage": {"cpu": "3"}, "capacity": {"cpu": "2"}}})["percent"]["cpu"] == 1.0


@pytest.mark.parametrize("capacity", [{}, {"cpu": "0"}])
def test_without_a_capacity_there_is_no_share(capacity: dict[str, str]):
    assert stats_of({"nodestats": {"usage": {"cpu": "1"}, "capacity": capacity}})["percent"]["cpu"] == 0.0


def test_what_an_extension_measures_joins_the_rest():
    extension = {"diskUsed": "5", "diskTotal": "10", "diskPercent": "0.5", "netBytesSent": "7"}
    stats = stats_of({"nodestats": {"usage": {}, "capacity": {}, "extension": extension}})
    assert (stats["usage"]["disk"], stats["capacity"]["disk"], stats["percent"]["disk"]) == ("5", "10", 0.5)
    assert stats["netio"] == {"netBytesSent": "7"}


APP = {"name": "a", "status": "Running", "instances": {"i": {"status": "Running", "usage": {"cpu": "1m"}}}}


def test_of_a_silent_node_the_states_of_its_applications_are_not_known():
    view = report_view({"appstats": [APP], "sysappstats": [APP]}, ready=False)
    assert [each["status"] for each in (*view["appstats"], *view["sysappstats"])] == ["", ""]


def test_the_usage_of_an_instance_is_told_in_plain_units():
    assert report_view({"appstats": [APP]}, ready=True)["appstats"][0]["instances"]["i"]["usage"] == {"cpu": "0.001"}


@pytest.mark.parametrize("junk", [None, 1, "x", [], [1, None], {}, {"a": 1}, {"a": None}, {"usage": 3}])
def test_a_report_of_any_shape_can_be_shown(junk: Any):
    report_view({"node": junk, "nodestats": junk, "appstats": junk, "sysappstats": junk}, ready=True)
