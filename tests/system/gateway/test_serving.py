"""What requests meet: routes, filters, functions, timeouts; through a real Envoy."""

from typing import Any

import pytest

pytestmark = pytest.mark.system

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: skerry}
spec: {controllerName: skerry.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: default, labels: {skerry.dev/default-functions: "true"}}
spec:
  gatewayClassName: skerry
  listeners: [{name: http, port: PORT, protocol: HTTP}]
"""


def function(name: str, revision: str, timeout: str = "30s") -> str:
    return f"""
---
apiVersion: extensions.apoxy.dev/v1alpha2
kind: EdgeFunction
metadata: {{name: {name}}}
spec:
  template:
    mode: backend
    code: {{jsSource: {{entrypoint: a.js, assets: {{files: [{{path: a.js, content: "1"}}]}}}}}}
    runtime: {{timeout: {timeout}}}
status: {{liveRevision: {revision}}}
"""


async def test_a_function_answers_at_its_own_host(edge_with: Any, engine_with: Any) -> None:
    async with engine_with() as (_, node), edge_with(GATEWAY + function("hello", "hello-1"), node) as edge:
        response = await edge.get("hello.functions.localhost/a/b?c=d")
        assert response.status_code == 200
        assert response.json()["headers"]["x-skerry-revision"] == "hello-1"
        assert response.json()["path"] == "/a/b?c=d"
        assert (await edge.get("other.functions.localhost/")).status_code == 404
