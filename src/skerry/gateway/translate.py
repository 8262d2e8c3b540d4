"""Resources to our own model of traffic, and the decisions that statuses tell. Pure: no I/O, no clock.

    translate(resources) -> Translation(ir, conditions)

Whoever translates one state after another keeps a `Translator`: plugins change often, and for what did not change it
returns the very objects that it returned before, so that those who come after it can tell at a glance.

Does not own Envoy's words (`envoy_config.py`) nor whether the proxy took them (the agent's Programmed).

Invariants: it never raises, whatever the resources hold; equal resources give equal results, in whatever order they
come; a bad resource changes nothing but what names it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.function_template import BACKEND
from skerry.api.function_traffic import tag_label
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import gives_functions_hosts
from skerry.gateway import ir
from skerry.gateway.attachment import attachments_of
from skerry.gateway.backends import Catalog, Target
from skerry.gateway.decisions import Conditions, GatewayReport, Key, ListenerReport, ParentReport
from skerry.gateway.endpoints import CLUSTER, cluster, endpoint_routes, urls_at
from skerry.gateway.gateways import (
    HTTPS,
    GatewayPlan,
    ListenerPlan,
    binding_name,
    decide_classes,
    plan_gateways,
)
from skerry.gateway.hostnames import ANY, covers
from skerry.gateway.plugins import PluginPlacer, Uses
from skerry.gateway.resources import NodeFacts, Resources
from skerry.gateway.rules import Rule, TranslatedRoute, error_response, translate_route
from skerry.gateway.security import Guards, Security, http_filters, place_security
from skerry.gateway.tables import Attached, Built, build_table
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.memo import Memo, MemoUnion

__all__ = ["NodeFacts", "Resources", "Translation", "Translator", "translate"]

#: Routes by the listener that they are attached to: Gateway, and listener name.
_Attachments = dict[tuple[Key, str], list[Attached]]


@dataclass(frozen=True, slots=True)
class Translation:
    """What the proxy shall do, and what was decided on the way."""

    ir: ir.Ir
    conditions: Conditions


@dataclass(frozen=True, slots=True, eq=False)
class _Traffic:
    """What follows from everything but plugins; it is the same only where nothing of that changed.

    Attributes:
        plans: every Gateway of ours.
        security: what guards them.
        tables: by name.
        model: all but the bindings, and those of `plugins` that are of routes.
        conditions: all but those of plugins.
    """

    plans: tuple[GatewayPlan, ...]
    security: Security
    tables: Mapping[str, Built]
    model: ir.Ir
    conditions: Conditions


class Translator:
    """Translates one state after another; what follows from things that did not change is not worked out again."""

    def __init__(self) -> None:
        self._plugins = PluginPlacer()
        self._traffic: Memo[_Traffic] = Memo()
        self._bindings: Memo[tuple[ir.Binding, ...]] = Memo()
        self._all_plugins: MemoUnion[str, ir.Plugin] = MemoUnion()

    def translate(self, resources: Resources) -> Translation:
        """Translate everything; the result depends on nothing that was translated before."""
        rest = replace(resources, plugins=ImmutableMap())
        traffic = self._traffic.get((rest,), partial(_translate_traffic, rest))
        placement = self._plugins.place(resources.plugins, traffic.plans, resources.node)
        model = replace(
            traffic.model,
            bindings=self._bindings.get((traffic, placement.uses), partial(_all_bindings, traffic, placement.uses)),
            plugins=self._all_plugins.of(traffic.model.plugins, placement.plugins),
        )
        return Translation(model, replace(traffic.conditions, plugins=placement.reports))


def translate(resources: Resources) -> Translation:
    """Translate everything; see the module for what is promised."""
    return Translator().translate(resources)


def _translate_traffic(resources: Resources) -> _Traffic:
    classes = decide_classes(resources.gateway_classes)
    plans = plan_gateways(resources, classes)
    catalog = Catalog(resources)
    attached: _Attachments = {}
    clusters: dict[str, ir.Cluster] = {}
    reports = {}
    by_key = {plan.key: plan for plan in plans}
    for route in sorted(resources.http_routes, key=_age):
        translated = translate_route(route, catalog)
        report = _attach_route(route, translated, by_key, resources.namespace_labels, attached)
        if report:
            reports[route.namespace, route.name] = report
            clusters |= {cluster.name: cluster for cluster in translated.clusters}
    counts = {place: sum(route.accepted for route in routes) for place, routes in attached.items()}
    addresses: dict[tuple[str, str], str] = {}
    for plan in plans:
        addresses = _attach_functions(plan, catalog, resources.node, attached) | addresses
    endpoints = _attach_endpoints(plans, resources, attached)
    if any(endpoints.values()):
        clusters[CLUSTER] = cluster(resources.node.endpoints_socket)
    if addresses:
        clusters[catalog.engine.name] = catalog.engine
    clusters[catalog.engine_filters.name] = catalog.engine_filters  # every chain names it (`route_filters`)
    security = place_security(resources, plans)
    tables = {built.table.name: built for built in _tables(plans, attached)}
    return _Traffic(
        plans=plans,
        security=security,
        tables=tables,
        model=_model_without_bindings(plans, tables, {**clusters, **security.clusters}),
        conditions=Conditions(
            classes=classes,
            gateways={plan.key: _report(plan, counts) for plan in plans},
            routes=reports,
            authentications=security.authentications,
            policies=security.policies,
            addresses=addresses,
            endpoints=endpoints,
        ),
    )


def _age(route: HTTPRoute) -> tuple[str, str, str]:
    return (route.metadata.creation_timestamp or "", route.namespace, route.name)


def _attach_route(
    route: HTTPRoute,
    translated: TranslatedRoute,
    gateways: Mapping[Key, GatewayPlan],
    namespace_labels: Mapping[str, Mapping[str, str]],
    attached: _Attachments,
) -> tuple[ParentReport, ...]:
    """Attach a route to the listeners that take it, in `attached`; return its report."""
    reports = []
    for attachment in attachments_of(route, gateways, namespace_labels):
        decisions = translated.decisions(attachment.accepted)
        reports.append(ParentReport(attachment.parent, decisions))
        here = Attached(
            name=f"httproute/{route.namespace}/{route.name}",
            hostnames=tuple(route.spec.hostnames or (ANY,)),
            rules=translated.rules,
            age=_age(route),
            accepted=decisions[0].status == "True",
        )
        for listener in attachment.listeners:
            routes = attached.setdefault((listener.gateway, listener.spec.name), [])
            if here not in routes[-1:]:  # two parentRefs may name one listener
                routes.append(here)
    return tuple(reports)


def _attach_functions(
    plan: GatewayPlan, catalog: Catalog, node: NodeFacts, attached: _Attachments
) -> dict[tuple[str, str], str]:
    """Give every live function, and each tag of one in mode backend, a host of its own on a default Gateway.

    A host that a route claims is the route's, and one that is a function's own is no other function's tag's.

    Returns:
        the URLs of what answers there, by function and tag ("" for the function itself).
    """
    if not gives_functions_hosts(plan.gateway):
        return {}
    implicit = list(_implicit_routes(catalog, node))
    urls: dict[tuple[str, str], str] = {}
    for listener in plan.listeners:
        routes = attached.setdefault((plan.key, listener.spec.name), [])
        claimed = {host for route in routes for host in route.hostnames}
        for place, route in implicit:
            (host,) = route.hostnames
            if host not in claimed and covers(listener.hostname, host):
                claimed.add(host)
                routes.append(route)
                if place is not None:
                    urls.setdefault(place, f"{listener.spec.protocol.lower()}://{host}:{listener.spec.port}/")
    return urls


def _attach_endpoints(
    plans: Sequence[GatewayPlan], resources: Resources, attached: _Attachments
) -> dict[Key, tuple[str, ...]]:
    """Attach the endpoints to the listeners of default Gateways; return where each answers."""
    if not resources.node.endpoints_socket:
        return {}
    routes = endpoint_routes(resources.endpoints)
    urls: dict[Key, tuple[str, ...]] = {(each.namespace, each.name): () for each in resources.endpoints}
    for plan in plans:
        for listener in plan.listeners if gives_functions_hosts(plan.gateway) else ():
            for route in routes:
                if found := tuple(urls_at(plan, listener, route)):
                    attached.setdefault((plan.key, listener.spec.name), []).append(route.attached)
                    urls[route.key] += tuple(url for url in found if listener.usable and url not in urls[route.key])
    return urls


def _implicit_routes(catalog: Catalog, node: NodeFacts) -> Iterator[tuple[tuple[str, str] | None, Attached]]:
    """Yield the route of each function's own host, and then those of the tags; what does not answer has no place."""
    live = [function for function in catalog.functions() if function.status.live_revision]
    functions = [function for function in live if function.spec.template.mode == BACKEND]
    for function in functions:
        yield (function.name, ""), _implicit_route(function, "", catalog.function_target(function), node)
    for function in functions:
        for tag, target in catalog.tag_targets(function).items():
            yield (function.name, tag), _implicit_route(function, tag, target, node)
    for function in live:
        if function.spec.template.mode != BACKEND:
            yield None, _filter_route(function, node)


