"""A fleet: a control plane and three agents, each a process of its own, and applications that they run."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from skerry.testing.agent_fleet import AgentFleet
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.stable_address import StableAddress
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

#: Writes its configuration, and again whatever comes: until the program is started anew.
PROGRAM = 'cat etc/conf.yml >> "$TOLD"; exec sleep 1000'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with (
        SkerryProcess.started(folder / "data", command="serve") as skerry,
        StableAddress.running() as address,
    ):
        fleet = AgentFleet(skerry, address, skerry.api_client(), folder)
        fleet.find()
        try:
            yield fleet
        finally:
            fleet.http.close()
            for agent in fleet.agents.values():
                agent.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def nodes(fleet: AgentFleet) -> tuple[str, str, str]:
    """Join three: by a command of its own, by what a person enters, and by the name of the machine."""
    fleet.ask("POST", "/v1/nodes", {"name": "n1", "labels": {"site": "lyon"}})
    fleet.agent("n1", "/v1/nodes/n1/init").start()
    for product, kind in (("entered", 2), ("named", 4)):
        wishes = {"name": product, "enableWhitelist": 0, "fingerprint": {"type": kind}, "labels": {"site": product}}
        fleet.ask("POST", "/v1/register", wishes)
        agent = fleet.agent(product, f"/v1/register/{product}/init")
        agent.flags = ["--fingerprint", "box-7"] if product == "entered" else []
        agent.start()

    def joined() -> Any:
        records = [fleet.ask("GET", f"/v1/register/{product}/record")["items"] for product in ("entered", "named")]
        names = [each["nodeName"] for items in records for each in items if each["active"]]
        return ("n1", *names) if len(names) == 2 else None

    found: tuple[str, str, str] = until(joined, "all three have joined")
    for node in found:
        until(lambda node=node: fleet.ask("GET", f"/v1/nodes/{node}")["ready"], f"{node} is ready")  # type: ignore[misc]
    return found


def application(name: str, selector: str, service: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "mode": "native", "type": "container", "selector": selector, "services": [service], **more}


def test_every_kind_of_device_joins_and_says_what_it_is(fleet: AgentFleet, nodes: tuple[str, str, str]) -> None:
    assert nodes[1] == "box-7"
    stats = fleet.ask("GET", "/v1/nodes/n1/stats")["report"]
    assert stats["node"]["os"] == "linux"
    assert float(stats["nodestats"]["percent"]["memory"]) > 0
    assert fleet.agents["n1"].status()["running"]


def test_a_configuration_reaches_the_program_that_runs(fleet: AgentFleet, nodes: tuple[str, str, str]) -> None:
    told = fleet.folder / "told"
    fleet.ask(
        "POST",
        "/v1/configs",
        {"name": "greeting", "data": [{"key": "conf.yml", "value": {"type": "kv", "value": "one"}}]},
    )
    service = {
        "name": "main",
        "command": ["sh", "-c", PROGRAM],
        "env": [{"name": "TOLD", "value": str(told)}],
        "volumeMounts": [{"name": "conf", "mountPath": "/etc"}],
    }
    volumes = [{"name": "conf", "config": {"name": "greeting"}}]
    fleet.ask("POST", "/v1/apps", application("greeter", "site=lyon", service, volumes=volumes))
    fleet.until_status("n1", "greeter", "Running")
    until(lambda: told.exists() and told.read_text() == "one", "the program has read its configuration")
    fleet.ask(
        "PUT",
        "/v1/configs/greeting",
        {"name": "greeting", "data": [{"key": "conf.yml", "value": {"type": "kv", "value": "two"}}]},
    )
    until(lambda: told.read_text() == "onetwo", "it has read the new one")
    assert "greeter" not in fleet.states(nodes[1])


@pytest.mark.usefixtures("nodes")
def test_a_broken_application_tells_its_cause(fleet: AgentFleet) -> None:
    fleet.ask("POST", "/v1/apps", application("broken", "site=lyon", {"name": "main", "command": ["bin/nothing"]}))
    state = fleet.until_status("n1", "broken", "Failed")
    assert state["cause"] == "service main: its program bin/nothing is not there"
    fleet.ask("DELETE", "/v1/apps/broken")
    until(lambda: "broken" not in fleet.states("n1"), "it is gone")


def test_agents_restart_and_run_what_they_ran_while_the_control_plane_is_away(
    fleet: AgentFleet, nodes: tuple[str, str, str]
) -> None:
    program = {"key": "program.yml", "value": {"type": "kv", "value": "entry: /bin/sleep"}}
    fleet.ask("POST", "/v1/configs", {"name": "sleeper", "data": [program]})
    service = {"name": "main", "programConfig": {"name": "sleeper"}, "args": ["1000"]}
    fleet.ask("POST", "/v1/apps", application("steady", "site in (lyon, entered)", service))
    for node in nodes[:2]:
        fleet.until_status(node, "steady", "Running")
    fleet.skerry.kill()
    agent = fleet.agents["n1"]
    assert agent.stop() == 0
    agent.start()

    def again() -> bool:
        status = json.loads((agent.home / "data" / "status.json").read_text())
        found = {each["name"]: each["status"] for each in status["applications"]}
        return status["pid"] == agent.process.pid and found.get("steady") == "Running"  # type: ignore[union-attr]

    until(again, "the application runs again without the control plane")
    fleet.skerry.start()
    fleet.find()
    for node in nodes[:2]:
        fleet.until_status(node, "steady", "Running")


def test_a_revoked_node_is_locked_out(fleet: AgentFleet, nodes: tuple[str, str, str]) -> None:
    fleet.ask("POST", f"/v1/nodes/{nodes[2]}/revoke")
    log = fleet.agents["named"].home / "agent.log"
    until(lambda: "answered 401" in log.read_text(), "the agent is refused")
