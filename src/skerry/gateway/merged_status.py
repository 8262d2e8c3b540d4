"""What several nodes say of one object, as one status. Pure.

A condition holds where it holds on every node, as of the object's present generation; where it does not, it is told on
which node, in that node's words. Owns no decision of its own but those: that no node is selected, and that one has not
told yet.
"""

from collections.abc import Iterable, Mapping, Sequence

from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionStatus
from skerry.api.gateway_http_route_v1 import HTTPRoute, HTTPRouteStatus, RouteParentStatus
from skerry.api.gateway_v1 import CONTROLLER_NAME, Gateway, GatewayStatus, GatewayStatusAddress, ListenerStatus
from skerry.api.model import Condition, condition_of, with_condition
from skerry.gateway.status import in_order, parent_key

#: Conditions that are good when they are False.
_NEGATIVE = frozenset({"Conflicted", "PartiallyInvalid"})
#: The condition of what is in force on nodes, where its own conditions are the control plane's own node's.
DISTRIBUTED = "Distributed"
MESSAGE_CHARACTERS_MAX = 4096
#: Of a status, as the Gateway API has it.
ADDRESSES_MAX = 16
#: Why a condition is Unknown that a node has not decided yet.
PENDING = "Pending"

Told = Mapping[str, Sequence[Condition]]
"""Conditions by the name of the node that tells them."""


def merged_conditions(
    before: Iterable[Condition] | None, told: Told, generation: int | None, now: str
) -> list[Condition]:
    """Return the conditions that nodes tell, each as on the node where it stands worst.

    Args:
        before: those that the object has: their times are kept while their status is the same.
        told: at least one node's.
        generation: of the object; what a node tells of one before says nothing yet.
        now: RFC 3339.
    """
    types = dict.fromkeys(each.type for conditions in told.values() for each in conditions)
    known, merged = list(before or ()), []
    for type_ in types:
        found = {
            node: _present(condition_of(conditions, type_), type_, generation) for node, conditions in told.items()
        }
        condition = _worst({node: each for node, each in found.items() if each is not None})
        fresh = condition.model_copy(update={"observed_generation": generation, "last_transition_time": now})
        merged += with_condition([each for each in known if each.type == type_], fresh)
    return merged


def _present(condition: Condition | None, type_: str, generation: int | None) -> Condition | None:
    if condition is None or generation is None or (condition.observed_generation or 0) >= generation:
        return condition
    return waiting(type_, "has not taken the newest state yet", generation)


def waiting(type_: str, why: str, generation: int | None) -> Condition:
    """Return the condition of a node that has not decided about an object at a generation; it has no time yet."""
    return Condition(
        type=type_,
        status="Unknown",
        reason=PENDING,
        message=why,
        observed_generation=generation,
        last_transition_time="",
    )


def is_judged(conditions: Iterable[Condition] | None) -> bool:
    """Tell whether a node has said of a Gateway whether it listens."""
    programmed = condition_of(conditions, "Programmed")
    return programmed is not None and programmed.status != "Unknown"


def _worst(found: Mapping[str, Condition]) -> Condition:
    type_ = next(iter(found.values())).type
    good = "False" if type_ in _NEGATIVE else "True"
    bad = {node: each for node, each in found.items() if each.status != good}
    if not bad:
        return next(iter(found.values()))
    ranked = sorted(bad.values(), key=lambda each: each.status == "Unknown")  # what is known to fail goes first
    message = "; ".join(f"{node}: {each.message}" for node, each in sorted(bad.items()))
    return ranked[0].model_copy(update={"message": message[:MESSAGE_CHARACTERS_MAX]})


def merged_gateway(
    gateway: Gateway, told: Mapping[str, GatewayStatus], selected: Iterable[str], now: str
) -> GatewayStatus:
    """Return the status of a Gateway that nodes run.

    Args:
        gateway: with its present status.
        told: by node.
        selected: the nodes that are to run it.
        now: RFC 3339.
    """
    before, generation = gateway.status, gateway.metadata.generation
    nodes = sorted(selected)
    if not nodes:
        return before.model_copy(update={"conditions": _nowhere(gateway, now), "listeners": None, "addresses": None})
    here = {node: told[node] for node in nodes if node in told}
    conditions: dict[str, Sequence[Condition]] = {node: each.conditions or () for node, each in here.items()}
    late = {
        node: [waiting(type_, "has not told of it yet", generation) for type_ in ("Accepted", "Programmed")]
        for node in nodes
        if node not in here
    }
    listeners = dict.fromkeys(listener.name for each in here.values() for listener in each.listeners or ())
    addresses = dict.fromkeys((a.type, a.value) for each in here.values() for a in each.addresses or ())
    return before.model_copy(
        update={
            "conditions": merged_conditions(before.conditions, conditions | late, generation, now),
            "listeners": [_merged_listener(name, gateway, here, now) for name in listeners] or None,
            "addresses": [GatewayStatusAddress(type=t, value=v) for t, v in [*addresses][:ADDRESSES_MAX]] or None,
        }
    )


