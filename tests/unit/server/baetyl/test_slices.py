"""The slices of nodes over their front door: who is told what, and what is kept of what they say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest

from skerry.api.baetyl_traffic import TrafficReport
from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.core_v1 import Secret
from skerry.api.errors import ServiceUnavailable
from skerry.api.extensions_v1alpha2 import Artifact, EdgeFunction, EdgeFunctionRevision
from skerry.api.gateway_http_route_v1 import HTTPRoute
from skerry.api.gateway_v1 import NODE_SELECTOR_ANNOTATION, Gateway
from skerry.api.model import from_document
from skerry.server.baetyl import slices as module
from skerry.testing.fleet import FleetDoors, NodeClient, open_fleet_doors

SECONDS_MAX = 60.0
GATEWAY_KEY = "gateways.gateway.networking.k8s.io/default/edge"
FUNCTION = "extensions.apoxy.dev"
CODE = {"wasmSource": {"url": "https://a.example/x.wasm"}}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FleetDoors]:
    async with open_fleet_doors(tmp_path) as opened:
        await opened.product(enableWhitelist=0, labels={"site": "lyon"})
        await opened.system_application()
        yield opened


async def node_of(door: FleetDoors) -> tuple[NodeClient, str]:
    node = await door.joined()
    (name,) = [each.name async for each in door.client.list(Node)]
    return node, name


async def make_gateway(door: FleetDoors, name: str = "edge", selector: str = "site=lyon", secret: str = "") -> Gateway:
    listener: dict[str, Any] = {"name": "http", "port": 80, "protocol": "HTTP"}
    if secret:
        listener |= {"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": secret}]}}
    document = {
        "metadata": {"name": name, "namespace": "default", "annotations": {NODE_SELECTOR_ANNOTATION: selector}},
        "spec": {"gatewayClassName": "skerry", "listeners": [listener]},
    }
    return await door.client.create(from_document(Gateway, document))


async def make_route(door: FleetDoors) -> None:
    backend = {"group": FUNCTION, "kind": "EdgeFunction", "name": "hello"}
    spec = {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [backend]}]}
    document = {"metadata": {"name": "hello", "namespace": "default"}, "spec": spec}
    await door.client.create(from_document(HTTPRoute, document))


async def make_function(door: FleetDoors, code: bytes) -> str:
    """Make a function with a revision that is live; return the digest of its code."""
    digest: str = (await door.http.post("/v1/objects", content=code)).json()["object"]
    template = {"mode": "backend", "code": CODE}
    document = {"metadata": {"name": "hello"}, "spec": {"template": template}}
    function = await door.client.create(from_document(EdgeFunction, document))
    revision = await door.client.create(
        from_document(EdgeFunctionRevision, {"metadata": {"name": "hello-a"}, "spec": template})
    )
    artifact = Artifact(digest=digest, size_bytes=len(code))
    await door.client.change_status(revision, lambda found: setattr(found.status, "artifact", artifact))
    await door.client.change_status(function, lambda found: setattr(found.status, "live_revision", "hello-a"))
    return digest


class Follower:
    """A node that follows its slice."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines
        self.has: dict[str, Any] = {}
        self.lines = 0

    async def until(self, *names: str) -> None:
        """Take what is told, until the slice has just these objects, by the ends of their keys."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                line = orjson.loads(await anext(self._lines))
                self.lines += 1
                match line["type"]:
                    case "MODIFIED":
                        self.has[line["key"]] = line["object"]
                    case "DELETED":
                        del self.has[line["key"]]
                    case _ if {key.rpartition("/")[2] for key in self.has} == set(names):
                        return


async def test_a_node_is_told_which_gateways_it_runs_if_its_agent_knows_of_them(door: FleetDoors) -> None:
    node, _ = await node_of(door)
    await make_gateway(door)
    assert "gateways" not in await node.report({"apps": []})
    assert (await node.report({"apps": [], "gateways": []}))["gateways"] == ["edge"]
    assert "gateways" not in await node.report({"apps": [], "gateways": ["edge"]})


async def test_a_node_follows_what_its_gateways_lead_to(door: FleetDoors) -> None:
    _, name = await node_of(door)
    async with door.parts.slices.opened(("default", name), {}) as lines:
        node = Follower(lines)
        await node.until()
        gateway = await make_gateway(door, secret="tls")
        await make_gateway(door, "other", "site=nice")
        await node.until("edge", "default")
        meta = {"name": "tls", "namespace": "default"}
        await door.client.create(from_document(Secret, {"metadata": meta, "type": "Opaque", "data": {"a": "MQ=="}}))
        await node.until("edge", "default", "tls")
        await make_route(door)
        await node.until("edge", "default", "tls", "hello")
        await make_function(door, b"code")
        await node.until("edge", "default", "tls", "hello", "hello-a")
        await door.client.delete(gateway)
        await node.until()


async def test_a_node_that_has_something_is_told_what_it_lacks_alone(door: FleetDoors) -> None:
    _, name = await node_of(door)
    gateway = await make_gateway(door)
    async with door.parts.slices.opened(("default", name), {}) as lines:
        first = [orjson.loads(await anext(lines)) for _ in range(2)]
    known = {line["key"]: line["version"] for line in first}
    assert GATEWAY_KEY in known
    async with door.parts.slices.opened(("default", name), {**known, "gateways.x/default/gone": "1"}) as lines:
        node = Follower(lines)
        node.has = {"gateways.x/default/gone": {}}
        await node.until()
        assert node.lines == 2
        await door.client.change_status(gateway, lambda found: setattr(found.status, "addresses", []))
        await door.client.change(gateway, lambda found: setattr(found.spec.listeners[0], "port", 81))
        await node.until("edge")
        assert node.has[GATEWAY_KEY]["spec"]["listeners"][0]["port"] == 81
        assert "status" not in node.has[GATEWAY_KEY]


async def test_a_node_fetches_the_code_of_its_slice_and_no_other(door: FleetDoors) -> None:
    node, _ = await node_of(door)
    await make_gateway(door)
    digest = await make_function(door, b"code")
    assert (await node.http.get(f"/v1/slice/artifacts/{digest}")).status_code == 404
    await make_route(door)
    async with asyncio.timeout(SECONDS_MAX):
        while (answer := await node.http.get(f"/v1/slice/artifacts/{digest}")).status_code != 200:  # noqa: ASYNC110 - each kind is followed on its own, and the route's may come later
            await asyncio.sleep(0.01)
    assert answer.content == b"code"


async def test_what_a_node_says_of_its_slice_is_kept_and_of_anything_else_is_not(door: FleetDoors) -> None:
    node, name = await node_of(door)
    await make_gateway(door)
    foreign = "gateways.gateway.networking.k8s.io/default/other"
    said: Any = {"statuses": {GATEWAY_KEY: {"conditions": []}, foreign: {"conditions": []}}}
    for _ in range(2):
        assert (await node.http.post("/v1/slice/statuses", json=said)).status_code == 200
    report = await door.client.get(TrafficReport, name, namespace="default")
    assert report.statuses == {GATEWAY_KEY: {"conditions": []}}
    assert [owner.name for owner in report.metadata.owner_references or ()] == [name]


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("POST", "/statuses"), ("GET", "/artifacts/sha256:0")])
async def test_only_nodes_have_a_slice(door: FleetDoors, method: str, path: str) -> None:
    for client in (door.http, door.device):
        answer = await client.request(method, f"/v1/slice{path}", json={"objects": {}, "statuses": {}})
        assert answer.status_code in {400, 401, 403}
        assert "has a slice" in answer.text or answer.status_code != 400


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("", {"objects": []}, "objects"),
        ("", {"objects": {"a": 1}}, "objects[a]"),
        ("", [], "objects"),
        ("/statuses", {}, "statuses"),
    ],
)
async def test_what_a_node_sends_is_looked_at(door: FleetDoors, path: str, body: Any, named: str) -> None:
    node, _ = await node_of(door)
    answer = await node.http.post(f"/v1/slice{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"{named}: must be")


async def test_a_slice_that_is_too_large_is_refused_by_its_limit(
    door: FleetDoors, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name = await node_of(door)
    await make_gateway(door)
    monkeypatch.setattr(module, "SLICE_OBJECTS_MAX", 1)
    with pytest.raises(ServiceUnavailable, match="may have 1"):
        async with door.parts.slices.opened(("default", name), {}):
            pass


async def test_a_follower_that_leaves_is_forgotten(door: FleetDoors) -> None:
    _, name = await node_of(door)
    await make_gateway(door)
    async with door.parts.slices.opened(("default", name), {}) as lines, aclosing(lines):  # type: ignore[type-var]
        await anext(lines)
        assert door.parts.slices.statistics()["streams"] == 1
    assert door.parts.slices.statistics()["streams"] == 0
