"""One input a case: tests/golden/gateway/<case>/input.yaml, and what becomes of it in output.yaml.

`pytest tests/golden/gateway --update-golden` writes the outputs anew; read the difference before committing it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import symbol_database
from google.protobuf.json_format import MessageToJson

from skerry.gateway.decisions import Conditions, Decision, PluginReport, PolicyReport
from skerry.gateway.envoy_config import EdgeSettings
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.resources import NodeFacts
from skerry.gateway.snapshot import EXTENSION_TYPE, Snapshot
from skerry.gateway.translate import translate
from skerry.testing.gateway_resources import read_resources

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/input.yaml"))
NODE = NodeFacts(
    engine_sockets=("/run/worker-0.sock", "/run/worker-1.sock"),
    labels={"zone": "a", "team": "node"},
    endpoints_socket="/run/endpoints.sock",
)
#: Cases whose messages are shown in full; the others show of listeners and plugins what differs between cases.
WHOLE = {"http", "plugins-config", "security-policies"}
CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
"""


def told(decision: Decision) -> str:
    return f"{decision.type}={decision.status} {decision.reason}: {decision.message}"


def conditions_document(conditions: Conditions) -> dict[str, Any]:
    document = {
        "classes": {name: told(decision) for name, decision in conditions.classes.items()},
        "gateways": {
            "/".join(key): {
                "accepted": told(report.accepted),
                "addresses": list(report.addresses),
                "listeners": {
                    listener.name: {
                        "supportedKinds": list(listener.supported_kinds),
                        "attachedRoutes": listener.attached_routes,
                        "bindings": list(listener.bindings),
                        "decisions": [told(decision) for decision in listener.decisions],
                    }
                    for listener in report.listeners
                },
            }
            for key, report in conditions.gateways.items()
        },
        "routes": {
            "/".join(key): [
                {
                    "parent": {k: v for k, v in asdict_of(report.parent).items() if k not in {"group", "kind"}},
                    "decisions": [told(decision) for decision in report.decisions],
                }
                for report in reports
            ]
            for key, reports in conditions.routes.items()
        },
    }
    if conditions.plugins:
        document["plugins"] = {"/".join(key): _plugin(report) for key, report in sorted(conditions.plugins.items())}
    for name, policies in (("authentications", conditions.authentications), ("policies", conditions.policies)):
        if policies:
            document[name] = {"/".join(key): _plugin(report) for key, report in sorted(policies.items())}
    if conditions.endpoints:
        document["endpoints"] = {"/".join(key): list(urls) for key, urls in conditions.endpoints.items()}
    if any(tag for _, tag in conditions.addresses):
        document["addresses"] = {" ".join(place): url for place, url in conditions.addresses.items()}
    return document


def _plugin(report: PluginReport | PolicyReport) -> dict[str, Any]:
    decisions = [report.accepted, report.obstacle] if report.obstacle else [report.accepted]
    gateways = {"/".join(key): list(bindings) for key, bindings in report.gateways.items()}
    return {"decisions": [told(decision) for decision in decisions], "gateways": gateways}


def asdict_of(model: Any) -> dict[str, Any]:
    document: dict[str, Any] = model.model_dump(by_alias=True, exclude_none=True)
    return document


def envoy_document(snapshot: Snapshot, *, whole: bool) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for type_url, resources in snapshot.resources.items():
        if type_url == EXTENSION_TYPE and not resources:
            continue
        name = type_url.rpartition("/")[2]
        message_class = symbol_database.Default().GetSymbol(name)
        kind = name.rpartition(".")[2]
        document[kind] = {}
        for _, resource in sorted(resources.items()):
            message = message_class()
            resource.body.Unpack(message)
            shown = json.loads(MessageToJson(message, preserving_proto_field_name=True, sort_keys=True))
            if kind == "TypedExtensionConfig" and not whole:
                shown = shown["typed_config"]["@type"].rpartition("/")[2]
            if kind == "Listener" and not whole:
                shown = {"address": shown["address"], "chains": [_chain(chain) for chain in shown["filter_chains"]]}
            document[kind][resource.name] = shown
    return document


def _chain(chain: dict[str, Any]) -> dict[str, Any]:
    """The parts of a filter chain that differ between cases."""
    *network, manager = chain["filters"]
    http = [f for f in manager["typed_config"]["http_filters"] if "config_discovery" in f]
    plugins = {key: [_place(f) for f in found] for key, found in (("network", network), ("http", http)) if found}
    return {key: value for key, value in chain.items() if key != "filters"} | plugins


def _place(plugin: dict[str, Any]) -> str:
    default = plugin["config_discovery"]["default_config"]
    return f"{plugin['name']} ({default.get('rules_stat_prefix') or default['stat_prefix']})"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_translation_is_as_recorded(case: Path, request: pytest.FixtureRequest) -> None:
    translation = translate(read_resources(CLASS + (case / "input.yaml").read_text(), NODE))
    snapshot = build_snapshot(translation.ir, EdgeSettings(access_log="/logs/access.log"))
    output = {
        "conditions": conditions_document(translation.conditions),
        "envoy": envoy_document(snapshot, whole=case.name in WHOLE),
    }
    text = yaml.safe_dump(output, sort_keys=False, width=120, allow_unicode=True)
    recorded = case / "output.yaml"
    if request.config.getoption("--update-golden", default=False):
        recorded.write_text(text)
    assert recorded.read_text() == text
