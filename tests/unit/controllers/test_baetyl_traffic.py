"""What becomes of Gateways on nodes: told of all that they lead to, by nobody else, and to an end."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from skerry.api.baetyl_traffic import TRAFFIC_REPORT, TrafficReport
from skerry.api.baetyl_v1alpha1 import Node
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.gateway_http_route_v1 import HTTPRoute, RouteParentStatus
from skerry.api.gateway_v1 import CONTROLLER_NAME, NODE_SELECTOR_ANNOTATION, Gateway, GatewayClass
from skerry.api.istio_extensions_v1alpha1 import WasmPlugin
from skerry.api.model import Condition, ObjectMeta, condition_of, from_document, is_true
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.baetyl_traffic import FleetTraffic
from skerry.kit.clock import SystemClock
from skerry.server.baetyl.fleet import Fleet
from skerry.server.local import LocalTransport
from skerry.server.verbs.requests import Target
from skerry.server.verbs.verbs import Verbs
from skerry.testing.api_server import open_verbs
from skerry.testing.informed import shown

KINDS = "gateway.networking.k8s.io"
CODE = {"wasmSource": {"url": "https://a.example/x.wasm"}}


def condition(type_: str, status: str = "True", message: str = "") -> dict[str, Any]:
    times = {"observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"type": type_, "status": status, "reason": "R", "message": message, **times}


def ref(name: str) -> dict[str, str]:
    return {"group": KINDS, "kind": "Gateway", "name": name}


@dataclass
class Ground:
    """A fleet of two nodes in Lyon, a Gateway that selects them, and a route, a function and a plugin."""

    client: Client
    verbs: Verbs
    informers: Informers

    async def say(self, node: str, **statuses: Any) -> None:
        """Have a node say this of objects, by the last part of a resource's plural and their names."""
        target = Target(TRAFFIC_REPORT, "default", node)
        meta = ObjectMeta(name=node, namespace="default")
        if (found := await self.client.find(TrafficReport, node, namespace="default")) is not None:
            meta = found.metadata
        keys = {
            "gateway": f"gateways.{KINDS}/default/edge",
            "route": f"httproutes.{KINDS}/default/r",
            "function": "edgefunctions.extensions.apoxy.dev//f",
            "plugin": "wasmplugins.extensions.istio.io/default/p",
            "class_": f"gatewayclasses.{KINDS}//skerry",
        }
        said = {keys[name]: status for name, status in statuses.items()}
        report = TrafficReport(metadata=meta, time="2026-01-01T00:00:00Z", statuses=said)
        await self.verbs.record(target, report)

    async def gateway(self, status: str, message: str = "") -> Gateway:
        """Wait until the Gateway is told to be programmed so."""

        def holds(found: Gateway) -> bool:
            told = condition_of(found.status.conditions, "Programmed")
            return told is not None and (told.status, told.message) == (status, message)

        return await shown(self.informers.of(Gateway), "edge", holds)


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    fleet = Fleet()
    async with open_verbs(policy=fleet) as (verbs, _), fleet.running(verbs):
        client = Client(LocalTransport(verbs, manager="test"))
        for name in ("n1", "n2"):
            await client.create(Node(metadata=ObjectMeta(name=name, namespace="default", labels={"site": "lyon"})))
        for name, annotations in (("edge", {NODE_SELECTOR_ANNOTATION: "site=lyon"}), ("own", {})):
            listener = {"name": "http", "port": 80, "protocol": "HTTP"}
            spec = {"gatewayClassName": "skerry", "listeners": [listener]}
            meta = {"name": name, "namespace": "default", "annotations": annotations}
            await client.create(from_document(Gateway, {"metadata": meta, "spec": spec}))
        others: Any = (
            (GatewayClass, {"name": "skerry"}, {"controllerName": CONTROLLER_NAME}),
            (HTTPRoute, {"name": "r", "namespace": "default"}, {"parentRefs": [ref("own"), ref("edge")]}),
            (EdgeFunction, {"name": "f"}, {"template": {"mode": "backend", "code": CODE}}),
            (WasmPlugin, {"name": "p", "namespace": "default"}, {"url": "https://a.example/x.wasm"}),
        )
        for model, metadata, spec in others:
            await client.create(from_document(model, {"metadata": metadata, "spec": spec}))
        informers = Informers(client)
        traffic = FleetTraffic(client, informers, fleet.index, SystemClock())
        async with traffic.running(), informers.running():
            yield Ground(client, verbs, informers)


async def test_a_gateway_is_told_to_be_what_it_is_on_every_node(ground: Ground) -> None:
    await ground.gateway("Unknown", "n1: has not told of it yet; n2: has not told of it yet")
    status = {"conditions": [condition("Accepted"), condition("Programmed", message="it listens")]}
    await ground.say("n1", gateway=status)
    await ground.gateway("Unknown", "n2: has not told of it yet")
    await ground.say("n2", gateway=status)
    await ground.gateway("True", "it listens")
    node = await ground.client.get(Node, "n2", namespace="default")
    await ground.client.change(node, lambda found: setattr(found.metadata, "labels", {"site": "nice"}))
    await ground.say("n1", gateway={"conditions": [condition("Programmed", "False", "no port")]})
    await ground.gateway("False", "n1: no port")


