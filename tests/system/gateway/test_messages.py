"""Everything that the golden cases come to is taken by a real Envoy."""

import re
from pathlib import Path
from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener

from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.resources import NodeFacts
from skerry.gateway.snapshot import LISTENER_TYPE, Snapshot, XdsResource, pack
from skerry.gateway.translate import translate
from skerry.testing.gateway_resources import read_resources
from tests.system.gateway.conftest import TIMEOUT_SECONDS

pytestmark = pytest.mark.system

CASES = sorted((Path(__file__).parents[2] / "golden" / "gateway").glob("*/input.yaml"))
CLASS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
"""


def at_any_port(resource: XdsResource) -> XdsResource:
    """Let a listener take any free port: those of the cases may be taken on this machine."""
    if resource.type_url != LISTENER_TYPE:
        return resource
    message = Listener()
    resource.body.Unpack(message)
    message.address.socket_address.port_value = 0
    return pack(resource.name, message)


def _with_a_module(text: str, module: Path) -> str:
    """Let the plugins of the cases have code: a module that takes any configuration."""
    return re.sub(r"file:///plugins/[\w-]+\.wasm", f"file://{module}", text)


async def test_envoy_refuses_nothing_of_any_golden_case(
    edge_with: Any, environment_module: Path, tmp_path: Path
) -> None:
    node = NodeFacts(engine_sockets=(str(tmp_path / "worker.sock"),), endpoints_socket=str(tmp_path / "endpoints.sock"))
    assert CASES
    async with edge_with(CLASS.rstrip("-\n"), node) as edge:
        for case in CASES:
            text = CLASS + case.read_text()
            model = translate(read_resources(_with_a_module(text, environment_module), node)).ir
            snapshot = build_snapshot(model, edge.edge_settings)
            moved = [at_any_port(r) for by_name in snapshot.resources.values() for r in by_name.values()]
            generation = edge.xds.set_snapshot(Snapshot.of(moved))
            assert await edge.xds.wait_until_applied(generation, timeout_seconds=TIMEOUT_SECONDS) == (), (
                case.parent.name
            )
    log = edge.settings.log_file.read_text()  # whole, now that Envoy ended
    assert "deprecated" not in log.lower(), log


LONG = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: skerry, listeners: [{name: http, port: PORT, protocol: HTTP}]}
---
apiVersion: core.apoxy.dev/v1alpha2
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: 127.0.0.1}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: long, namespace: default}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: RegularExpression, value: "/users/[0-9]{1,50}"}}]
    backendRefs: &backends [{group: core.apoxy.dev, kind: Backend, name: b, port: 80}]
  - matches: [{path: {value: PREFIX}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: *backends
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: long, namespace: default}
spec: {action: DENY, rules: [{to: [{operation: {hosts: [HOST]}}]}]}
"""


async def test_envoy_takes_expressions_of_more_than_a_hundred_instructions(edge_with: Any) -> None:
    host = ".".join(["k" * 60] * 4)  # in any case: k is among the letters that have the most forms
    text = (CLASS + LONG.lstrip()).replace("PREFIX", f"/{'x' * 1000}").replace("HOST", host)
    async with edge_with(CLASS.rstrip("-\n")) as edge:
        _, rejections = await edge.apply(text)
        assert rejections == ()
