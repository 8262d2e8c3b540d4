"""A fleet of real agents, each a process of its own, and the control plane that they report to."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from skerry.testing import forked
from skerry.testing.machines import HERE, Machine, machine
from skerry.testing.skerry_process import SkerryProcess
from skerry.testing.stable_address import StableAddress
from skerry.testing.waiting import SECONDS_MAX, until


@dataclass
class AgentProcess:
    """An agent that runs on a folder of its own."""

    home: Path
    flags: list[str] = field(default_factory=list)
    machine: Machine = HERE
    process: forked.ForkedProcess | None = None

    @property
    def config(self) -> Path:
        """Where its agent.json is."""
        return self.home / "agent.json"

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        with (self.home / "agent.log").open("ab") as log:
            command = ["agent", "--config", str(self.config), *self.flags]
            self.process = forked.start(command, output=log, namespaces=self.machine.namespaces)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; return its exit code, 0 for one that was never started. Raises NotEndedError."""
        if self.process is None:
            return 0
        return forked.end(self.process, number, self.log, seconds_max=SECONDS_MAX)

    def log(self) -> str:
        """Return what it printed, over all its lives."""
        return (self.home / "agent.log").read_text()

    def status(self) -> Any:
        """Return what `skerry agent status` says."""
        told = forked.run(["agent", "--config", str(self.config), "status", "-o", "json"], timeout_seconds=SECONDS_MAX)
        if told.code != 0:
            raise AssertionError(f"skerry agent status ended with {told.code}: {told.err}")
        return json.loads(told.out)


@dataclass
class AgentFleet:
    """A control plane, and its agents."""

    skerry: SkerryProcess
    address: StableAddress
    http: httpx.Client
    folder: Path
    agents: dict[str, AgentProcess] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)
    machines: dict[str, tuple[Machine, StableAddress]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def running(cls, skerry: SkerryProcess, folder: Path) -> Iterator["AgentFleet"]:
        """Have a fleet for the length of the block; its agents are killed in the end."""
        with StableAddress.running() as address, ExitStack() as stack:
            fleet = cls(skerry, address, skerry.api_client(), folder, stack=stack)
            fleet.find()
            try:
                yield fleet
            finally:
                fleet.http.close()
                fleet.stop_agents(signal.SIGKILL)

    def stop_agents(self, number: int = signal.SIGTERM) -> None:
        """End all agents with a signal, also where one does not end; raises NotEndedError then."""
        with ExitStack() as stack:
            for agent in self.agents.values():
                stack.callback(agent.stop, number)

    def machine(self, name: str) -> tuple[Machine, StableAddress]:
        """Return a machine, and where the control plane is to those on it; see `testing.machines`."""
        if name not in self.machines:
            made = self.stack.enter_context(machine(name))
            address = self.stack.enter_context(StableAddress.running(made.listener())) if made.pid else self.address
            address.target = self.address.target
            self.machines[name] = made, address
        return self.machines[name]

    def find(self) -> None:
        """Take notice of where the control plane listens now."""
        self.http.close()
        self.http = self.skerry.api_client()
        for address in (self.address, *(address for _, address in self.machines.values())):
            address.target = int(self.skerry.api.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask as the administrator, and return what is answered."""
        answer = self.http.request(method, path, json=body)
        if answer.status_code != httpx.codes.OK:
            raise AssertionError(f"{path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def agent(self, name: str, init_path: str, *, on: str = "", **settings: Any) -> AgentProcess:
        """Make an agent of what an install command leads to, that reports every second; it is not started yet.

        Args:
            name: of its folder.
            init_path: where the command is told.
            on: the machine that it runs on; "" for this one.
            settings: of its agent.json.
        """
        command = self.ask("GET", init_path)["cmd"]
        token = command.split("token=")[1].split("'")[0].split("&")[0]
        told = self.ask("GET", f"/v1/init/agent.json?token={token}")
        home = self.folder / name
        home.mkdir()
        # Users of programs can't come to where tests have their files.
        runs_on, address = self.machine(on) if on else (HERE, self.address)
        here = {"addresses": [f"https://127.0.0.1:{address.port}"], "reportSeconds": 1, "programUsers": None}
        (home / "agent.json").write_text(json.dumps({**told, **here, **settings}))
        agent = self.agents[name] = AgentProcess(home, machine=runs_on)
        return agent

    def states(self, node: str) -> dict[str, Any]:
        """Return what a node last said of its applications, by name."""
        answer = self.http.get(f"/v1/nodes/{node}/stats")
        report = answer.json().get("report") or {} if answer.status_code == 200 else {}
        return {each["name"]: each for each in report.get("appstats") or ()}

    def until_status(self, node: str, application: str, status: str) -> Any:
        """Wait until a node says so of an application."""

        def found() -> Any:
            state = self.states(node).get(application, {})
            return state if state.get("status") == status else None

        return until(found, f"{application} is {status} on {node}, which is {self.states(node)}")