def _implicit_route(function: EdgeFunction, tag: str, target: Target, node: NodeFacts) -> Attached:
    label = tag_label(tag, function.name) if tag else function.name
    destinations = (ir.Destination(target.cluster_name, share.weight, share.request_headers) for share in target.shares)
    action = ir.Forward(tuple(destinations), timeout_seconds=target.timeout_seconds or 0.0, retries=True)
    name = f"edgefunction/{function.name}/tag/{tag}" if tag else f"edgefunction/{function.name}"
    return _own_route(name, label, action, node)


def _filter_route(function: EdgeFunction, node: NodeFacts) -> Attached:
    """Tell whoever asks a function in mode filter itself where it belongs."""
    message = f"EdgeFunction {function.name} has mode filter: name it in the filters of an HTTPRoute's rule"
    return _own_route(f"edgefunction/{function.name}", function.name, error_response(404, message), node)


def _own_route(name: str, label: str, action: ir.Action, node: NodeFacts) -> Attached:
    host = f"{label}.{node.function_hostname_suffix}"
    return Attached(name, (host,), (Rule(0, (ir.EVERYTHING,), action),), age=("", "", label))


def _report(plan: GatewayPlan, counts: Mapping[tuple[Key, str], int]) -> GatewayReport:
    listeners = tuple(
        ListenerReport(
            name=listener.spec.name,
            supported_kinds=listener.kinds,
            attached_routes=counts.get((plan.key, listener.spec.name), 0),
            decisions=listener.decisions,
            bindings=plan.bindings_of(listener),
            table=listener.table,
        )
        for listener in plan.listeners
    )
    addresses = plan.addresses if any(listener.usable for listener in plan.listeners) else ()
    return GatewayReport(plan.accepted, listeners, addresses)


