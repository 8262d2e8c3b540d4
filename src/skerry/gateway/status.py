"""Decisions into statuses: what the agent writes to Gateways, HTTPRoutes and GatewayClasses.

Pure. Owns times (a condition's transition time is kept while its status is the same), generations, and Programmed,
which follows from what Envoy refused. Statuses of other controllers on a route are left as they are.
"""

from collections.abc import Container, Iterable, Sequence

from skerry.api.gateway_http_route_v1 import HTTPRoute, HTTPRouteStatus, RouteParentStatus
from skerry.api.gateway_references import GROUP, ParentReference
from skerry.api.gateway_v1 import (
    CONTROLLER_NAME,
    Gateway,
    GatewayClass,
    GatewayClassStatus,
    GatewayStatus,
    GatewayStatusAddress,
    ListenerStatus,
    RouteGroupKind,
    SupportedFeature,
)
from skerry.api.model import Condition, with_condition
from skerry.gateway.chain_tables import table_name
from skerry.gateway.decisions import Decision, GatewayReport, Key, ListenerReport, ParentReport, no, yes
from skerry.gateway.snapshot import LISTENER_TYPE, ROUTE_TYPE
from skerry.gateway.xds_stream import Rejection

#: What of the Gateway API is done here, as its conformance tests name it.
SUPPORTED_FEATURES = (
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
)

#: The bound of a message: a sentence for each of many rules, or what Envoy says, may be any number of pages.
MESSAGE_CHARACTERS_MAX = 4096

#: What a listener consists of in Envoy; their names can't be the same, since a binding's holds an address.
_PROGRAMS = frozenset({LISTENER_TYPE, ROUTE_TYPE})


def class_status(gateway_class: GatewayClass, decision: Decision, now: str) -> GatewayClassStatus:
    """Return the status of a class of ours; `now` is RFC 3339."""
    generation = gateway_class.metadata.generation
    return GatewayClassStatus(
        conditions=_merged(gateway_class.status.conditions, [decision], generation, now),
        supported_features=[SupportedFeature(name=name) for name in SUPPORTED_FEATURES],
    )


def gateway_status(gateway: Gateway, report: GatewayReport, rejections: Sequence[Rejection], now: str) -> GatewayStatus:
    """Return the status of a Gateway of ours.

    Args:
        gateway: with its present status.
        report: what was decided about it.
        rejections: what Envoy refused of the snapshot that was made from the same resources.
        now: RFC 3339.
    """
    generation = gateway.metadata.generation
    refused = {_asked_for(rejection): rejection.message for rejection in rejections if rejection.type_url in _PROGRAMS}
    old = {listener.name: listener for listener in gateway.status.listeners or ()}
    programmed = [_listener_programmed(report, listener, refused) for listener in report.listeners]
    listeners = [
        ListenerStatus(
            name=listener.name,
            supported_kinds=[RouteGroupKind(group=GROUP, kind=kind) for kind in listener.supported_kinds],
            attached_routes=listener.attached_routes,
            conditions=_merged(
                old[listener.name].conditions if listener.name in old else None,
                [*listener.decisions, decision],
                generation,
                now,
            ),
        )
        for listener, decision in zip(report.listeners, programmed, strict=True)
    ]
    decisions = [report.accepted, _gateway_programmed(report, programmed)]
    return GatewayStatus(
        addresses=[GatewayStatusAddress(type="IPAddress", value=address) for address in report.addresses],
        conditions=_merged(gateway.status.conditions, decisions, generation, now),
        listeners=listeners,
    )


def _asked_for(rejection: Rejection) -> str:
    """Return the name of what was refused, as reports have it."""
    return table_name(rejection.name) if rejection.type_url == ROUTE_TYPE else rejection.name


def _listener_programmed(report: GatewayReport, listener: ListenerReport, refused: dict[str, str]) -> Decision:
    if report.accepted.status == "False":
        return no("Programmed", "Invalid", f"the Gateway is not accepted: {report.accepted.message}")
    if not listener.bindings:
        return no("Programmed", "Invalid", "the listener can't be served; see its other conditions")
    messages = [refused[name] for name in (*listener.bindings, listener.table) if name in refused]
    if messages:
        return no("Programmed", "Invalid", "; ".join(messages))
    return yes("Programmed", message="the proxy listens")


def _gateway_programmed(report: GatewayReport, programmed: Sequence[Decision]) -> Decision:
    if report.accepted.status == "False":
        return no("Programmed", "Invalid", f"the Gateway is not accepted: {report.accepted.message}")
    served = [
        decision
        for listener, decision in zip(report.listeners, programmed, strict=True)
        if listener.bindings and decision.status == "False"
    ]
    if served:
        return no("Programmed", "Invalid", "; ".join(dict.fromkeys(decision.message for decision in served)))
    return yes("Programmed", message="the proxy listens with the present configuration")


def route_status(
    route: HTTPRoute, reports: Iterable[ParentReport], now: str, elsewhere: Container[Key] = ()
) -> HTTPRouteStatus:
    """Return the status of a route: our parents as decided; all others as they are.

    Args:
        route: with its present status.
        reports: what was decided.
        now: RFC 3339.
        elsewhere: the Gateways that other nodes run.
    """
    before = route.status.parents or []
    ours = [parent for parent in before if _is_decided_here(parent, route, elsewhere)]
    parents = [parent for parent in before if not _is_decided_here(parent, route, elsewhere)]
    for report in reports:
        old = next((parent.conditions for parent in ours if parent.parent_ref == report.parent), None)
        conditions = _merged(old, report.decisions, route.metadata.generation, now)
        parents.append(
            RouteParentStatus(parent_ref=report.parent, controller_name=CONTROLLER_NAME, conditions=conditions)
        )
    return HTTPRouteStatus(parents=in_order(route, parents))


def in_order(route: HTTPRoute, parents: Iterable[RouteParentStatus]) -> list[RouteParentStatus]:
    """Order parents: other controllers', then ours as the route names them; whoever writes some, it is the same."""
    refs = list(route.spec.parent_refs or ())

    def place(parent: RouteParentStatus) -> int:
        if parent.controller_name != CONTROLLER_NAME:
            return -1
        return refs.index(parent.parent_ref) if parent.parent_ref in refs else len(refs)

    return sorted(parents, key=place)


def _is_decided_here(parent: RouteParentStatus, route: HTTPRoute, elsewhere: Container[Key]) -> bool:
    return parent.controller_name == CONTROLLER_NAME and parent_key(route, parent.parent_ref) not in elsewhere


def parent_key(route: HTTPRoute, parent: ParentReference) -> Key:
    """Return the namespace and name of what a route names as its parent."""
    return (parent.namespace or route.namespace, parent.name)


def _merged(
    old: Iterable[Condition] | None, decisions: Iterable[Decision], generation: int | None, now: str
) -> list[Condition]:
    """Return the decisions as conditions; those of types that are decided no more are gone."""
    before, conditions = list(old or ()), []
    for decision in decisions:
        condition = as_condition(decision, generation, now)
        merged = with_condition([c for c in before if c.type == decision.type], condition)
        conditions += merged
    return conditions


def as_condition(decision: Decision, generation: int | None, now: str) -> Condition:
    """Write a decision as a condition of an object at a generation; `now` is RFC 3339."""
    return Condition(
        type=decision.type,
        status=decision.status,
        reason=decision.reason,
        message=decision.message[:MESSAGE_CHARACTERS_MAX],
        observed_generation=generation,
        last_transition_time=now,
    )
