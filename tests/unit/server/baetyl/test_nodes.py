"""Nodes through the front door of fleets: what `facts` says of one request holds over many, and beside others."""

import itertools
import json
from typing import Any, Literal

import pytest

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_rollouts import Rollout
from skerry.api.baetyl_v1alpha1 import NODE, NODE_REPORT, Node, NodeReport
from skerry.api.model import Condition, ObjectMeta, from_document
from skerry.server.verbs.requests import Target
from skerry.server.verbs.turns import RACES_MAX
from skerry.store.log import RevisionLog
from skerry.store.records import Key
from tests.unit.server.baetyl.conftest import Door

INVALID, NOT_FOUND = "ErrRequestParamInvalid", "ErrResourceNotFound"


async def make(door: Door, name: str = "edge-1", **body: Any) -> Any:
    return await door.ask("POST", "/v1/nodes", {"name": name, **body})


async def report(door: Door, name: str, document: dict[str, Any], *, ready: bool) -> None:
    node = await door.client.get(Node, name, namespace="default")
    status: Literal["True", "False"] = "True" if ready else "False"
    now = "2026-01-01T00:00:00Z"

    def tell(stored: Node) -> None:
        told = Condition(type="Ready", status=status, reason="Test", last_transition_time=now)
        stored.status.conditions = [told]

    await door.client.change_status(node, tell)
    new = NodeReport(metadata=ObjectMeta(name=name, namespace="default"), time=now, report=document)
    await door.verbs.record(Target(NODE_REPORT, "default", name), new)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "body: must be of type object"),
        ({"name": 7, "labels": []}, "name: must be of type string; labels: must be of type object"),
    ],
)
async def test_a_body_of_the_wrong_form_is_told_by_its_fields_and_types(door: Door, body: Any, told: str) -> None:
    assert await door.refused("POST", "/v1/nodes", body) == (INVALID, f"The request parameter is invalid. ({told})")


async def test_a_node_is_made_shown_changed_and_deleted(door: Door) -> None:
    made = await make(door, labels={"site": "lyon"}, annotations={"brand": "acme"}, description="a box")
    assert made["labels"] == {"site": "lyon", "baetyl-node-name": "edge-1"}
    assert (made["namespace"], made["ready"], made["description"]) == ("default", False, "a box")
    assert await door.ask("GET", "/v1/nodes/edge-1") == made
    assert (await door.client.get(Node, "edge-1", namespace="default")).spec.description == "a box"

    changed = await door.ask("PUT", "/v1/nodes/edge-1", {"labels": {"tier": "dev"}, "name": "ignored"})
    assert changed["labels"] == {"tier": "dev", "baetyl-node-name": "edge-1"}
    assert (changed["annotations"], changed["description"], changed["name"]) == ({}, "", "edge-1")
    assert int(changed["version"]) > int(made["version"])

    assert await door.ask("DELETE", "/v1/nodes/edge-1") == {"success": True}
    assert await door.refused("GET", "/v1/nodes/edge-1", status=404) == (
        NOT_FOUND,
        "The (node) resource (edge-1) is not found.",
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"labels": []}', b"[" * 10_000, b'{"name": "' + b"x" * (5 << 20) + b'"}'],
    ids=["empty", "cut", "list", "wrong-type", "deep", "large"],
)
async def test_bodies_that_can_not_be_read_are_400(door: Door, content: bytes) -> None:
    answer = await door.http.post("/v1/nodes", content=content)
    assert answer.status_code == 400
    assert answer.json()["code"] in {INVALID, "ErrDataTooLarge"}


async def test_nulls_are_absent_and_unknown_members_are_ignored(door: Door) -> None:
    made = await make(door, labels=None, description=None, colour="red")
    assert (made["description"], made["labels"]) == ("", {"baetyl-node-name": "edge-1"})


