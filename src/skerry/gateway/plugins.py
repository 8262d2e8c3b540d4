"""Which plugins run where: selection, order, and what the proxy shall make of each. Pure.

Owns the condition Accepted of plugins. Does not own how their code arrives, nor whether the proxy took them.

Source: Istio, WasmPlugin (`selector`, `targetRefs`, `phase`, `priority`, `match`); docs/reference/wasmplugin.md tells
each choice. A workload, to which a plugin applies, is a Gateway on a node.

Invariant: listeners and plugins come from this one selection, so that no listener names what does not exist.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Literal

import orjson

from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginSpec, chain_rank
from skerry.gateway import ir
from skerry.gateway.decisions import Decision, Key, PluginReport, no
from skerry.gateway.gateways import GatewayPlan, binding_name
from skerry.gateway.resources import HeldPlugin, NodeFacts
from skerry.gateway.selection import accepted_attachment, selected
from skerry.kit.immutable_map import ImmutableMap
from skerry.kit.memo import Memo, MemoEntries, MemoMap

#: The reason of Programmed where a stand-in has taken a plugin's place.
CODE_UNAVAILABLE = "CodeUnavailable"

_PLACES = {"AUTHN": "before_authentication", "AUTHZ": "before_authorization", "STATS": "before_functions"}
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
    before_functions: tuple[ir.PluginUse, ...] = ()
    before_router: tuple[ir.PluginUse, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Every plugin in its places.

    Attributes:
        uses: by the binding's name; bindings without plugins are left out.
        plugins: those that a binding names, by name.
        reports: of every plugin.
    """

    uses: Mapping[str, Uses]
    plugins: ImmutableMap[str, ir.Plugin]
    reports: ImmutableMap[Key, PluginReport]


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where one plugin stands, whatever others there are; its configuration and code do not matter.

    Attributes:
        rank: the lesser comes first.
        place: the field of `Uses` that it belongs to.
        use: how listeners name it.
        bindings: that name it.
    """

    rank: tuple[int, int, str, str]
    place: str
    use: ir.PluginUse
    bindings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    """What was decided about one plugin: where it stands, what it is to the proxy, and what its status tells."""

    spot: _Spot
    resource: ir.Plugin
    report: PluginReport


class PluginPlacer:
    """Places plugins, one state after another; decides again only about those that changed."""

    def __init__(self) -> None:
        self._placed: MemoMap[Key, HeldPlugin, _Placed] = MemoMap()
        self._spots: MemoMap[Key, _Placed, _Spot] = MemoMap()
        self._uses: Memo[Mapping[str, Uses]] = Memo()
        self._used: MemoEntries[Key, _Placed, str, ir.Plugin] = MemoEntries()
        self._reports: MemoMap[Key, _Placed, PluginReport] = MemoMap()

    def place(self, held: ImmutableMap[Key, HeldPlugin], plans: Sequence[GatewayPlan], node: NodeFacts) -> Placement:
        """Decide for every plugin which bindings run it, in which order, and what it is to the proxy."""
        placed = self._placed.map(held, partial(_place, plans=plans, node=node), common=(plans, node))
        spots = self._spots.map(placed, attrgetter("spot"))
        return Placement(
            uses=self._uses.get((spots,), lambda: _uses(spots.values())),
            plugins=self._used.map(placed, _used),
            reports=self._reports.map(placed, attrgetter("report")),
        )


def _place(item: HeldPlugin, plans: Sequence[GatewayPlan], node: NodeFacts) -> _Placed:
    """Decide about one plugin."""
    plugin, spec = item.plugin, item.plugin.spec
    gateways = {plan.key: names for plan in selected(plugin, plans, node) if (names := tuple(_bindings(spec, plan)))}
    spot = _Spot(
        rank=(*chain_rank(spec.phase, spec.priority), plugin.name, plugin.namespace),
        place="network" if _layer(spec) == "network" else _PLACES.get(spec.phase, "before_router"),
        use=ir.PluginUse(resource_name(plugin), _stand_in(spec)),
        bindings=() if _is_absent(item) else tuple(name for names in gateways.values() for name in names),
    )
    return _Placed(spot, _resource(item), _report(item, gateways, plans, node))


def _used(placed: _Placed) -> dict[str, ir.Plugin]:
    """Return what a plugin is to the proxy, by its name; nothing where no binding names it."""
    return {placed.resource.name: placed.resource} if placed.spot.bindings else {}


def _uses(spots: Iterable[_Spot]) -> dict[str, Uses]:
    """Put the plugins of each binding in order."""
    found: dict[str, dict[str, list[ir.PluginUse]]] = {}
    for spot in sorted(spots, key=attrgetter("rank")):
        for name in spot.bindings:
            found.setdefault(name, {}).setdefault(spot.place, []).append(spot.use)
    return {name: Uses(**{place: tuple(uses) for place, uses in places.items()}) for name, places in found.items()}


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


__all__ = ["Placement", "PluginPlacer", "Uses", "resource_name"]
