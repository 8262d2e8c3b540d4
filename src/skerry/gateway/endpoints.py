"""Endpoints of functions as routes: what they take goes to whoever calls functions, on a Unix socket of this node.

Owns at which Gateways they are (those that give functions hosts by default), and what is told of them. Does not own
which endpoint answers a request, nor how: that is decided behind the socket, from the same fields.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from skerry.api.dispatch_endpoints import CALL_SECONDS_MAX, Endpoint, public_paths
from skerry.gateway import ir
from skerry.gateway.decisions import Key
from skerry.gateway.gateways import GatewayPlan, ListenerPlan
from skerry.gateway.hostnames import ANY, intersection
from skerry.gateway.rules import Rule
from skerry.gateway.tables import Attached

#: The cluster of whoever calls functions.
CLUSTER = "endpoints"
#: Their own 504, which says more, shall arrive before Envoy's.
TIMEOUT_MARGIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """An endpoint as listeners see it."""

    key: Key
    attached: Attached
    paths: tuple[str, ...]


def cluster(socket: str) -> ir.EngineCluster:
    """Return the cluster of whoever calls functions."""
    return ir.EngineCluster(CLUSTER, (socket,))


def endpoint_routes(endpoints: Iterable[Endpoint]) -> list[EndpointRoute]:
    """Return the routes of all endpoints that are enabled."""
    action = ir.Forward((ir.Destination(CLUSTER),), timeout_seconds=CALL_SECONDS_MAX + TIMEOUT_MARGIN_SECONDS)
    found = []
    for endpoint in sorted(endpoints, key=lambda each: (each.namespace, each.name)):
        if not endpoint.spec.enabled or endpoint.metadata.deletion_timestamp:
            continue
        paths = tuple(public_paths(endpoint))
        rule = Rule(0, tuple(ir.RouteMatch(ir.PathMatch("prefix", path)) for path in paths), action)
        age = (endpoint.metadata.creation_timestamp or "", endpoint.namespace, endpoint.name)
        hosts = tuple(dict.fromkeys(host.lower() for host in endpoint.spec.hosts or (ANY,)))
        name = f"endpoint/{endpoint.namespace}/{endpoint.name}"
        found.append(EndpointRoute((endpoint.namespace, endpoint.name), Attached(name, hosts, (rule,), age), paths))
    return found


def urls_at(plan: GatewayPlan, listener: ListenerPlan, route: EndpointRoute) -> Iterator[str]:
    """Yield where an endpoint answers at a listener; nothing where it is not of the listener's hosts."""
    for pattern in route.attached.hostnames:
        host = intersection(listener.hostname, pattern)
        if host is None:
            continue
        shown = (plan.addresses[0] if plan.addresses else "localhost") if host == ANY else host
        for path in route.paths:
            yield f"{listener.spec.protocol.lower()}://{shown}:{listener.spec.port}{path}"
