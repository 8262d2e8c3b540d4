from typing import Any

from skerry.api.gateway_http_route_v1 import HTTP_ROUTE
from skerry.api.gateway_v1 import CONTROLLER_NAME, GATEWAY, GATEWAY_CLASS
from skerry.api.model import Condition, condition_of, from_document
from skerry.gateway.resources import Resources
from skerry.gateway.snapshot import LISTENER_TYPE, ROUTE_TYPE
from skerry.gateway.status import MESSAGE_CHARACTERS_MAX, class_status, gateway_status, route_status
from skerry.gateway.translate import Translation, translate
from skerry.gateway.xds_stream import Rejection

KEY = ("default", "edge")
FIRST, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
CLASS = from_document(
    GATEWAY_CLASS.model, {"metadata": {"name": "skerry", "generation": 1}, "spec": {"controllerName": CONTROLLER_NAME}}
)
LISTENERS = [{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 81, "protocol": "HTTP"}]


def gateway(listeners: Any = LISTENERS) -> Any:
    metadata = {"name": "edge", "namespace": "default", "generation": 3}
    spec = {"gatewayClassName": "skerry", "listeners": listeners}
    return from_document(GATEWAY.model, {"metadata": metadata, "spec": spec})


def route(**spec: Any) -> Any:
    metadata = {"name": "r", "namespace": "default", "generation": 2}
    return from_document(HTTP_ROUTE.model, {"metadata": metadata, "spec": {"parentRefs": [{"name": "edge"}], **spec}})


def translated(*routes: Any, gateway_: Any = None) -> Translation:
    return translate(Resources(gateway_classes=(CLASS,), gateways=(gateway_ or gateway(),), http_routes=tuple(routes)))


def found(conditions: list[Condition] | None, kind: str) -> Condition:
    condition = condition_of(conditions, kind)
    assert condition is not None
    return condition


def test_a_gateway_that_envoy_took_is_programmed() -> None:
    status = gateway_status(gateway(), translated().conditions.gateways[KEY], (), FIRST)
    assert found(status.conditions, "Programmed").status == "True"
    assert found(status.conditions, "Accepted").observed_generation == 3
    assert [address.value for address in status.addresses or ()] == ["127.0.0.1"]
    for listener in status.listeners or ():
        assert {c.type: c.status for c in listener.conditions} == {
            "Accepted": "True",
            "Conflicted": "False",
            "ResolvedRefs": "True",
            "Programmed": "True",
        }


def test_a_refused_binding_is_told_in_envoys_words_at_its_listener() -> None:
    rejection = Rejection(LISTENER_TYPE, "default/edge/127.0.0.1/80", "v", "cannot bind: Address already in use")
    status = gateway_status(gateway(), translated().conditions.gateways[KEY], (rejection,), FIRST)
    first, second = status.listeners or []
    assert found(first.conditions, "Programmed").message == rejection.message
    assert found(second.conditions, "Programmed").status == "True"
    assert found(status.conditions, "Programmed").status == "False"
    assert rejection.message in found(status.conditions, "Programmed").message


def test_a_refused_route_table_is_told_at_its_listener() -> None:
    rejection = Rejection(ROUTE_TYPE, "default/edge/81#1f", "v", "bad table")
    status = gateway_status(gateway(), translated().conditions.gateways[KEY], (rejection,), FIRST)
    assert [found(listener.conditions, "Programmed").status for listener in status.listeners or ()] == ["True", "False"]


def test_a_listener_that_cannot_be_served_is_not_programmed() -> None:
    one = gateway([{"name": "a", "port": 80, "protocol": "UDP"}])
    status = gateway_status(one, translated(gateway_=one).conditions.gateways[KEY], (), FIRST)
    assert found(status.conditions, "Programmed").reason == "Invalid"
    assert found((status.listeners or [])[0].conditions, "Programmed").status == "False"


def test_a_transition_time_moves_only_with_the_status() -> None:
    one = gateway()
    report = translated().conditions.gateways[KEY]
    one.status = gateway_status(one, report, (), FIRST)
    rejection = Rejection(LISTENER_TYPE, "default/edge/127.0.0.1/80", "v", "no")
    status = gateway_status(one, report, (rejection,), LATER)
    assert found(status.conditions, "Accepted").last_transition_time == FIRST
    assert found(status.conditions, "Programmed").last_transition_time == LATER
    assert gateway_status(one, report, (), LATER) == one.status


def test_a_route_keeps_what_other_controllers_say() -> None:
    one = route()
    theirs = {"parentRef": {"name": "x"}, "controllerName": "a.b/c", "conditions": []}
    one.status = from_document(HTTP_ROUTE.model, {"spec": {}, "status": {"parents": [theirs]}}).status
    status = route_status(one, translated(one).conditions.routes["default", "r"], FIRST)
    assert [parent.controller_name for parent in status.parents or ()] == ["a.b/c", CONTROLLER_NAME]
    assert found((status.parents or [])[1].conditions, "Accepted").observed_generation == 2


def test_a_route_that_left_its_parent_has_no_entry_of_ours() -> None:
    one = route()
    one.status = route_status(one, translated(one).conditions.routes["default", "r"], FIRST)
    assert route_status(one, (), LATER).parents == []


def test_what_is_told_of_a_gateway_that_other_nodes_run_stays() -> None:
    there = route(parentRefs=[{"name": "edge"}, {"name": "factory"}])
    decided = translated(there).conditions.routes["default", "r"]
    elsewhere = decided[0].__class__(there.spec.parent_refs[1], decided[0].decisions)
    there.status = route_status(there, [elsewhere], FIRST)
    status = route_status(there, decided, LATER, elsewhere={("default", "factory"): "skerry"})
    assert [parent.parent_ref.name for parent in status.parents or ()] == ["edge", "factory"]


def test_an_accepted_class_tells_its_features() -> None:
    status = class_status(CLASS, translated().conditions.classes["skerry"], FIRST)
    assert found(status.conditions, "Accepted").status == "True"
    names = [feature.name for feature in status.supported_features or ()]
    assert names == sorted(names)


def test_a_route_that_is_wrong_on_many_pages_has_a_status_that_begins_with_them() -> None:
    change = {"set": [{"name": "a", "value": "\n" * 4096}]}
    rule = {"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": change}]}
    long = route(rules=[rule] * 16)
    [report] = translated(long).conditions.routes["default", "r"]
    [parent] = route_status(long, [report], FIRST).parents or []
    accepted = found(parent.conditions, "Accepted")
    assert (accepted.status, len(accepted.message)) == ("False", MESSAGE_CHARACTERS_MAX)