async def test_lists_select_by_labels_and_fields_and_page_by_tokens(door: Door) -> None:
    for number in range(5):
        await make(door, f"n{number}", labels={"site": "lyon" if number % 2 else "oslo"})

    async def names(query: str) -> list[str]:
        return [item["name"] for item in (await door.ask("GET", f"/v1/nodes?{query}"))["items"]]

    assert await names("selector=site=lyon") == ["n1", "n3"]
    assert await names("selector=site in (oslo),baetyl-node-name!=n0") == ["n2", "n4"]
    assert await names("fieldSelector=metadata.name=n3") == ["n3"]
    assert await names("limit=many") == ["n0", "n1", "n2", "n3", "n4"]
    first = await door.ask("GET", "/v1/nodes?limit=2&selector=site")
    assert [item["name"] for item in first["items"]] == ["n0", "n1"]
    assert (first["total"], first["listOptions"]["limit"], first["listOptions"]["selector"]) == (2, 2, "site")
    token = first["listOptions"]["continue"]
    rest = await door.ask("GET", "/v1/nodes", params={"limit": 5, "selector": "site", "continue": token})
    assert [item["name"] for item in rest["items"]] == ["n2", "n3", "n4"]
    assert "continue" not in rest["listOptions"]


async def test_lists_page_by_number_and_name_and_count_all(door: Door) -> None:
    for name in ("red-1", "red-2", "red-3", "blue"):
        await make(door, name)
    page = await door.ask("GET", "/v1/nodes?pageNo=2&pageSize=2&name=red&createSort=asc")
    assert (page["total"], page["pageNo"], page["pageSize"], len(page["items"])) == (3, 2, 2, 1)
    assert (await door.ask("GET", "/v1/nodes?pageNo=9&pageSize=2"))["items"] == []
    assert len((await door.ask("GET", "/v1/nodes?pageNo=1"))["items"]) == 4


async def test_lists_tell_who_is_connected(door: Door) -> None:
    for name in ("on", "off", "new"):
        await make(door, f"n-{name}", cluster=name == "on")
    await report(door, "n-on", {}, ready=True)
    await report(door, "n-off", {}, ready=False)
    for query, name in (("online", "n-on"), ("offline", "n-off"), ("uninstall", "n-new")):
        (found,) = (await door.ask("GET", f"/v1/nodes?ready={query}"))["items"]
        assert (found["name"], found["ready"]) == (name, name == "n-on")
    assert len((await door.ask("GET", "/v1/nodes?cluster=cluster"))["items"]) == 1


async def test_the_summary_counts_nodes_and_bindings(door: Door) -> None:
    for name in ("on", "off", "new"):
        await make(door, f"n-{name}", labels={"site": "lyon"})
    await report(door, "n-on", {}, ready=True)
    await report(door, "n-off", {}, ready=False)
    services = [{"name": "web", "image": "nginx"}]
    await door.ask("POST", "/v1/apps", {"name": "web", "selector": "site=lyon", "services": services})
    assert await door.ask("GET", "/v1/fleet/summary") == {
        "nodes": {"total": 3, "online": 1, "offline": 1, "uninstall": 1},
        "applications": {"total": 1, "incomplete": 0},
        "bindings": 3,
    }
    await door.ask("DELETE", "/v1/nodes/n-on")
    assert (await door.ask("GET", "/v1/fleet/summary"))["nodes"]["online"] == 0


async def test_a_rollout_that_is_paused_shows_whom_it_would_let_in(door: Door) -> None:
    for name, site in (("n1", "lyon"), ("n2", "oslo"), ("n3", "lyon")):
        await make(door, name, labels={"site": site})
    services = [{"name": "web", "image": "nginx"}]
    for app, selector in (("web", "site"), ("web-2", "")):
        await door.ask("POST", "/v1/apps", {"name": app, "selector": selector, "services": services})
    spec = {"application": "web", "target": "web-2", "paused": True, "groups": [{"selector": "site=lyon"}]}
    metadata = {"name": "to-2", "namespace": "default"}
    await door.client.create(from_document(Rollout, {"metadata": metadata, "spec": spec}))
    plan = await door.ask("GET", "/v1/fleet/rollouts/to-2")
    assert plan["groups"] == [
        {"name": "group 1", "total": 2, "nodes": ["n1", "n3"]},
        {"name": "everyone", "total": 1, "nodes": ["n2"]},
    ]
    assert (plan["admittedGroups"], plan["target"]) == (0, "web-2")
    assert (await door.refused("GET", "/v1/fleet/rollouts/none", status=404))[0] == NOT_FOUND


