"""A node of a fleet that runs a Gateway with a function behind it, each a real process.

edge = Edge(fleet, clients)
edge.begin(engineWorkers=1)      # a node n1 with site=lyon, its agent, a Gateway `edge`, and a route to `hello`
edge.until_answer("one")
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from skerry.testing.agent_fleet import AgentFleet
from skerry.testing.manifests import edge_function
from skerry.testing.ports import own_port
from skerry.testing.waiting import until

SELECTOR = "skerry.dev/node-selector"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
FUNCTIONS = "/apis/extensions.apoxy.dev/v1alpha2/edgefunctions"
PLUGINS = "/apis/extensions.istio.io/v1alpha1/namespaces/default/wasmplugins"
#: Another process may take a port before Envoy does.
PORTS_TRIED = 10
PRINTING = 'export default { async fetch() { console.log("asked for"); return new Response("one"); } };'


@dataclass
class Edge:
    """The node.

    Attributes:
        port: where its Gateway listens.
    """

    fleet: AgentFleet
    clients: httpx.Client
    port: int = 0

    def begin(self, **settings: Any) -> None:
        """Make n1, of lyon, and a Gateway on it; `settings` are of its agent.json."""
        self.fleet.ask("POST", "/v1/nodes", {"name": "n1", "labels": {"site": "lyon"}})
        self.fleet.agent("n1", "/v1/nodes/n1/init", **settings).start()
        self.create(FUNCTIONS, orjson.loads(edge_function("hello", PRINTING)))
        backend = {"group": "extensions.apoxy.dev", "kind": "EdgeFunction", "name": "hello"}
        spec = {"parentRefs": [{"name": "edge"}, {"name": "other"}], "rules": [{"backendRefs": [backend]}]}
        self.create(ROUTES, {"metadata": {"name": "hello"}, "spec": spec})
        self.create(GATEWAYS, gateway("edge", "site=lyon", own_port()))
        self.open_gateway()
        self.until_answer("one")

    def create(self, path: str, document: Any) -> None:
        """Create an object as the administrator."""
        self.fleet.http.post(path, json=document).raise_for_status()

    def change(self, path: str, patch: Any) -> None:
        """Change one with a merge patch."""
        headers = {"content-type": "application/merge-patch+json"}
        self.fleet.http.patch(path, content=orjson.dumps(patch), headers=headers).raise_for_status()

    def status(self, path: str) -> Any:
        """Return its status."""
        return self.fleet.http.get(path).json().get("status") or {}

    def condition(self, path: str, kind: str) -> Any:
        """Return one of its conditions; an empty one where it has none of that type."""
        found = [each for each in self.status(path).get("conditions") or () if each["type"] == kind]
        return found[0] if found else {"status": "", "message": ""}

    def until_true(self, path: str, kind: str) -> None:
        """Wait until a condition is True."""
        until(lambda: self.condition(path, kind)["status"] == "True", f"{path} is {kind}: {self.status(path)}")

    def answer(self) -> httpx.Response | None:
        """Ask the node's Gateway; None where nobody listens."""
        try:
            return self.clients.get(f"http://127.0.0.1:{self.port}/")
        except httpx.HTTPError:
            return None

    def until_answer(self, text: str) -> None:
        """Wait until the Gateway answers so."""

        def answered() -> bool:
            found = self.answer()
            return found is not None and found.text == text

        until(answered, f"the node answers {text}; its agent says: {self.agent_log()[-4000:]}")

    def agent_log(self) -> str:
        """Return what the agent has printed."""
        return self.fleet.agents["n1"].log()

    def open_gateway(self, more: Callable[[], Sequence[Any]] = tuple) -> None:
        """Have the Gateway listen at a port that is free, and at more where there are `more` listeners."""
        for _ in range(PORTS_TRIED):
            self.port = own_port()
            listener = {"name": "http", "port": self.port, "protocol": "HTTP"}
            self.change(f"{GATEWAYS}/edge", {"spec": {"listeners": [listener, *more()]}})

            def judged() -> Any:
                gateway = self.fleet.http.get(f"{GATEWAYS}/edge").json()
                told = self.condition(f"{GATEWAYS}/edge", "Programmed")
                is_present = told.get("observedGeneration") == gateway["metadata"]["generation"]
                return told if is_present and told["status"] != "Unknown" else None

            told = until(judged, f"the node has judged the Gateway; its agent says: {self.agent_log()[-4000:]}")
            if told["status"] == "True":
                return
        raise AssertionError(f"no port could be had: {told}")


def gateway(name: str, selector: str, port: int) -> Any:
    """Return a Gateway for the nodes that a selector matches."""
    listener = {"name": "http", "port": port, "protocol": "HTTP"}
    return {
        "metadata": {"name": name, "annotations": {SELECTOR: selector}},
        "spec": {"gatewayClassName": "skerry", "listeners": [listener]},
    }
