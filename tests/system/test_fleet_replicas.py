"""A node that is linked to one of two control planes on a PostgreSQL, and is asked and changed at the other one."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from skerry.testing.agent_fleet import AgentFleet
from skerry.testing.edge_node import FUNCTIONS, Edge
from skerry.testing.leases import holder_of
from skerry.testing.manifests import answering, edge_function
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.skerry_process import ANY_FILE, SkerryProcess
from skerry.testing.stable_address import StableAddress
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

#: Says what it has read, once.
PROGRAM = "cat etc/conf.yml; exec sleep 1000"


@dataclass
class Pair:
    """A node with a link to the first replica, and clients of both."""

    edge: Edge
    other: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the other one."""
        answer = self.other.request(method, path, json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    def read(self, path: str) -> str:
        """Return the text that the other one answers; "" where it can't have it yet."""
        answer = self.other.get(f"/v1/nodes/n1{path}")
        return answer.text if answer.status_code == httpx.codes.OK else ""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, postgres: PostgresProcess) -> Iterator[Pair]:
    """The first replica leads; the node reaches no other."""
    folder = tmp_path_factory.mktemp("pair")
    database = ("--database", postgres.create_schema())
    options: Any = {"command": "serve", "cache_dir": cache_dir, "settings": ANY_FILE}
    clients = httpx.Client(trust_env=False, timeout=30.0)
    with (
        SkerryProcess.started(folder / "a", *database, **options) as first,
        StableAddress.running() as address,
        clients,
    ):
        with first.api_client() as at_first:
            holder_of(at_first)
        (folder / "b").mkdir()
        shutil.copytree(folder / "a" / "pki", folder / "b" / "pki")
        shutil.copy(folder / "a" / "kubeconfig", folder / "b" / "kubeconfig")
        with SkerryProcess.started(folder / "b", *database, **options) as second, second.api_client() as other:
            fleet = AgentFleet(first, address, first.api_client(), folder)
            fleet.find()
            try:
                edge = Edge(fleet, clients)
                edge.begin(engineCache=str(cache_dir / "engine"), engineWorkers=1)
                yield Pair(edge, other)
            finally:
                fleet.http.close()
                fleet.stop_agents()


def test_a_change_at_the_other_replica_reaches_the_node_and_the_node_is_asked_through_it(pair: Pair) -> None:
    conf = {"name": "greeting", "data": [{"key": "conf.yml", "value": {"type": "kv", "value": "one\n"}}]}
    pair.ask("POST", "/v1/configs", conf)
    mounts = [{"name": "conf", "mountPath": "/etc"}]
    service = {"name": "main", "command": ["sh", "-c", PROGRAM], "volumeMounts": mounts}
    volumes = [{"name": "conf", "config": {"name": "greeting"}}]
    app = {"name": "greeter", "mode": "native", "selector": "site=lyon", "services": [service], "volumes": volumes}
    pair.ask("POST", "/v1/apps", app)
    until(lambda: pair.read("/apps/greeter/logs") == "one\n", "its log is read through the replica without its link")
    until(lambda: "running:" in pair.read("/apps/greeter/describe"), "and so is how it is there")
    changed = {**conf, "data": [{"key": "conf.yml", "value": {"type": "kv", "value": "two\n"}}]}
    pair.ask("PUT", "/v1/configs/greeting", changed)
    until(lambda: pair.read("/apps/greeter/logs").endswith("two\n"), "what was changed there runs")
    assert pair.ask("GET", "/v1/nodes/n1")["ready"]


def test_what_its_functions_print_and_count_is_read_through_the_other_replica(pair: Pair) -> None:
    def counted() -> bool:
        pair.edge.answer()
        return 'skerry_function_requests_total{code_class="2xx",function="hello",' in pair.read("/metrics")

    until(counted, "its metrics are read")
    until(lambda: "asked for" in pair.read("/edgefunctions/hello/logs"), "and what the function prints")


def test_a_function_that_is_changed_at_the_other_replica_is_served_by_the_node(pair: Pair) -> None:
    code = orjson.loads(edge_function("hello", answering("two")))["spec"]["template"]["code"]
    headers = {"content-type": "application/merge-patch+json"}
    body = orjson.dumps({"spec": {"template": {"code": code}}})
    assert pair.other.patch(f"{FUNCTIONS}/hello", content=body, headers=headers).status_code == httpx.codes.OK
    pair.edge.until_answer("two")
