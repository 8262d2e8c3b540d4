"""What the agent writes to the status of a WasmPlugin: Accepted, Programmed, Ready, and where the plugin runs.

Pure. Does not own what the controller of plugins writes beside it (`code`, Fetched, Verified), nor the entries of
other nodes: both are left as they are.
"""

from collections.abc import Sequence

from skerry.api.istio_extensions_v1alpha1 import WasmPlugin, WasmPluginGateway, WasmPluginStatus
from skerry.api.model import with_condition
from skerry.gateway.decisions import Decision, Key, PluginReport, no, yes
from skerry.gateway.snapshot import EXTENSION_TYPE, LISTENER_TYPE
from skerry.gateway.status import as_condition
from skerry.gateway.xds_stream import Rejection

#: The bound of a gateway's message in the API.
MESSAGE_CHARACTERS_MAX = 4096


def relevant(report: PluginReport, rejections: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Return what Envoy refused of a plugin: itself, or a listener that names it."""
    return tuple(
        refused
        for refused in rejections
        if (refused.type_url == EXTENSION_TYPE and refused.name == report.resource)
        or (refused.type_url == LISTENER_TYPE and any(refused.name in names for names in report.gateways.values()))
    )


def plugin_status(
    plugin: WasmPlugin, report: PluginReport, rejections: Sequence[Rejection], *, node: str, now: str
) -> WasmPluginStatus:
    """Return the status of a plugin.

    Args:
        plugin: with its present status.
        report: what was decided about it.
        rejections: what Envoy refuses (`relevant`).
        node: this node's name.
        now: RFC 3339.
    """
    before = {(g.namespace, g.name): g for g in plugin.status.gateways or () if g.node == node}
    others = [gateway for gateway in plugin.status.gateways or () if gateway.node != node]
    ours = [_gateway(key, report, rejections, before.get(key), node) for key in sorted(report.gateways)]
    gateways = sorted([*others, *ours], key=lambda g: (g.namespace, g.name, g.node))
    programmed = _programmed(report, gateways)
    failed = report.accepted if report.accepted.status == "False" else programmed
    is_ready = failed.status == "True"
    ready = yes("Ready", message=failed.message) if is_ready else no("Ready", failed.reason, failed.message)
    conditions = plugin.status.conditions
    for decision in (report.accepted, programmed, ready):
        conditions = with_condition(conditions, as_condition(decision, plugin.metadata.generation, now))
    return plugin.status.model_copy(
        update={
            "conditions": conditions,
            "gateways": gateways,
            "observed_generation": plugin.metadata.generation,
        }
    )


def _gateway(
    key: Key,
    report: PluginReport,
    rejections: Sequence[Rejection],
    before: WasmPluginGateway | None,
    node: str,
) -> WasmPluginGateway:
    problems = [report.obstacle.message] if report.obstacle else []
    named = {report.resource, *report.gateways[key]}
    refusals = [refused for refused in rejections if refused.name in named]
    message = "; ".join([*problems, *(refused.message for refused in refusals)])[:MESSAGE_CHARACTERS_MAX]
    is_pending = not problems and bool(refusals) and all(refused.pending for refused in refusals)
    # What Envoy refuses leaves in force what it took before.
    digest = before.digest if refusals and before else report.digest
    return WasmPluginGateway(
        namespace=key[0],
        name=key[1],
        node=node,
        programmed="Unknown" if is_pending else "False" if message else "True",
        digest=None if refusals and not before else digest,
        message=message or None,
    )


def _programmed(report: PluginReport, gateways: Sequence[WasmPluginGateway]) -> Decision:
    if report.obstacle is not None:
        return report.obstacle
    refusing = [gateway for gateway in gateways if gateway.programmed != "True"]
    if refusing:
        told = dict.fromkeys(f"{g.namespace}/{g.name} on {g.node}: {g.message}" for g in refusing)
        reason = "Invalid" if any(gateway.programmed == "False" for gateway in refusing) else "Pending"
        return no("Programmed", reason, "; ".join(told)[:MESSAGE_CHARACTERS_MAX])
    return yes("Programmed", message="every selected gateway runs the plugin")
