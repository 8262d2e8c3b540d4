"""Tables: columns of the kind, cells of the object, ages in words."""

import datetime as dt
from typing import Any

from skerry.api.core_v1 import EVENT, NAMESPACE, SECRET
from skerry.server.kube.negotiation import Form
from skerry.server.kube.tables import partial_metadata, table

NOW = dt.datetime(2026, 1, 1, 0, 5, tzinfo=dt.UTC)
TABLE = Form("table", "v1")
SECRET_ITEM = {
    "metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "type": "Opaque",
    "data": {"a": "Yg=="},
}


def rendered(kind: Any, item: Any, include: Any = "Metadata") -> Any:
    return table(kind, [item], {"resourceVersion": "7"}, TABLE, include, NOW)


def test_name_first_age_last_and_the_kinds_columns_between() -> None:
    found = rendered(SECRET, SECRET_ITEM)
    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Type", "Data", "Age"]
    assert found["columnDefinitions"][0]["format"] == "name"
    assert found["rows"][0]["cells"] == ["s", "Opaque", 1, "5m"]
    assert found["metadata"] == {"resourceVersion": "7"}
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")


def test_what_a_row_carries() -> None:
    assert rendered(SECRET, SECRET_ITEM)["rows"][0]["object"] == partial_metadata(SECRET_ITEM, TABLE)
    assert rendered(SECRET, SECRET_ITEM, "Object")["rows"][0]["object"] == SECRET_ITEM
    assert "object" not in rendered(SECRET, SECRET_ITEM, "None")["rows"][0]


def test_absent_values_are_empty_cells_and_unknown_ages() -> None:
    assert rendered(NAMESPACE, {"metadata": {"name": "n"}})["rows"][0]["cells"] == ["n", "", "<unknown>"]


def test_events_are_told_by_time() -> None:
    item = {"metadata": {"name": "e"}, "lastTimestamp": "2026-01-01T00:04:30Z", "type": "Normal"}
    found = rendered(EVENT, item)
    assert found["columnDefinitions"][0]["name"] == "Last Seen"
    assert found["rows"][0]["cells"][:2] == ["30s", "Normal"]