def _tables(plans: Sequence[GatewayPlan], attached: _Attachments) -> Iterator[Built]:
    for plan in plans:
        routes = {name: found for (key, name), found in attached.items() if key == plan.key}
        for listeners in _by_port(plan).values():
            for group in _table_groups(listeners):
                yield build_table(group[0].table, group, routes)


def _model_without_bindings(
    plans: Sequence[GatewayPlan], tables: Mapping[str, Built], clusters: Mapping[str, ir.Cluster]
) -> ir.Ir:
    served = (listener for plan in plans for listener in plan.listeners if listener.usable)
    certificates = {found.name: found for listener in served for found in listener.certificates}
    return ir.Ir(
        tables=tuple(tables[name].table for name in sorted(tables)),
        clusters=tuple(clusters[name] for name in sorted(clusters)),
        certificates=tuple(certificates[name] for name in sorted(certificates)),
        plugins=ir.plugins_by_name(plugin for built in tables.values() for plugin in built.filters.plugins),
    )


def _all_bindings(traffic: _Traffic, uses: Mapping[str, Uses]) -> tuple[ir.Binding, ...]:
    bindings: list[ir.Binding] = []
    for plan in traffic.plans:
        guards = traffic.security.guards.get(plan.key, Guards())
        for port, listeners in _by_port(plan).items():
            bindings += _bindings(plan, port, listeners, uses, guards, traffic.tables)
    return tuple(sorted(bindings, key=attrgetter("name")))


def _by_port(plan: GatewayPlan) -> dict[int, list[ListenerPlan]]:
    """Return the listeners that can be served."""
    found: dict[int, list[ListenerPlan]] = {}
    for listener in plan.listeners:
        if listener.usable:
            found.setdefault(listener.spec.port, []).append(listener)
    return found


def _table_groups(listeners: Sequence[ListenerPlan]) -> Iterable[list[ListenerPlan]]:
    groups: dict[str, list[ListenerPlan]] = {}
    for listener in listeners:
        groups.setdefault(listener.table, []).append(listener)
    return groups.values()


def _bindings(
    plan: GatewayPlan,
    port: int,
    listeners: Sequence[ListenerPlan],
    uses: Mapping[str, Uses],
    guards: Guards,
    tables: Mapping[str, Built],
) -> Iterator[ir.Binding]:
    for address in plan.addresses:
        name = binding_name(plan.key, address, port)
        plugins = uses.get(name, Uses())
        chains = {
            listener.table: ir.Chain(
                table=listener.table,
                server_names=_server_names(listener),
                certificates=tuple(certificate.name for certificate in listener.certificates),
                network_plugins=plugins.network,
                http_filters=http_filters(plugins, guards),
                route_filters=tables[listener.table].filters.places,
                last_filters=plugins.before_router,
            )
            for listener in listeners
        }
        yield ir.Binding(
            name=name,
            gateway="/".join(plan.key),
            address=address,
            port=port,
            chains=tuple(chains[name] for name in sorted(chains)),
        )


def _server_names(listener: ListenerPlan) -> tuple[str, ...]:
    return (listener.hostname,) if listener.spec.protocol == HTTPS and listener.hostname != ANY else ()
