"""Which listeners a route is attached to: its parentRefs against their ports, namespaces, kinds and hostnames.

Source: Gateway API, "Route attachment" and the reasons of the route condition Accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_references import GROUP, ParentReference
from skerry.gateway.decisions import Decision, Key, no, yes
from skerry.gateway.gateways import ROUTE_KIND, GatewayPlan, ListenerPlan
from skerry.gateway.hostnames import ANY, intersection


@dataclass(frozen=True, slots=True)
class Attachment:
    """What one parentRef came to: the decision Accepted, and the listeners if it is True."""

    parent: ParentReference
    accepted: Decision
    listeners: tuple[ListenerPlan, ...]


def attachments_of(
    route: HTTPRoute, gateways: Mapping[Key, GatewayPlan], namespace_labels: Mapping[str, Mapping[str, str]]
) -> tuple[Attachment, ...]:
    """Decide for each parentRef that names a Gateway of ours; others are not ours to decide on."""
    found = []
    for parent in route.spec.parent_refs or ():
        plan = gateways.get((parent.namespace or route.namespace, parent.name))
        if plan is not None and (parent.group, parent.kind) == (GROUP, "Gateway"):
            found.append(_attach(route, parent, plan, namespace_labels))
    return tuple(found)


def _attach(
    route: HTTPRoute, parent: ParentReference, plan: GatewayPlan, namespace_labels: Mapping[str, Mapping[str, str]]
) -> Attachment:
    named = [
        listener
        for listener in plan.listeners
        if parent.section_name in {None, listener.spec.name} and parent.port in {None, listener.spec.port}
    ]
    if not named:
        wanted = " ".join(
            [f"name {parent.section_name}"] * bool(parent.section_name) + [f"port {parent.port}"] * bool(parent.port)
        )
        message = f"Gateway {parent.name} has no listener with {wanted}"
        return Attachment(parent, no("Accepted", "NoMatchingParent", message), ())
    allowed = [listener for listener in named if _allows(listener, route, namespace_labels)]
    if not allowed:
        message = f"no listener of Gateway {parent.name} allows an HTTPRoute from namespace {route.namespace}"
        return Attachment(parent, no("Accepted", "NotAllowedByListeners", message), ())
    hosts = route.spec.hostnames or [ANY]
    fitting = [listener for listener in allowed if any(intersection(listener.hostname, host) for host in hosts)]
    if not fitting:
        message = f"no listener of Gateway {parent.name} serves any of {', '.join(hosts)}"
        return Attachment(parent, no("Accepted", "NoMatchingListenerHostname", message), ())
    return Attachment(parent, yes("Accepted", message="the route is attached"), tuple(fitting))


def _allows(listener: ListenerPlan, route: HTTPRoute, namespace_labels: Mapping[str, Mapping[str, str]]) -> bool:
    if ROUTE_KIND not in listener.kinds:
        return False
    namespaces = listener.spec.allowed_routes.namespaces
    match namespaces.from_:
        case "All":
            return True
        case "Same":
            return route.namespace == listener.gateway[0]
        case "Selector":
            labels = namespace_labels.get(route.namespace, {})
            return namespaces.selector is not None and namespaces.selector.selects(labels)
