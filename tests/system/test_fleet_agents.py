"""A fleet: a control plane and three agents, each a process of its own, and applications that they run.

Where tests may have them, each agent is on a machine of its own (`testing.machines`): another network than the control
plane's, and another identity. Elsewhere all are on this machine, and meet on its loopback.
"""

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.agent_fleet import AgentFleet, AgentProcess
from skerry.testing.lives import ANSWERING, GAP, Lives
from skerry.testing.podman import NETWORK, PYTHON_IMAGE, Podman, PodmanMissingError, serving_podman
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.waiting import until

pytestmark = pytest.mark.system

#: Nobody listens there.
CLOSED_PORT = 9
#: How long the control plane is away.
AWAY_SECONDS = 60.0
#: Has a container answer at a socket of its node.
AT_NODE = "import os, sys\nsys.argv[1] += os.environ['BAETYL_NODE_NAME']\n"
#: Writes its configuration, and again whatever comes: until the program is started anew.
PROGRAM = 'cat etc/conf.yml >> "$TOLD"; exec sleep 1000'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with (
        SkerryProcess.started(folder / "data", command="serve") as skerry,
        AgentFleet.running(skerry, folder) as fleet,
    ):
        yield fleet


@pytest.fixture(scope="module")
def podman(repository: Path) -> Iterator[Podman | None]:
    """Runs containers; None where that can't be had."""
    try:
        with serving_podman(repository / ".cache" / "python-rootfs") as podman:
            yield podman
    except PodmanMissingError:
        yield None


@pytest.fixture(scope="module")
def nodes(fleet: AgentFleet, podman: Podman | None) -> tuple[str, str, str]:
    """Join three: by a command of its own, by what a person enters, and by the name of the machine."""
    fleet.ask("POST", "/v1/nodes", {"name": "n1", "labels": {"site": "lyon"}})
    containers = {"containerHost": podman.host, "containerNetwork": NETWORK} if podman else {}
    fleet.agent("n1", "/v1/nodes/n1/init", on="box-1", **containers).start()
    for product, kind, on in (("entered", 2, "box-2"), ("named", 4, "box-3")):
        wishes = {"name": product, "enableWhitelist": 0, "fingerprint": {"type": kind}, "labels": {"site": product}}
        fleet.ask("POST", "/v1/register", wishes)
        agent = fleet.agent(product, f"/v1/register/{product}/init", on=on, **containers)
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
    assert nodes[2] == fleet.agents["named"].machine.run("hostname").strip().lower()
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
    until(
        lambda: "running:" in fleet.http.get("/v1/nodes/n1/apps/greeter/describe").text,
        "the node itself tells how the application is",
    )


@pytest.mark.usefixtures("nodes")
def test_a_broken_application_tells_its_cause(fleet: AgentFleet) -> None:
    fleet.ask("POST", "/v1/apps", application("broken", "site=lyon", {"name": "main", "command": ["bin/nothing"]}))
    state = fleet.until_status("n1", "broken", "Failed")
    assert state["cause"] == "service main: its program bin/nothing is not there"
    fleet.ask("DELETE", "/v1/apps/broken")
    until(lambda: "broken" not in fleet.states("n1"), "it is gone")


@pytest.fixture
def answers() -> Iterator[Path]:
    """Where programs and containers answer: the path of a socket is short."""
    with tempfile.TemporaryDirectory(prefix="skerry-answers-") as folder:
        yield Path(folder)


def answering(fleet: AgentFleet, nodes: tuple[str, str, str], podman: Podman | None, answers: Path) -> dict[str, Path]:
    """Have a program answer on every node, and a container on two; return where: of containers, by `in-NODE`."""
    program = [sys.executable, "-c", ANSWERING]
    script = {"name": "main", "command": ["sh", "-c", f'exec "$0" "$@" {answers}/$BAETYL_NODE_NAME', *program]}
    fleet.ask("POST", "/v1/apps", application("steady", "site in (lyon, entered, named)", script))
    where = {node: answers / node for node in nodes}
    if podman is not None:
        container = {
            "name": "main",
            "image": PYTHON_IMAGE,
            "command": [
                "/usr/bin/python3",
                "-c",
                f"import os, sys\nsys.argv[1] += os.environ['BAETYL_NODE_NAME']\n{ANSWERING}",
            ],
            "args": ["/answers/in-"],
            "volumeMounts": [{"name": "answers", "mountPath": "/answers"}],
        }
        volumes = [{"name": "answers", "hostPath": {"path": str(answers)}}]
        contained = application("contained", "site in (lyon, entered)", container, volumes=volumes, mode="kube")
        fleet.ask("POST", "/v1/apps", contained)
        where |= {f"in-{node}": answers / f"in-{node}" for node in nodes[:2]}
    return where