def _nowhere(gateway: Gateway, now: str) -> list[Condition]:
    message = "no node of its namespace has the labels that its annotation asks for"
    conditions = gateway.status.conditions
    accepted = waiting("Accepted", message, gateway.metadata.generation)
    programmed = accepted.model_copy(update={"type": "Programmed", "status": "False", "reason": "NoResources"})
    for condition in (accepted, programmed):
        conditions = with_condition(conditions, condition.model_copy(update={"last_transition_time": now}))
    return conditions or []


def _merged_listener(name: str, gateway: Gateway, told: Mapping[str, GatewayStatus], now: str) -> ListenerStatus:
    found = {
        node: listener for node, each in told.items() for listener in each.listeners or () if listener.name == name
    }
    old = next((each.conditions for each in gateway.status.listeners or () if each.name == name), None)
    conditions = merged_conditions(
        old, {node: each.conditions for node, each in found.items()}, gateway.metadata.generation, now
    )
    routes = max(each.attached_routes for each in found.values())
    return next(iter(found.values())).model_copy(update={"conditions": conditions, "attached_routes": routes})


def merged_route(
    route: HTTPRoute, told: Mapping[str, HTTPRouteStatus], elsewhere: Mapping[tuple[str, str], bool], now: str
) -> HTTPRouteStatus:
    """Return the status of a route with what nodes say of their Gateways; all else of it stays.

    Args:
        route: with its present status.
        told: by node.
        elsewhere: of each Gateway, by namespace and name, whether nodes run it; one that is not in it is gone.
        now: RFC 3339.
    """
    kept: list[RouteParentStatus] = []
    old: list[RouteParentStatus] = []
    for parent in route.status.parents or ():
        if parent.controller_name != CONTROLLER_NAME or elsewhere.get(parent_key(route, parent.parent_ref)) is False:
            kept.append(parent)
        else:
            old.append(parent)
    merged = []
    for ref in route.spec.parent_refs or ():
        if not elsewhere.get(parent_key(route, ref)):
            continue
        found = {
            node: parent.conditions or ()
            for node, each in told.items()
            for parent in each.parents or ()
            if parent.parent_ref == ref
        }
        if found:
            before = next((parent.conditions for parent in old if parent.parent_ref == ref), None)
            conditions = merged_conditions(before, found, route.metadata.generation, now)
            merged.append(RouteParentStatus(parent_ref=ref, controller_name=CONTROLLER_NAME, conditions=conditions))
    return HTTPRouteStatus(parents=in_order(route, [*kept, *merged]))


def distributed(problems: Mapping[str, str], generation: int | None, now: str) -> Condition:
    """Return the condition that tells whether an object is in force on the nodes that run it.

    Args:
        problems: by node, at least one: "" where it is, else why not.
        generation: of the object.
        now: RFC 3339.
    """
    bad = {node: problem for node, problem in sorted(problems.items()) if problem}
    count = f"{len(problems) - len(bad)} of {len(problems)} nodes"
    told = "; ".join([f"in force on {count}", *(f"{node}: {problem}" for node, problem in bad.items())])
    return Condition(
        type=DISTRIBUTED,
        status="False" if bad else "True",
        observed_generation=generation,
        last_transition_time=now,
        reason="NotEverywhere" if bad else "InForce",
        message=told[:MESSAGE_CHARACTERS_MAX],
    )


def problem_of_function(function: EdgeFunction, told: EdgeFunctionStatus) -> str:
    """Return why a node does not serve a function as it is decided; "" where it does."""
    programmed = condition_of(told.conditions, "Programmed")
    if programmed is not None and programmed.status != "True":
        return programmed.message
    live, serving = function.status.live_revision, told.serving_revision
    return "" if serving == live else f"serves {serving or 'nothing'}, not {live}"


def problem_of_attached(conditions: Iterable[Condition] | None, generation: int | None) -> str:
    """Return why a node does not have a plugin or policy in force; "" where it has."""
    ready = condition_of(conditions, "Ready")
    if ready is None or (ready.observed_generation or 0) < (generation or 0):
        return "has not taken the newest state yet"
    return "" if ready.status == "True" else ready.message
