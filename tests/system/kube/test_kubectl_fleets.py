"""A fleet through kubectl and through the API of Baetyl: the same objects, with the same rules."""

import json
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from skerry.main.baetyl import baetyl_door
from skerry.server.baetyl.fleet import Fleet
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server
from tests.system.kube.conftest import Kubectl

pytestmark = pytest.mark.system

EXAMPLE = Path(__file__).parents[3] / "examples" / "fleet" / "fleet.yaml"


@pytest.fixture
async def fleet_server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    fleet = Fleet()
    doors = (lambda verbs, access: baetyl_door(verbs, access, fleet),)
    async with (
        run_api_server(tmp_path / "server", ApiServerParts(doors=doors, policy=fleet)) as running,
        fleet.running(running.verbs),
    ):
        yield running


@pytest.fixture
async def http(fleet_server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    trust = ssl.create_default_context(cafile=fleet_server.authority)
    headers = {"authorization": f"Bearer {fleet_server.token}"}
    async with httpx.AsyncClient(
        base_url=fleet_server.at.url, headers=headers, verify=trust, trust_env=False, timeout=60
    ) as opened:
        yield opened


@pytest.fixture
def edge(fleet_server: ApiServer, tmp_path: Path) -> Kubectl:
    """The real kubectl, for a server with a fleet."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on PATH")
    return Kubectl(tmp_path, fleet_server.kubeconfig)


async def test_kubectl_and_the_api_of_baetyl_see_one_fleet(edge: Kubectl, http: httpx.AsyncClient) -> None:
    await edge.ok("apply", "-f", str(EXAMPLE))
    head, row = (await edge.ok("get", "nodes.cloud.baetyl.io", "-L", "site")).splitlines()
    assert (head.split(), row.split()[0], row.split()[-1]) == (["NAME", "READY", "AGE", "SITE"], "edge-1", "lyon")
    (bound,) = (await http.get("/v1/nodes/edge-1/apps")).json()["items"]
    assert bound["name"] == "greeter"

    await edge.ok("apply", "-f", str(EXAMPLE.with_name("rollout.yaml")))
    head, row = (await edge.ok("get", "rollouts")).splitlines()
    assert row.split()[:3] == ["greeter-2", "greeter", "greeter-2"]

    refused = await edge.fails("delete", "configurations.cloud.baetyl.io", "greeting")
    assert "used by the applications greeter" in refused
    await edge.ok("label", "nodes.cloud.baetyl.io", "edge-1", "site=oslo", "--overwrite")
    assert (await http.get("/v1/nodes/edge-1/apps")).json()["items"] == []

    made = await http.post("/v1/nodes", json={"name": "edge-2", "labels": {"site": "lyon"}})
    assert made.status_code == 200
    node = await edge.json("get", "nodes.cloud.baetyl.io", "edge-2")
    assert node["metadata"]["labels"]["baetyl-node-name"] == "edge-2"
    await edge.ok("delete", "-f", str(EXAMPLE))
    assert (await http.get("/v1/apps")).json()["items"] == []


async def test_both_refuse_the_same(edge: Kubectl, http: httpx.AsyncClient) -> None:
    spec = {"selector": "a in (", "services": [{"name": "web"}]}
    told = (await http.post("/v1/apps", json={"name": "web", **spec})).json()
    document = {"apiVersion": "cloud.baetyl.io/v1alpha1", "kind": "Application", "metadata": {"name": "web"}}
    printed = await edge.fails("create", "-f", "-", stdin=json.dumps({**document, "spec": spec}))
    for words in ("spec.selector: Invalid value", "spec.services[0].image: Required value"):
        assert words in printed
        assert words in told["message"]
