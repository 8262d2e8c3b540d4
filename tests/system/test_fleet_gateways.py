"""Gateways on the nodes of a fleet: a control plane without a node of its own, and an agent, each a real process."""

import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from skerry.testing.agent_fleet import AgentFleet
from skerry.testing.manifests import answering, edge_function
from skerry.testing.plugins import built
from skerry.testing.skerry_process import ANY_FILE, SkerryProcess
from skerry.testing.stable_address import StableAddress
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

SELECTOR = "skerry.dev/node-selector"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
FUNCTIONS = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions"
PLUGINS = "/apis/extensions.istio.io/v1alpha1/namespaces/default/wasmplugins"
PORTS_TRIED = 10
PRINTING = 'export default { async fetch() { console.log("asked for"); return new Response("one"); } };'


@dataclass
class Edge:
    """A node that runs a Gateway with a function behind it."""

    fleet: AgentFleet
    clients: httpx.Client
    port: int = 0

    def create(self, path: str, document: Any) -> None:
        answer = self.fleet.http.post(path, json=document)
        assert answer.status_code == 201, answer.text

    def change(self, path: str, patch: Any) -> None:
        headers = {"content-type": "application/merge-patch+json"}
        answer = self.fleet.http.patch(path, content=orjson.dumps(patch), headers=headers)
        assert answer.status_code == 200, answer.text

    def status(self, path: str) -> Any:
        return self.fleet.http.get(path).json().get("status") or {}

    def condition(self, path: str, kind: str) -> Any:
        found = [each for each in self.status(path).get("conditions") or () if each["type"] == kind]
        return found[0] if found else {"status": "", "message": ""}

    def until_true(self, path: str, kind: str) -> None:
        until(lambda: self.condition(path, kind)["status"] == "True", f"{path} is {kind}: {self.status(path)}")

    def answer(self) -> httpx.Response | None:
        """Ask the node's Gateway; None where nobody listens."""
        try:
            return self.clients.get(f"http://127.0.0.1:{self.port}/")
        except httpx.HTTPError:
            return None

    def until_answer(self, text: str) -> None:
        def answered() -> bool:
            found = self.answer()
            return found is not None and found.text == text

        until(answered, f"the node answers {text}; its agent says: {self.agent_log()[-4000:]}")

    def agent_log(self) -> str:
        return (self.fleet.folder / "n1" / "agent.log").read_text()

    def open_gateway(self) -> None:
        """Have the Gateway listen, at a port that is free: another process may take it before Envoy does."""
        for _ in range(PORTS_TRIED):
            self.port = free_port()
            listener = {"name": "http", "port": self.port, "protocol": "HTTP"}
            self.change(f"{GATEWAYS}/edge", {"spec": {"listeners": [listener]}})

            def judged() -> Any:
                gateway = self.fleet.http.get(f"{GATEWAYS}/edge").json()
                told = self.condition(f"{GATEWAYS}/edge", "Programmed")
                is_present = told.get("observedGeneration") == gateway["metadata"]["generation"]
                return told if is_present and told["status"] != "Unknown" else None

            told = until(judged, f"the node has judged the Gateway; its agent says: {self.agent_log()[-4000:]}")
            if told["status"] == "True":
                return
        raise AssertionError(f"no port could be had: {told}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def gateway(name: str, selector: str, port: int) -> Any:
    listener = {"name": "http", "port": port, "protocol": "HTTP"}
    return {
        "metadata": {"name": name, "annotations": {SELECTOR: selector}},
        "spec": {"gatewayClassName": "skerry", "listeners": [listener]},
    }


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("fleet")
    serve = SkerryProcess.started(folder / "data", command="serve", cache_dir=cache_dir, settings=ANY_FILE)
    clients = httpx.Client(trust_env=False, timeout=30.0)
    with serve as skerry, StableAddress.running() as address, clients:
        fleet = AgentFleet(skerry, address, skerry.api_client(), folder)
        fleet.find()
        edge = Edge(fleet, clients)
        try:
            for name, site in (("n1", "lyon"), ("n2", "nice")):
                fleet.ask("POST", "/v1/nodes", {"name": name, "labels": {"site": site}})
            engine: Any = {"engineCache": str(cache_dir / "engine"), "engineWorkers": 1}
            fleet.agent("n1", "/v1/nodes/n1/init", **engine).start()
            edge.create(FUNCTIONS, orjson.loads(edge_function("hello", PRINTING)))
            backend = {"group": "extensions.apoxy.dev", "kind": "EdgeFunction", "name": "hello"}
            spec = {"parentRefs": [{"name": "edge"}, {"name": "other"}], "rules": [{"backendRefs": [backend]}]}
            edge.create(ROUTES, {"metadata": {"name": "hello"}, "spec": spec})
            edge.create(GATEWAYS, gateway("edge", "site=lyon", free_port()))
            edge.create(GATEWAYS, gateway("other", "site=nice", free_port()))
            edge.open_gateway()
            edge.until_answer("one")
            yield edge
        finally:
            fleet.http.close()
            for agent in fleet.agents.values():
                agent.stop(signal.SIGTERM)


def test_what_becomes_of_a_gateway_on_its_nodes_is_told_of_all_that_it_leads_to(edge: Edge) -> None:
    edge.until_true(f"{GATEWAYS}/edge", "Accepted")
    edge.until_true(f"{FUNCTIONS}/hello", "Distributed")
    edge.until_true(f"{FUNCTIONS}/hello", "Ready")
    edge.until_true("/apis/gateway.networking.k8s.io/v1/gatewayclasses/skerry", "Accepted")

    def attached() -> bool:
        parents = edge.status(f"{ROUTES}/hello").get("parents") or ()
        told = {each["parentRef"]["name"]: {c["type"]: c["status"] for c in each["conditions"]} for each in parents}
        return told == {"edge": {"Accepted": "True", "ResolvedRefs": "True"}}

    until(attached, "the route is attached to the Gateway that runs, and to no other")
    kept = edge.fleet.folder / "n1" / "data" / "status.json"
    running = {"names": ["edge"], "state": "Running", "cause": ""}
    until(lambda: orjson.loads(kept.read_bytes())["gateways"] == running, "the agent says that it runs")
    assert edge.fleet.agents["n1"].status()["gateways"] == running


def test_what_a_function_prints_on_a_node_is_read_through_the_control_plane(edge: Edge) -> None:
    def printed() -> str:
        answer = edge.fleet.http.get("/v1/nodes/n1/edgefunctions/hello/logs")
        return answer.text if answer.status_code == 200 and "asked for" in answer.text else ""

    assert until(printed, "the node tells what the function prints")


def test_what_a_function_counts_on_a_node_is_read_through_the_control_plane(edge: Edge) -> None:
    def counted() -> str:
        assert edge.answer()
        answer = edge.fleet.http.get("/v1/nodes/n1/metrics")
        requests = 'skerry_function_requests_total{code_class="2xx",function="hello",'
        return next((line for line in answer.text.splitlines() if line.startswith(requests)), "")

    until(counted, "the node tells what the function counts")


def test_a_gateway_runs_on_no_node_that_it_does_not_select(edge: Edge) -> None:
    def told() -> Any:
        return edge.condition(f"{GATEWAYS}/other", "Programmed")

    until(
        lambda: told()["message"] == "n2: has not told of it yet", "it is told of the node that has not said anything"
    )
    assert told()["status"] == "Unknown"
    kept = orjson.loads((edge.fleet.folder / "n1" / "data" / "gateways" / "slice.json").read_bytes())
    assert {key for key in kept["objects"] if key.startswith("gateways.")} == {
        "gateways.gateway.networking.k8s.io/default/edge"
    }


def test_a_plugin_is_fetched_and_run_by_the_node(edge: Edge, repository: Path) -> None:
    spec = {
        "url": f"file://{built(repository, 'add-header')}",
        "pluginName": "add_header",
        "pluginConfig": {"name": "x-met", "value": "yes"},
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}],
    }
    edge.create(PLUGINS, {"metadata": {"name": "mark"}, "spec": spec})

    def marked() -> bool:
        found = edge.answer()
        return found is not None and found.headers.get("x-met") == "yes"

    until(marked, f"the plugin runs: {edge.status(PLUGINS + '/mark')}")
    edge.until_true(f"{PLUGINS}/mark", "Distributed")
    assert [each["node"] for each in edge.status(f"{PLUGINS}/mark")["gateways"]] == ["default/n1"]


def test_a_node_serves_and_restarts_without_its_control_plane_and_takes_changes_once_that_is_back(edge: Edge) -> None:
    fleet = edge.fleet
    fleet.skerry.kill()
    edge.until_answer("one")
    agent = fleet.agents["n1"]
    assert agent.stop() == 0
    assert edge.answer() is None
    agent.start()
    edge.until_answer("one")
    fleet.skerry.start()
    fleet.find()
    code = orjson.loads(edge_function("hello", answering("two")))["spec"]["template"]["code"]
    edge.change(f"{FUNCTIONS}/hello", {"spec": {"template": {"code": code}}})
    edge.until_answer("two")


def test_a_gateway_that_selects_a_node_no_more_ends_there(edge: Edge) -> None:
    edge.change(f"{GATEWAYS}/edge", {"metadata": {"annotations": {SELECTOR: "site=nowhere"}}})
    until(lambda: edge.answer() is None, "nobody listens")
    until(lambda: edge.condition(f"{GATEWAYS}/edge", "Programmed").get("reason") == "NoResources", "it is told")
