"""What several nodes say of one object: it holds where it holds everywhere, and else is told where not."""

from typing import Any

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute, HTTPRouteStatus
from skerry.api.gateway_v1 import CONTROLLER_NAME, Gateway, GatewayStatus
from skerry.api.model import Condition, condition_of, from_document
from skerry.gateway.merged_status import (
    distributed,
    merged_conditions,
    merged_gateway,
    merged_route,
    problem_of_attached,
    problem_of_function,
)

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def condition(status: str = "True", message: str = "", *, type_: str = "Programmed", generation: int = 1) -> Condition:
    found: Any = status
    return Condition(
        type=type_, status=found, reason="R", message=message, observed_generation=generation, last_transition_time=THEN
    )


def gateway(**status: Any) -> Gateway:
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    document = {
        "metadata": {"name": "edge", "namespace": "default", "generation": 1},
        "spec": {"gatewayClassName": "skerry", "listeners": [listener]},
        "status": status,
    }
    return from_document(Gateway, document)


def said(status: str = "True", message: str = "", *, routes: int = 1, address: str = "127.0.0.1") -> GatewayStatus:
    listener = {"name": "http", "attachedRoutes": routes, "conditions": []}
    document = {"addresses": [{"type": "IPAddress", "value": address}], "listeners": [listener]}
    found = GatewayStatus.model_validate(document, by_alias=True)
    found.conditions = [condition(status, message)]
    return found


def told(status: GatewayStatus, type_: str) -> tuple[str, str]:
    found = condition_of(status.conditions, type_)
    assert found is not None
    return found.status, found.message


def test_a_gateway_is_programmed_where_every_node_has_it() -> None:
    nodes = {"n1": said(message="it listens"), "n2": said(message="it listens", routes=2, address="127.0.0.2")}
    status = merged_gateway(gateway(), nodes, ["n1", "n2"], NOW)
    assert told(status, "Programmed") == ("True", "it listens")
    assert [each.value for each in status.addresses or ()] == ["127.0.0.1", "127.0.0.2"]
    assert [each.attached_routes for each in status.listeners or ()] == [2]


def test_a_node_that_can_not_have_a_gateway_is_named_before_one_that_has_not_told() -> None:
    status = merged_gateway(gateway(), {"n1": said(), "n2": said("False", "no port")}, ["n1", "n2", "n3"], NOW)
    assert told(status, "Programmed") == ("False", "n2: no port; n3: has not told of it yet")


def test_what_a_node_says_of_a_gateway_that_it_does_not_run_any_more_counts_for_nothing() -> None:
    status = merged_gateway(gateway(), {"n1": said(), "n2": said("False", "no port")}, ["n1"], NOW)
    assert told(status, "Programmed")[0] == "True"


def test_a_gateway_that_selects_no_node_says_so() -> None:
    before = merged_gateway(gateway(), {"n1": said()}, ["n1"], THEN)
    one = gateway()
    one.status = before
    status = merged_gateway(one, {"n1": said()}, [], NOW)
    assert told(status, "Programmed")[0] == "False"
    assert (status.listeners, status.addresses) == (None, None)


def test_what_was_said_of_an_older_state_says_nothing_of_this_one() -> None:
    merged = merged_conditions((), {"n1": [condition()], "n2": [condition(generation=2)]}, 2, NOW)
    assert [(each.status, each.message, each.observed_generation) for each in merged] == [
        ("Unknown", "n1: has not taken the newest state yet", 2)
    ]


def test_a_time_moves_only_with_the_status() -> None:
    before = merged_conditions((), {"n1": [condition()]}, 1, THEN)
    assert merged_conditions(before, {"n1": [condition(message="else")]}, 1, NOW)[0].last_transition_time == THEN
    assert merged_conditions(before, {"n1": [condition("False")]}, 1, NOW)[0].last_transition_time == NOW


def test_a_condition_that_is_good_when_it_is_false_is_bad_where_it_is_true() -> None:
    nodes = {
        "n1": [condition("False", type_="Conflicted")],
        "n2": [condition("True", "two of a port", type_="Conflicted")],
    }
    (merged,) = merged_conditions((), nodes, 1, NOW)
    assert (merged.status, merged.message) == ("True", "n2: two of a port")


def route(*parents: str) -> HTTPRoute:
    refs = [{"name": name} for name in ("here", "there", "gone")]
    document = {
        "metadata": {"name": "r", "namespace": "default", "generation": 1},
        "spec": {"parentRefs": refs},
        "status": {"parents": [parent(name) for name in parents]},
    }
    return from_document(HTTPRoute, document)


def parent(name: str, controller: str = CONTROLLER_NAME) -> Any:
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
    accepted = condition(type_="Accepted").model_dump(by_alias=True, exclude_none=True)
    return {"parentRef": ref, "controllerName": controller, "conditions": [accepted]}


def test_a_route_is_told_of_by_whoever_runs_each_of_its_gateways() -> None:
    elsewhere = {("default", "here"): False, ("default", "there"): True}
    nodes = {
        "default/n1": HTTPRouteStatus.model_validate({"parents": [parent("there"), parent("here")]}, by_alias=True)
    }
    status = merged_route(route("here", "gone"), nodes, elsewhere, NOW)
    assert [each.parent_ref.name for each in status.parents or ()] == ["here", "there"]
    status = merged_route(route("here", "there"), {}, elsewhere, NOW)
    assert [each.parent_ref.name for each in status.parents or ()] == ["here"]


def test_an_object_is_distributed_where_every_node_has_it_in_force() -> None:
    assert (distributed({"n1": "", "n2": ""}, 1, NOW).message) == "in force on 2 of 2 nodes"
    found = distributed({"n1": "", "n2": "no code"}, 1, NOW)
    assert (found.status, found.message) == ("False", "in force on 1 of 2 nodes; n2: no code")


def function(live: str, serving: str | None, *conditions: Condition) -> EdgeFunction:
    code = {"wasmSource": {"url": "https://a.example/x.wasm"}}
    status = {"liveRevision": live, **({"servingRevision": serving} if serving else {})}
    document = {"metadata": {"name": "f"}, "spec": {"template": {"mode": "backend", "code": code}}, "status": status}
    found = from_document(EdgeFunction, document)
    found.status.conditions = list(conditions)
    return found


def test_a_node_serves_a_function_when_it_serves_what_was_decided() -> None:
    decided = function("f-b", None)
    assert problem_of_function(decided, function("f-b", "f-b").status) == ""
    assert problem_of_function(decided, function("f-a", "f-a").status) == "serves f-a, not f-b"
    assert problem_of_function(decided, function("f-b", None).status) == "serves nothing, not f-b"
    refused = function("f-b", "f-b", condition("False", "no such symbol"))
    assert problem_of_function(decided, refused.status) == "no such symbol"


def test_a_policy_is_in_force_where_its_node_says_so_of_the_present_one() -> None:
    assert problem_of_attached([condition(type_="Ready")], 1) == ""
    assert problem_of_attached([condition("False", "no key", type_="Ready")], 1) == "no key"
    assert problem_of_attached([condition(type_="Ready")], 2) == "has not taken the newest state yet"
    assert problem_of_attached(None, 1) == "has not taken the newest state yet"