async def test_stats_show_the_report_in_plain_units(door: Door) -> None:
    await make(door)
    assert "report" not in await door.ask("GET", "/v1/nodes/edge-1/stats")
    usage = {"cpu": "336037951n", "memory": "4033160Ki"}
    stats = {"usage": usage, "capacity": {"cpu": "2", "memory": "8066320Ki"}}
    await report(door, "edge-1", {"nodestats": stats, "apps": [{"name": "a1", "version": "1"}]}, ready=True)
    found = await door.ask("GET", "/v1/nodes/edge-1/stats")
    assert found["ready"]
    assert found["report"]["nodestats"]["usage"] == {"cpu": "0.337", "memory": "4129955840"}
    assert found["report"]["apps"] == [{"name": "a1", "version": "1"}]


async def test_a_node_shows_the_applications_that_it_is_to_run_the_systems_first(door: Door) -> None:
    await make(door, labels={"site": "lyon"})
    service = {"name": "web", "image": "nginx"}
    for name, spec in (("web", {}), ("agent", {"system": True}), ("away", {"selector": "site=oslo"})):
        meta = {"name": name, "namespace": "default"}
        document = {"metadata": meta, "spec": {"selector": "site=lyon", "services": [service], **spec}}
        await door.client.create(from_document(Application, document))
    found = await door.ask("GET", "/v1/nodes/edge-1/apps")
    assert [item["name"] for item in found["items"]] == ["agent", "web"]
    assert (found["total"], found["listOptions"]) == (2, None)
    assert found["items"][1]["selector"] == "site=lyon"


async def test_many_nodes_are_got_by_name_and_strangers_left_out(door: Door) -> None:
    for name in ("n1", "n2", "n3"):
        await make(door, name)
    found = await door.ask("PUT", "/v1/nodes?batch", {"names": ["n3", "stranger", "n1", "n3"]})
    assert [item["name"] for item in found["items"]] == ["n3", "n1"]
    assert (await door.refused("PUT", "/v1/nodes", {"names": []}))[0] == INVALID
    assert (await door.refused("PUT", "/v1/nodes?batch", {"names": ["n"] * 21}))[0] == INVALID


async def test_a_node_can_be_left_to_itself(door: Door) -> None:
    await make(door)
    assert await door.ask("PUT", "/v1/nodes/edge-1/mode", {"mode": "local"}) == {"success": True}
    assert (await door.ask("GET", "/v1/nodes/edge-1"))["mode"] == "local"
    assert (await door.refused("PUT", "/v1/nodes/edge-1/mode", {"mode": "chaos"}))[0] == INVALID


async def test_properties_are_merged_and_told_beside_those_reported(door: Door) -> None:
    await make(door)
    await report(door, "edge-1", {"time": "2026-01-01T00:00:00Z", "nodeprops": {"lamp": "off"}}, ready=True)
    path = "/v1/nodes/edge-1/properties"
    await door.ask("PUT", path, {"state": {"desire": {"lamp": "on", "fan": "off"}}})
    found = await door.ask("PUT", path, {"state": {"desire": {"fan": None}}})
    assert found["state"] == {"report": {"lamp": "off"}, "desire": {"lamp": "on"}}
    assert found["metadata"]["report"] == {"lamp": "2026-01-01T00:00:00Z"}
    assert found["metadata"]["desire"]["lamp"]
    assert await door.ask("GET", path) == found
    assert (await door.refused("PUT", path, {"state": {"desire": {"lamp": 1}}}))[0] == INVALID