@pytest.mark.timeout(900)
def test_agents_restart_and_what_they_run_goes_on_while_the_control_plane_is_away_for_a_minute(
    fleet: AgentFleet, nodes: tuple[str, str, str], podman: Podman | None, answers: Path
) -> None:
    where = answering(fleet, nodes, podman, answers)
    agents = dict(zip(nodes, (fleet.agents[name] for name in ("n1", "entered", "named")), strict=True))
    before = {node: agent.log() for node, agent in agents.items()}

    def alone(node: str) -> bool:
        return "the control plane can't be reached" in agents[node].log().removeprefix(before[node])

    def told(node: str) -> Any:
        """Return how the agent that runs now is, as it keeps it on disk; nothing before it has."""
        found = json.loads((agents[node].home / "data" / "status.json").read_text())
        return found if found["pid"] == agents[node].process.pid else {}  # type: ignore[union-attr]

    with Lives.kept(where) as lives:
        fleet.skerry.kill()
        killed = time.monotonic()
        for node, how in zip(nodes, (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM), strict=True):
            until(lambda node=node: alone(node), f"{node} is refused its reports")  # type: ignore[misc]
            with lives.ended(node):
                assert agents[node].stop(how) == (0 if how == signal.SIGTERM else -how)
                agents[node].start()
        lives.until_asked_for(AWAY_SECONDS, since=killed)
        fleet.skerry.start()
        fleet.find()
        for node in nodes:
            until(lambda node=node: told(node).get("reportedAt"), f"{node} has reported again")  # type: ignore[misc]
            until(lambda node=node: fleet.ask("GET", f"/v1/nodes/{node}")["ready"], f"{node} is ready again")  # type: ignore[misc]
            fleet.until_status(node, "steady", "Running")
        until(lambda: told("n1")["link"] == "websocket", "a node has a link again")
    for name in nodes:
        seen = lives.of(name)
        assert len([life for life in seen if life != GAP]) == 2, f"{name} was ended once, with its agent: {seen}"
        assert seen[-1] != GAP, f"{name} answers no more: {seen}"
    for name in where.keys() - set(nodes):
        assert len(lives.of(name)) == 1, f"{name} went on without its agent: {lives.of(name)}"
    for name in ("steady", "contained"):
        fleet.http.delete(f"/v1/apps/{name}")
    if podman is None:
        pytest.skip("all of it held but for containers, which can't be run here: `make setup-dev` tells why")


#: Runs on the first node, and ends again and again on all others.
PICKY = '[ "$BAETYL_NODE_NAME" = n1 ] && exec sleep 1000; exit 3'
ROLLOUTS = "/apis/cloud.baetyl.io/v1alpha1/namespaces/default/rollouts"


def test_a_rollout_goes_back_when_more_nodes_fail_than_may(fleet: AgentFleet, nodes: tuple[str, str, str]) -> None:
    everyone = "site in (lyon, entered, named)"
    fleet.ask("POST", "/v1/apps", application("stable", everyone, {"name": "main", "command": ["sleep", "1000"]}))
    fleet.ask("POST", "/v1/apps", application("stable-2", "", {"name": "main", "command": ["sh", "-c", PICKY]}))
    for node in nodes:
        fleet.until_status(node, "stable", "Running")
    groups = [{"name": "canary", "selector": "site=lyon"}]
    # A program runs until it ends: only what has lasted has succeeded.
    lasting = {"failurePercentage": 40, "soakSeconds": 5}
    spec = {"application": "stable", "target": "stable-2", "groups": groups, **lasting}
    made = fleet.http.post(ROLLOUTS, json={"metadata": {"name": "risky"}, "spec": spec})
    assert made.status_code == 201, made.text

    def phase() -> Any:
        return fleet.http.get(f"{ROLLOUTS}/risky").json()["status"].get("phase")

    until(lambda: phase() == "RolledBack", "the rollout is taken back")
    steps = fleet.http.get(f"{ROLLOUTS}/risky").json()["status"]["history"]
    assert [step["message"] for step in steps] == ["canary is let in", "everyone is let in", "2 of 3 nodes failed"]
    for node in nodes:
        fleet.until_status(node, "stable", "Running")
        until(lambda node=node: "stable-2" not in fleet.states(node), f"{node} is rid of it")  # type: ignore[misc]
    fleet.ask("DELETE", "/v1/apps/stable")


