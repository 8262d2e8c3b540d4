"""Which route wins: the virtual hosts of a route table, and the order of the routes within each.

Source: Gateway API, HTTPRoute: `hostnames` (the most specific host first; a route of a wider host still gets what no
route of the narrower one takes) and `matches` (exact path, then the longer one, method, headers, query parameters,
the older route, its name, the order of its rules). Regular expressions, whose place is left to implementations,
stand between exact paths and prefixes: behind the prefix `/` none would ever be reached.

Each host is served by one listener alone, the most specific that covers it (listener isolation).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from skerry.gateway import ir
from skerry.gateway.gateways import ListenerPlan
from skerry.gateway.hostnames import covering, covers, intersection, specificity
from skerry.gateway.route_filters import FilterChain
from skerry.gateway.rules import Rule, at_listener_port

_PATH_RANKS = {"exact": 0, "regex": 1, "prefix": 2}


@dataclass(frozen=True, slots=True)
class Attached:
    """A route as a listener sees it.

    Attributes:
        name: such as `httproute/<namespace>/<name>`.
        hostnames: patterns, at least one.
        rules: in their order.
        age: what decides between equal matches: creation time, namespace, name; the lesser wins.
        accepted: whether it counts as attached; one that is not may still answer 500.
    """

    name: str
    hostnames: tuple[str, ...]
    rules: tuple[Rule, ...]
    age: tuple[str, str, str]
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class Built:
    """A route table, and the filters that its routes turn on."""

    table: ir.RouteTable
    filters: FilterChain


def build_table(name: str, listeners: Sequence[ListenerPlan], attached: Mapping[str, Sequence[Attached]]) -> Built:
    """Build the route table of the listeners of one port.

    Args:
        name: of the table.
        listeners: at least one; their hostnames are distinct.
        attached: the routes of each listener, by the listener's name.
    """
    wanted = {host for plan in listeners for host in _hosts_of(plan, attached.get(plan.spec.name, ()))}
    rules = [rule for plan in listeners for route in attached.get(plan.spec.name, ()) for rule in route.rules]
    filters = FilterChain(each for rule in rules for each in (rule.filters, *rule.backend_filters))
    indices = {plan.spec.name: _by_pattern(attached.get(plan.spec.name, ())) for plan in listeners}
    hosts = []
    for host in sorted(wanted):
        # A host that a less specific listener's route names belongs to the most specific listener that covers it.
        covering_it = [plan for plan in listeners if covers(plan.hostname, host)]
        owner = max(covering_it, key=lambda plan: specificity(plan.hostname))
        hosts.append(ir.VirtualHost(host, tuple(_routes(host, owner, indices[owner.spec.name], filters))))
    return Built(ir.RouteTable(name, tuple(hosts)), filters)


def _hosts_of(listener: ListenerPlan, attached: Sequence[Attached]) -> Iterator[str]:
    yield listener.hostname
    for route in attached:
        for pattern in route.hostnames:
            if (host := intersection(listener.hostname, pattern)) is not None:
                yield host


def _by_pattern(attached: Sequence[Attached]) -> dict[str, list[Attached]]:
    index: dict[str, list[Attached]] = {}
    for route in attached:
        for pattern in dict.fromkeys(route.hostnames):
            index.setdefault(pattern, []).append(route)
    return index


def _routes(
    host: str, listener: ListenerPlan, index: Mapping[str, Sequence[Attached]], filters: FilterChain
) -> Iterator[ir.Route]:
    """Yield the routes of a host in the order of their precedence, up to one that takes every request."""
    seen: set[str] = set()
    for pattern in covering(host):
        fresh = [route for route in index.get(pattern, ()) if route.name not in seen]
        seen |= {route.name for route in fresh}
        for _, route, rule, number in sorted(_ranked(fresh), key=lambda entry: entry[0]):
            match = rule.matches[number]
            action = at_listener_port(rule.action, listener.spec.port)
            yield ir.Route(
                name=f"{route.name}/rule/{rule.index}/match/{number}",
                match=match,
                action=_filtered(action, rule, filters),
                request_headers=rule.request_headers,
                response_headers=rule.response_headers,
                filters=filters.uses(rule.filters),
            )
            if match.is_everything:
                return


def _filtered(action: ir.Action, rule: Rule, filters: FilterChain) -> ir.Action:
    """Give each destination the filters of its own."""
    if not (isinstance(action, ir.Forward) and any(rule.backend_filters)):
        return action
    pairs = zip(action.destinations, rule.backend_filters, strict=True)
    return replace(action, destinations=tuple(replace(to, filters=filters.uses(own)) for to, own in pairs))


def _ranked(routes: Sequence[Attached]) -> Iterator[tuple[tuple[object, ...], Attached, Rule, int]]:
    for route in routes:
        for rule in route.rules:
            for number, match in enumerate(rule.matches):
                rank = (
                    _PATH_RANKS[match.path.kind],
                    -len(match.path.value),
                    match.method is None,
                    -len(match.headers),
                    -len(match.query),
                    route.age,
                    route.name,
                    rule.index,
                    number,
                )
                yield rank, route, rule, number
