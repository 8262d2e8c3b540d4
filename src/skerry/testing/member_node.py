"""A node of a fleet without its control plane: what that would tell is given by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from skerry.agent.member.applications import Applications, Runner
from skerry.agent.member.container_specs import ContainerPolicy
from skerry.agent.member.containers import Containers, connected
from skerry.agent.member.downloads import Downloads
from skerry.agent.member.errors import LinkError
from skerry.agent.member.function_front import FunctionFront
from skerry.agent.member.functions import Functions
from skerry.agent.member.gateways import Machine, Metrics
from skerry.agent.member.processes import Place
from skerry.agent.member.programs import Programs
from skerry.agent.member.replica import Reference, Replica
from skerry.agent.member.staging import Stage
from skerry.agent.member.states import ApplicationState
from skerry.agent.member.users import ProgramUsers, UserRange
from skerry.agent.member.volumes import Volumes
from skerry.api.model import Document
from skerry.artifacts.folder import FolderKeep
from skerry.functions.local.warm import WarmInstances, WarmSettings
from skerry.kit.clock import SystemClock
from skerry.kit.deadlines import within

#: How long a process may take to start or end on a busy machine.
SECONDS_MAX = 60.0
LOOK_SECONDS = 0.01
#: Nothing answers there.
NO_ENGINE = "unix:///nonexistent/engine.sock"


def idle_machine(directory: Path) -> Machine:
    """Return a machine on which nothing serves Gateways, though it says so."""

    @asynccontextmanager
    async def plane(*_: object) -> AsyncIterator[Metrics]:
        yield _no_metrics

    return Machine(FolderKeep(directory), plane, directory / "logs", SystemClock())


async def _no_metrics() -> bytes:
    return b""


@dataclass
class FakeCloud:
    """What a control plane has; `away` for one that can't be reached."""

    resources: dict[Reference, Document] = field(default_factory=dict)
    asked: list[Reference] = field(default_factory=list)
    away: bool = False

    async def desire(self, wanted: Sequence[Reference]) -> list[Document]:
        """Return what is asked for; raises LinkError where one is missing."""
        self.asked += wanted
        if self.away:
            raise LinkError("the control plane can't be reached")
        if missing := [reference for reference in wanted if reference not in self.resources]:
            raise LinkError(f"the control plane answered 404: {missing[0][1]} is not found")
        return [self.resources[reference] for reference in wanted]


@dataclass
class MemberNode:
    """A node that runs."""

    data_dir: Path
    cloud: FakeCloud
    replica: Replica
    applications: Applications
    front: FunctionFront

    def want(self, **versions: str) -> None:
        """Have the control plane want these applications, and no others."""
        self.replica.take({"apps": [{"name": name, "version": version} for name, version in versions.items()]})
        self.applications.look()

    def add(self, name: str, version: str, service: Document, **more: Any) -> None:
        """Have the control plane know a version of an application with one service."""
        document = {"name": name, "mode": "native", **more, "services": [{"name": "main", **service}]}
        self.cloud.resources["application", name, version] = document

    def state(self, name: str) -> ApplicationState | None:
        """Tell how an application is."""
        return next((state for state in self.applications.states() if state.name == name), None)

    async def until(self, name: str, holds: Callable[[ApplicationState], bool]) -> ApplicationState:
        """Wait until an application is so, and return how it is."""
        state: ApplicationState | None = None
        try:
            with within(SECONDS_MAX):
                while (state := self.state(name)) is None or not holds(state):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise AssertionError(f"{name} is {state}") from error
        return state

    def instance(self, name: str, version: str, path: str) -> Path:
        """Return a file that the first instance of an application's service sees."""
        return self.data_dir / "run" / name / version / "main" / "0" / path


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    with within(SECONDS_MAX):
        while not holds():  # noqa: ASYNC110 - files and processes have no event
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def member_node(
    data_dir: Path,
    cloud: FakeCloud,
    served: httpx.MockTransport | None = None,
    *,
    engine: tuple[str, str] = (NO_ENGINE, ""),
    users: UserRange | None = None,
    warm_processes_max: int = 32,
) -> AsyncIterator[MemberNode]:
    """Run a node for the length of the block: again on the same directory, for one that restarts.

    Args:
        data_dir: what it keeps.
        cloud: what its control plane knows.
        served: answers its downloads.
        engine: the socket of its container engine, and the network of its containers.
        users: that its programs have; None for those of this process.
        warm_processes_max: of its functions, of all applications.
    """
    host, network = engine
    replica, volumes = Replica(data_dir / "replica"), Volumes(data_dir, ProgramUsers(data_dir, users))
    with ThreadPoolExecutor(1) as executor:
        async with httpx.AsyncClient(transport=served) as http, connected(host) as (client, threads):
            stage = Stage(cloud, replica, Downloads(http, data_dir / "objects", executor), volumes, executor)
            front = FunctionFront("127.0.0.1", 0)
            place = Place(volumes, data_dir / "logs", "n1", SystemClock(), executor)
            warm = WarmInstances(WarmSettings(warm_processes_max))
            runners: dict[str, Runner] = {
                "native": Programs(place),
                "function": Functions(place, front, warm),
                "kube": Containers((client, host), volumes, "n1", ContainerPolicy(network=network), threads),
            }
            applications = Applications(replica, stage, volumes, runners, executor)
            async with front.running(), applications.running():
                yield MemberNode(data_dir, cloud, replica, applications, front)
            await warm.close()
