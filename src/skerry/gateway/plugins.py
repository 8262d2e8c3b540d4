"""Which plugins run where: selection, order, and what the proxy shall make of each. Pure.

Owns the condition Accepted of plugins. Does not own how their code arrives, nor whether the proxy took them.

Source: Istio, WasmPlugin (`selector`, `targetRefs`, `phase`, `priority`, `match`); docs/reference/wasmplugin.md tells
each choice. A workload, to which a plugin applies, is a Gateway on a node.

Invariant: listeners and plugins come from this one selection, so that no listener names what does not exist.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginSpec, chain_rank
from skerry.gateway import ir
from skerry.gateway.decisions import Decision, Key, PluginReport, no
from skerry.gateway.gateways import GatewayPlan, binding_name
from skerry.gateway.resources import HeldPlugin, NodeFacts
from skerry.gateway.selection import accepted_attachment, selected

#: The reason of Programmed where a stand-in has taken a plugin's place.
CODE_UNAVAILABLE = "CodeUnavailable"

_PLACES = {"AUTHN": "before_authentication", "AUTHZ": "before_authorization"}
_ON_TRAP: dict[str, Literal["deny", "allow", "reload"]] = {
    "FAIL_CLOSE": "deny",
    "FAIL_OPEN": "allow",
    "FAIL_RELOAD": "reload",
}


@dataclass(frozen=True, slots=True)
class Uses:
    """The plugins of one binding, in order: of connections, and of requests by what they stand before."""

    network: tuple[ir.PluginUse, ...] = ()
    before_authentication: tuple[ir.PluginUse, ...] = ()
    before_authorization: tuple[ir.PluginUse, ...] = ()
    before_router: tuple[ir.PluginUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Every plugin in its places.

    Attributes:
        uses: by the binding's name; bindings without plugins are left out.
        plugins: those that a binding names, by name.
        reports: of every plugin.
    """

    uses: Mapping[str, Uses] = field(default_factory=dict)
    plugins: tuple[ir.Plugin, ...] = ()
    reports: Mapping[Key, PluginReport] = field(default_factory=dict)


def place_plugins(held: Iterable[HeldPlugin], plans: Sequence[GatewayPlan], node: NodeFacts) -> Placement:
    """Decide for every plugin which bindings run it, in which order, and what it is to the proxy."""
    ordered = sorted(held, key=_rank)
    bindings: dict[str, list[HeldPlugin]] = {}
    reports = {}
    for item in ordered:
        plugin = item.plugin
        gateways = {}
        for plan in selected(plugin, plans, node):
            if names := tuple(_bindings(plugin.spec, plan)):
                gateways[plan.key] = names
                if not _is_absent(item):
                    for name in names:
                        bindings.setdefault(name, []).append(item)
        reports[plugin.namespace, plugin.name] = _report(item, gateways, plans, node)
    used = {resource_name(item.plugin): item for items in bindings.values() for item in items}
    return Placement(
        uses={name: _uses(items) for name, items in bindings.items()},
        plugins=tuple(_resource(used[name]) for name in sorted(used)),
        reports=reports,
    )


def _rank(item: HeldPlugin) -> tuple[int, int, str, str]:
    plugin = item.plugin
    return (*chain_rank(plugin.spec.phase, plugin.spec.priority), plugin.name, plugin.namespace)


def _is_absent(item: HeldPlugin) -> bool:
    """Tell whether a plugin is in no chain yet: its first code is on its way, and nothing was ever in its place."""
    return item.waiting and item.code is None


def resource_name(plugin: WasmPlugin) -> str:
    """Name a plugin's resource.

    Those of both layers are apart: one listener may still name the one, while another names the other already.
    """
    name = f"{plugin.namespace}.{plugin.name}"
    return name if _layer(plugin.spec) == "http" else f"{name}/network"


def _layer(spec: WasmPluginSpec) -> ir.PluginLayer:
    return "network" if spec.type == "NETWORK" else "http"


def _bindings(spec: WasmPluginSpec, plan: GatewayPlan) -> Iterator[str]:
    """Yield the names of a Gateway's bindings whose traffic a plugin is for."""
    ports = {listener.spec.port for listener in plan.listeners if listener.usable}
    for port in sorted(ports):
        if not spec.match or any(
            traffic.mode != "SERVER" and (not traffic.ports or port in {wanted.number for wanted in traffic.ports})
            for traffic in spec.match
        ):
            yield from (binding_name(plan.key, address, port) for address in plan.addresses)


def _uses(items: Sequence[HeldPlugin]) -> Uses:
    places: dict[str, list[ir.PluginUse]] = {}
    for item in items:
        spec = item.plugin.spec
        place = "network" if _layer(spec) == "network" else _PLACES.get(spec.phase, "before_router")
        places.setdefault(place, []).append(ir.PluginUse(resource_name(item.plugin), _stand_in(spec)))
    return Uses(**{place: tuple(uses) for place, uses in places.items()})


def _stand_in(spec: WasmPluginSpec) -> ir.StandIn:
    return "allow" if spec.fail_strategy == "FAIL_OPEN" else "deny"


def _resource(item: HeldPlugin) -> ir.Plugin:
    spec = item.plugin.spec
    content = _stand_in(spec) if item.code is None else _wasm(spec, item.code)
    return ir.Plugin(resource_name(item.plugin), _layer(spec), content)


def _wasm(spec: WasmPluginSpec, code: str) -> ir.Wasm:
    env = (spec.vm_config.env if spec.vm_config else None) or ()
    # Sorted keys: the log may hand out the same object in another order, which is no change.
    config = orjson.dumps(spec.plugin_config, option=orjson.OPT_SORT_KEYS).decode() if spec.plugin_config else ""
    return ir.Wasm(
        code=code,
        root_id=spec.plugin_name or "",
        configuration=config,
        environment=tuple(sorted((v.name, v.value or "") for v in env if v.value_from == "INLINE")),
        host_environment=tuple(sorted(v.name for v in env if v.value_from == "HOST")),
        on_trap=_ON_TRAP[spec.fail_strategy],
    )


def _report(
    item: HeldPlugin, gateways: Mapping[Key, tuple[str, ...]], plans: Sequence[GatewayPlan], node: NodeFacts
) -> PluginReport:
    plugin = item.plugin
    accepted = accepted_attachment(plugin, "plugin", plans, node)
    code = plugin.status.code
    return PluginReport(
        accepted=accepted,
        resource=resource_name(plugin),
        gateways=gateways,
        obstacle=_obstacle(item, bool(gateways)),
        digest=code.digest if code and item.code else None,
    )


def _obstacle(item: HeldPlugin, is_selected: bool) -> Decision | None:  # noqa: FBT001 - the only flag
    if not is_selected:
        message = "no listener of a Gateway is selected: see spec.selector, spec.targetRefs and spec.match"
        return no("Programmed", "NoMatchingGateway", message)
    if item.waiting:
        before = "the one before it serves until then" if item.code else "the plugin is in no filter chain until then"
        return no("Programmed", "CodePending", f"the code is on its way; {before}")
    if item.code is None:
        means = "requests pass without it" if _stand_in(item.plugin.spec) == "allow" else "requests are denied"
        return no("Programmed", CODE_UNAVAILABLE, f"{item.problem}; {means}")
    return None


__all__ = ["Placement", "Uses", "place_plugins", "resource_name"]