async def test_the_agent_of_a_node_is_configured_within_bounds(door: Door) -> None:
    await make(door)
    path = "/v1/nodes/edge-1/core/configs"
    assert (await door.ask("GET", path))["frequency"] == 20
    changed = await door.ask(
        "PUT", path, {"version": "v2.4.3", "frequency": 5, "agentport": 30081, "logLevel": "debug"}
    )
    assert (changed["frequency"], changed["agentport"], changed["logLevel"]) == (5, 30081, "debug")
    assert await door.ask("GET", "/v1/nodes/edge-1/core/versions") == {"versions": ["v2.4.3"]}
    for wrong in ({"frequency": 0}, {"frequency": 301}, {"agentport": 80}, {"logLevel": "loud"}):
        assert (await door.refused("PUT", path, wrong))[0] == INVALID


async def test_who_is_overtaken_again_and_again_is_told(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(door)
    target, numbers, put = Target(NODE, "default", "edge-1"), itertools.count(), RevisionLog.put

    async def overtaken(log: RevisionLog, key: Key, value: bytes, *, expected_revision: int) -> int:
        if key == target.key:  # another process writes first
            document = json.loads(value)
            document["spec"]["description"] = f"another's {next(numbers)}"
            await put(
                log, key, json.dumps(document, separators=(",", ":")).encode(), expected_revision=expected_revision
            )
        return await put(log, key, value, expected_revision=expected_revision)

    monkeypatch.setattr(RevisionLog, "put", overtaken)
    told = await door.refused("PUT", "/v1/nodes/edge-1", {"description": "mine"})
    assert told[0] == "ErrResourceConflict"
    assert next(numbers) == RACES_MAX
    assert (await door.ask("GET", "/v1/nodes/edge-1"))["description"] == f"another's {RACES_MAX - 1}"


async def test_requests_have_ids_also_those_that_are_refused(door: Door) -> None:
    given = {"x-bce-request-id": "my-id-1"}
    answer = await door.http.get("/v1/nodes", headers=given)
    assert answer.headers["x-bce-request-id"] == "my-id-1"
    refused = await door.http.get("/v1/nodes/stranger", headers=given)
    assert (refused.headers["x-bce-request-id"], refused.json()["request-id"]) == ("my-id-1", "my-id-1")
    stranger = await door.http.get("/v1/nodes", headers={"authorization": "Bearer wrong"})
    assert stranger.status_code == 401
    assert stranger.json()["code"] == "ErrRequestAccessDenied"
    assert stranger.json()["request-id"] == stranger.headers["x-bce-request-id"] != ""


async def test_who_may_not_is_told_so_and_other_verbs_are_not_found(door: Door) -> None:
    answer = await door.http.get("/v1/nodes", headers={"authorization": "Bearer nobody"})
    assert (answer.status_code, answer.json()["code"]) == (403, "ErrRequestAccessDenied")
    for method, path in (("PATCH", "/v1/nodes"), ("GET", "/v1/nodes/a/b/c/d"), ("DELETE", "/v1/nodes")):
        assert (await door.refused(method, path, status=404))[0] == "ErrRequestMethodNotFound"


async def test_the_namespace_is_that_of_the_account_or_of_the_header(door: Door) -> None:
    await make(door)
    other = {"x-baetyl-namespace": "kube-system"}
    assert (await door.ask("GET", "/v1/nodes", headers=other))["items"] == []
    await door.ask("POST", "/v1/nodes", {"name": "edge-1", "namespace": "default"}, headers=other)
    assert (await door.ask("GET", "/v1/nodes/edge-1", headers=other))["namespace"] == "kube-system"
    robot = await door.http.get("/v1/nodes", headers={"authorization": "Bearer system:serviceaccount:other:robot"})
    assert 'in the namespace "other"' in robot.json()["message"]
