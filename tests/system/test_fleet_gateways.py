"""Gateways on the nodes of a fleet: a control plane without a node of its own, and an agent, each a real process."""

import base64
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from skerry.testing.agent_fleet import AgentFleet
from skerry.testing.edge_node import FUNCTIONS, GATEWAYS, PLUGINS, ROUTES, SELECTOR, Edge, gateway
from skerry.testing.manifests import answering, edge_function
from skerry.testing.plugins import built
from skerry.testing.ports import own_port
from skerry.testing.skerry_process import ANY_FILE, SkerryProcess
from skerry.testing.stable_address import StableAddress
from skerry.testing.waiting import until

pytestmark = pytest.mark.system


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
            fleet.ask("POST", "/v1/nodes", {"name": "n2", "labels": {"site": "nice"}})
            edge.create(GATEWAYS, gateway("other", "site=nice", own_port()))
            edge.begin(engineCache=str(cache_dir / "engine"), engineWorkers=1)
            yield edge
        finally:
            fleet.http.close()
            fleet.stop_agents()


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
        edge.answer()
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


SECRETS = "/api/v1/namespaces/default/secrets"


def certified(folder: Path, serial: int) -> dict[str, str]:
    """Make a certificate for edge.test that signs itself; return it and its key as a Secret holds them."""
    made = [folder / f"{serial}.crt", folder / f"{serial}.key"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-days", "1", "-subj", "/CN=edge.test", "-addext", "subjectAltName=DNS:edge.test"]
    command = [*make, "-set_serial", str(serial), "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return {
        name: base64.b64encode(path.read_bytes()).decode()
        for name, path in zip(("tls.crt", "tls.key"), made, strict=True)
    }


def shown_at(port: int, trusted: Path) -> tuple[int, str]:
    """Return the serial number of the certificate that is shown for edge.test, and what is answered; 0 for nobody."""
    context = ssl.create_default_context(cafile=str(trusted))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="edge.test") as tls,
        ):
            shown: Any = tls.getpeercert()
            tls.sendall(b"GET / HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: tls.recv(65_536), b""))
    except OSError:
        return 0, ""
    return int(shown["serialNumber"], 16), answer.decode()


def test_a_gateway_of_https_shows_the_certificate_that_it_names_on_its_node_and_the_next_one(
    edge: Edge, tmp_path: Path
) -> None:
    first, ports = certified(tmp_path, 4711), list[int]()
    edge.create(SECRETS, {"metadata": {"name": "edge-tls"}, "type": "kubernetes.io/tls", "data": first})

    def secure() -> list[Any]:
        ports.append(own_port())
        tls = {"certificateRefs": [{"name": "edge-tls"}]}
        return [{"name": "https", "port": ports[-1], "protocol": "HTTPS", "hostname": "edge.test", "tls": tls}]

    edge.open_gateway(secure)
    serial, answer = until(lambda: _whole(shown_at(ports[-1], tmp_path / "4711.crt")), "it answers over TLS")
    assert (serial, answer.splitlines()[0]) == (4711, "HTTP/1.1 200 OK")
    edge.change(f"{SECRETS}/edge-tls", {"data": certified(tmp_path, 4712)})
    until(lambda: _whole(shown_at(ports[-1], tmp_path / "4712.crt")), "it shows the certificate that came in its place")


def _whole(found: tuple[int, str]) -> tuple[int, str] | None:
    return found if found[0] and "200 OK" in found[1] else None


def test_a_node_serves_and_restarts_without_its_control_plane_and_takes_changes_once_that_is_back(edge: Edge) -> None:
    fleet = edge.fleet
    fleet.skerry.kill()
    edge.until_answer("one")
    agent = fleet.agents["n1"]
    assert agent.stop() == 0
    assert edge.answer() is None
    with socket.create_server(("127.0.0.1", edge.port)):  # another has the port meanwhile, and lets it go later
        before = edge.agent_log()
        agent.start()
        until(lambda: "envoy refused a resource" in edge.agent_log().removeprefix(before), "the port is not to be had")
    edge.until_answer("one")
    fleet.skerry.start()
    fleet.find()
    code = orjson.loads(edge_function("hello", answering("two")))["spec"]["template"]["code"]
    edge.change(f"{FUNCTIONS}/hello", {"spec": {"template": {"code": code}}})
    edge.until_answer("two")
    edge.until_true(f"{GATEWAYS}/edge", "Programmed")


def test_a_gateway_that_selects_a_node_no_more_ends_there(edge: Edge) -> None:
    edge.change(f"{GATEWAYS}/edge", {"metadata": {"annotations": {SELECTOR: "site=nowhere"}}})
    until(lambda: edge.answer() is None, "nobody listens")
    until(lambda: edge.condition(f"{GATEWAYS}/edge", "Programmed").get("reason") == "NoResources", "it is told")