async def test_a_gateway_of_the_control_planes_own_node_is_left_to_that(ground: Ground) -> None:
    await ground.say("n1", gateway={"conditions": [condition("Programmed", message="it listens")]})
    await ground.gateway("Unknown", "n2: has not told of it yet")
    own = await ground.client.get(Gateway, "own", namespace="default")
    assert [(each.type, each.reason) for each in own.status.conditions or ()] == [
        ("Accepted", "Pending"),
        ("Programmed", "Pending"),
    ]


async def test_a_route_is_told_of_beside_what_the_own_node_says(ground: Ground) -> None:
    route = await ground.client.get(HTTPRoute, "r", namespace="default")
    own = RouteParentStatus.model_validate({"parentRef": ref("own"), "controllerName": CONTROLLER_NAME}, by_alias=True)
    await ground.client.change_status(route, lambda found: setattr(found.status, "parents", [own]))
    parent = {"parentRef": ref("edge"), "controllerName": CONTROLLER_NAME, "conditions": [condition("Accepted")]}
    await ground.say("n1", route={"parents": [parent]})

    def told(names: list[str]) -> Any:
        return lambda found: [each.parent_ref.name for each in found.status.parents or ()] == names

    await shown(ground.informers.of(HTTPRoute), "r", told(["own", "edge"]))
    edge = await ground.client.get(Gateway, "edge", namespace="default")
    await ground.client.delete(edge)
    await shown(ground.informers.of(HTTPRoute), "r", told(["own"]))


async def test_a_function_serves_where_nodes_serve_it_and_there_is_no_other_node(ground: Ground) -> None:
    function = await ground.client.get(EdgeFunction, "f")
    await ground.client.change_status(function, lambda found: setattr(found.status, "live_revision", "f-a"))
    await ground.say("n1", function={"liveRevision": "f-a"})
    functions = ground.informers.of(EdgeFunction)
    told = await shown(
        functions, "f", lambda f: condition_of(f.status.conditions, "Distributed") is not None, namespace=""
    )
    distributed = condition_of(told.status.conditions, "Distributed")
    assert distributed is not None
    assert distributed.message == "in force on 0 of 1 nodes; default/n1: serves nothing, not f-a"
    assert told.status.serving_revision is None
    await ground.say("n1", function={"liveRevision": "f-a", "servingRevision": "f-a"})
    await shown(functions, "f", lambda found: found.status.serving_revision == "f-a", namespace="")
    await ground.say("n1")
    await shown(
        functions, "f", lambda found: condition_of(found.status.conditions, "Distributed") is None, namespace=""
    )


async def test_which_revision_serves_is_left_to_a_node_of_the_control_planes_own(ground: Ground) -> None:
    own = await ground.client.get(Gateway, "own", namespace="default")
    judged = Condition.model_validate(condition("Programmed"), by_alias=True)
    await ground.client.change_status(own, lambda found: setattr(found.status, "conditions", [judged]))
    await shown(ground.informers.of(Gateway), "own", lambda found: is_true(found.status.conditions, "Programmed"))
    function = await ground.client.get(EdgeFunction, "f")
    await ground.client.change_status(function, lambda found: setattr(found.status, "live_revision", "f-a"))
    await ground.say("n1", function={"liveRevision": "f-a", "servingRevision": "f-a"})
    functions = ground.informers.of(EdgeFunction)
    told = await shown(functions, "f", lambda f: is_true(f.status.conditions, "Distributed"), namespace="")
    assert told.status.serving_revision is None


async def test_a_plugin_lists_the_nodes_that_run_it(ground: Ground) -> None:
    gateway = {"namespace": "default", "name": "edge", "node": "n1", "programmed": "True"}
    status = {"conditions": [condition("Ready")], "gateways": [gateway]}
    await ground.say("n1", plugin=status)
    await ground.say("n2", plugin=status | {"conditions": [condition("Ready", "False", "no code")]})

    def both(found: WasmPlugin) -> bool:
        return [each.node for each in found.status.gateways or ()] == ["default/n1", "default/n2"]

    told = await shown(ground.informers.of(WasmPlugin), "p", both)
    distributed = condition_of(told.status.conditions, "Distributed")
    assert distributed is not None
    assert distributed.message == "in force on 1 of 2 nodes; default/n2: no code"


async def test_a_class_is_accepted_once_a_node_says_so(ground: Ground) -> None:
    await ground.say("n1", class_={"conditions": [condition("Accepted")]})
    classes = ground.informers.of(GatewayClass)
    await shown(classes, "skerry", lambda found: is_true(found.status.conditions, "Accepted"), namespace="")


async def test_a_node_that_says_what_is_no_status_hurts_no_other(ground: Ground) -> None:
    status = {"conditions": [condition("Accepted"), condition("Programmed", message="it listens")]}
    await ground.say("n1", gateway={"conditions": "nonsense"}, function={"traffic": 3})
    await ground.say("n2", gateway=status)
    await ground.gateway("Unknown", "n1: has not told of it yet")