HANDLER = """
def handler(event, context):
    return {"doubled": 2 * event["number"], "function": context["functionName"]}
"""
CALL = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:50011/main/double", b'{"number": 21}', timeout=60).read().decode())
"""


@pytest.mark.usefixtures("nodes")
def test_a_function_application_is_called_on_its_node(fleet: AgentFleet) -> None:
    code = {"key": "index.py", "value": {"type": "kv", "value": HANDLER}}
    fleet.ask("POST", "/v1/configs", {"name": "code", "data": [code]})
    service = {
        "name": "main",
        "functionConfig": {"name": "code", "runtime": "python3"},
        "functions": [{"name": "double", "handler": "index.handler"}],
    }
    fleet.ask("POST", "/v1/apps", {**application("doubler", "site=lyon", service), "type": "function"})
    fleet.until_status("n1", "doubler", "Running")
    answer = fleet.agents["n1"].machine.run(sys.executable, "-c", CALL)
    assert json.loads(answer) == {"doubled": 42, "function": "double"}
    fleet.ask("DELETE", "/v1/apps/doubler")
    until(lambda: "doubler" not in fleet.states("n1"), "it is gone")


@pytest.mark.usefixtures("nodes")
def test_two_agents_with_one_identity_are_noticed(fleet: AgentFleet) -> None:
    agent = fleet.agents["n1"]
    home = fleet.folder / "twin"
    home.mkdir()
    shutil.copy(agent.config, home)
    twin = fleet.agents["twin"] = AgentProcess(home, machine=agent.machine)
    twin.start()

    def conflict() -> str:
        node = fleet.http.get("/apis/cloud.baetyl.io/v1alpha1/namespaces/default/nodes/n1").json()
        conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        return str(conditions.get("IdentityConflict"))

    until(lambda: conflict() == "True", "both have reported")
    assert "skerry_baetyl_identity_conflicts 1.0" in fleet.http.get("/metrics").text
    twin.stop()


#: What `fingerprint.type` calls the proofs of a machine, and how the machine that is theirs is told apart.
PROOFS = {
    "sn": (1, "SN-4711"),
    "bootID": (8, "boot-id-box-4"),
    "systemUUID": (16, "product-uuid-box-4"),
    "machineID": (32, "machine-id-box-4"),
}


def test_a_device_joins_by_each_proof_of_its_machine(fleet: AgentFleet) -> None:
    if not fleet.machine("box-4")[0].pid:
        pytest.skip("machines of a test's own are not to be had here: they take root and namespaces")
    serial = fleet.folder / "serial.txt"
    serial.write_text("SN-4711\n")
    for proof, (kind, value) in PROOFS.items():
        product = f"by-{proof.lower()}"
        fingerprint = {"type": kind, "snPath": str(serial)}
        fleet.ask("POST", "/v1/register", {"name": product, "fingerprint": fingerprint})
        fleet.ask("POST", f"/v1/register/{product}/record", {"fingerprintValue": value})
        fleet.agent(product, f"/v1/register/{product}/init", on="box-4").start()
    for proof, (_, value) in PROOFS.items():
        node = value.lower()
        until(lambda node=node: fleet.http.get(f"/v1/nodes/{node}").json().get("ready"), f"{node} joined by {proof}")  # type: ignore[misc]
        assert fleet.agents[f"by-{proof.lower()}"].stop() == 0


def test_a_revoked_node_is_locked_out(fleet: AgentFleet, nodes: tuple[str, str, str]) -> None:
    fleet.ask("POST", f"/v1/nodes/{nodes[2]}/revoke")
    log = fleet.agents["named"].log
    until(lambda: "answered 401" in log(), "the agent is refused")


def test_an_agent_logs_in_the_style_that_it_is_told(fleet: AgentFleet) -> None:
    fleet.ask("POST", "/v1/nodes", {"name": "spoken"})
    agent = fleet.agent("spoken", "/v1/nodes/spoken/init", addresses=[f"https://127.0.0.1:{CLOSED_PORT}"])
    agent.flags = ["--log-style", "json"]
    agent.start()

    def said() -> list[str]:
        return [line for line in agent.log().splitlines() if not line.startswith("ready: ")]

    until(said, "it says that nobody answers")
    assert agent.stop() == 0
    for record in map(json.loads, said()):
        assert record.keys() >= {"event", "level", "logger", "timestamp"}
