"""Resources to our own model of traffic, and the decisions that statuses tell. Pure: no I/O, no clock.

    translate(resources) -> Translation(ir, conditions)

Does not own Envoy's words (`envoy_config.py`) nor whether the proxy took them (the agent's Programmed).

Invariants: it never raises, whatever the resources hold; equal resources give equal results, in whatever order they
come; a bad resource changes nothing but what names it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from skerry.api.extensions_v1alpha2 import BACKEND, EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.gateway import ir
from skerry.gateway.attachment import attachments_of
from skerry.gateway.backends import Catalog
from skerry.gateway.decisions import Conditions, GatewayReport, Key, ListenerReport, ParentReport
from skerry.gateway.gateways import (
    HTTPS,
    GatewayPlan,
    ListenerPlan,
    binding_name,
    decide_classes,
    plan_gateways,
)
from skerry.gateway.hostnames import ANY, covers
from skerry.gateway.plugins import Placement, Uses, place_plugins
from skerry.gateway.resources import DEFAULT_FUNCTIONS_LABEL, NodeFacts, Resources
from skerry.gateway.rules import Rule, TranslatedRoute, translate_route
from skerry.gateway.security import Guards, Security, http_filters, place_security
from skerry.gateway.tables import Attached, Built, build_table

__all__ = ["NodeFacts", "Resources", "Translation", "translate"]

#: Routes by the listener that they are attached to: Gateway, and listener name.
_Attachments = dict[tuple[Key, str], list[Attached]]


@dataclass(frozen=True, slots=True)
class Translation:
    """What the proxy shall do, and what was decided on the way."""

    ir: ir.Ir
    conditions: Conditions


def translate(resources: Resources) -> Translation:
    """Translate everything; see the module for what is promised."""
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
    for plan in plans:
        clusters |= _attach_functions(plan, catalog, resources.node, attached)
    placement = place_plugins(resources.plugins, plans, resources.node)
    security = place_security(resources, plans)
    conditions = Conditions(
        classes=classes,
        gateways={plan.key: _report(plan, counts) for plan in plans},
        routes=reports,
        plugins=placement.reports,
        authentications=security.authentications,
        policies=security.policies,
    )
    return Translation(_assemble(plans, attached, {**clusters, **security.clusters}, placement, security), conditions)


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
) -> dict[str, ir.Cluster]:
    """Give every live backend function a host of its own on a default Gateway, unless a route claims the host."""
    if (plan.gateway.metadata.labels or {}).get(DEFAULT_FUNCTIONS_LABEL) != "true":
        return {}
    clusters: dict[str, ir.Cluster] = {}
    for listener in plan.listeners:
        routes = attached.setdefault((plan.key, listener.spec.name), [])
        claimed = {host for route in routes for host in route.hostnames}
        for function in _live_functions(catalog):
            host = f"{function.name}.{node.function_hostname_suffix}"
            if host in claimed or not covers(listener.hostname, host):
                continue
            implicit, cluster = _implicit_route(function, host, catalog)
            clusters[cluster.name] = cluster
            routes.append(implicit)
    return clusters


def _live_functions(catalog: Catalog) -> Iterator[EdgeFunction]:
    for function in catalog.functions():
        if function.spec.template.mode == BACKEND and function.status.live_revision:
            yield function


def _implicit_route(function: EdgeFunction, host: str, catalog: Catalog) -> tuple[Attached, ir.Cluster]:
    target = catalog.function_target(function)
    destination = ir.Destination(target.cluster_name, request_headers=target.request_headers)
    action = ir.Forward((destination,), timeout_seconds=target.timeout_seconds or 0.0, retries=True)
    name = f"edgefunction/{function.name}"
    route = Attached(name, (host,), (Rule(0, (ir.EVERYTHING,), action),), age=("", "", function.name))
    return route, catalog.engine


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


def _assemble(
    plans: Sequence[GatewayPlan],
    attached: _Attachments,
    clusters: Mapping[str, ir.Cluster],
    placement: Placement,
    security: Security,
) -> ir.Ir:
    bindings: list[ir.Binding] = []
    tables: dict[str, Built] = {}
    certificates: dict[str, ir.Certificate] = {}
    for plan in plans:
        routes = {name: found for (key, name), found in attached.items() if key == plan.key}
        by_port: dict[int, list[ListenerPlan]] = {}
        for listener in plan.listeners:
            if listener.usable:
                by_port.setdefault(listener.spec.port, []).append(listener)
        for port, listeners in by_port.items():
            for group in _table_groups(listeners):
                tables[group[0].table] = build_table(group[0].table, group, routes)
                certificates |= {found.name: found for plan_ in group for found in plan_.certificates}
            guards = security.guards.get(plan.key, Guards())
            bindings += _bindings(plan, port, listeners, placement.uses, guards, tables)
    discovered = {plugin.name: plugin for built in tables.values() for plugin in built.filters.plugins}
    plugins = (*placement.plugins, *discovered.values())
    return ir.Ir(
        bindings=tuple(sorted(bindings, key=lambda binding: binding.name)),
        tables=tuple(tables[name].table for name in sorted(tables)),
        clusters=tuple(clusters[name] for name in sorted(clusters)),
        certificates=tuple(certificates[name] for name in sorted(certificates)),
        plugins=tuple(sorted(plugins, key=lambda plugin: plugin.name)),
    )


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
