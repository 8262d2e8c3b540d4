"""Runs applications as containers, through Docker's API: Docker's own engine, or podman's.

An instance is one container (`container_specs`). The engine starts it again where it ends, and keeps its log. Owns
these containers, which a label tells from others. They go on while the agent is away, however that came: it finds them
again, and leaves those alone that are still as they are to be (`SPEC_LABEL`, ADR 0042).
"""

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import docker
import orjson
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.utils import parse_repository_tag

from skerry.agent.member.container_logs import Tail, printed_by
from skerry.agent.member.container_specs import (
    APPLICATION_LABEL,
    NODE_LABEL,
    SPEC_LABEL,
    ContainerPolicy,
    WantedContainer,
    wanted_container,
)
from skerry.agent.member.documents import Application
from skerry.agent.member.errors import ApplicationError
from skerry.agent.member.instances import Instance, for_each_instance
from skerry.agent.member.registries import credentials_of
from skerry.agent.member.states import InstanceState, States, Status
from skerry.agent.member.volumes import CONTAINERS, Volumes
from skerry.fleet.log_wishes import LogWish
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import background, run_blocking

log = get_logger(__name__)

#: What applications call it.
MODE = CONTAINERS
API_VERSION = "1.41"
THREADS_MAX = 4
#: Of one call; a pull tells nothing meanwhile, so it has a time of its own.
CALL_SECONDS_MAX = 60.0
PULL_SECONDS_MAX = 1800.0
#: How often states are looked at, and how long SIGTERM may take before SIGKILL follows.
LOOK_SECONDS = 2.0
DRAIN_SECONDS = 10
#: How often containers are listed again, where one of them went meanwhile.
LIST_TRIES = 20
LIST_AGAIN_SECONDS = 0.1
_SAID_CHARACTERS_MAX = 1000

T = TypeVar("T")


class Containers:
    """Runs applications of mode kube, `MODE`, on an engine of containers; `connected` makes one.

    Args:
        engine: its client, and its socket.
        volumes: lays out what containers mount.
        node: this node's name.
        policy: what containers may.
        executor: its calls are made on these threads.
    """

    def __init__(
        self,
        engine: tuple[docker.DockerClient, str],
        volumes: Volumes,
        node: str,
        policy: ContainerPolicy,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._client, self._host = engine
        self._volumes = volumes
        self._node = node
        self._policy = policy
        self._executor = executor

    async def prepared(self, application: Application) -> AbstractAsyncContextManager[States]:
        """See that an application can run, and bring its images; return what runs it for the length of a block.

        That yields what tells the states of its instances, as of at most `LOOK_SECONDS` ago.

        Raises:
            ApplicationError: it can't run here.
        """
        wanted = await run_blocking(self._executor, partial(for_each_instance, application, self._container))
        for each in wanted:
            await self._bring_image(each.instance)
        return self._running(application, wanted)

    @asynccontextmanager
    async def _running(self, application: Application, wanted: Sequence[WantedContainer]) -> AsyncIterator[States]:
        is_ended = True
        try:
            kept = await self._kept(application, wanted)
            for each in wanted:
                if each.name not in kept:
                    await self._call(partial(self._start, each))
            states = _Seen(is_job=application.is_job)
            names = {each.instance.name: each.instance.service.name for each in wanted}
            look = partial(self._look, names, states)
            await look()
            async with background(("agent.containers", partial(_for_ever, look))):
                yield states.present
        except asyncio.CancelledError:
            is_ended = False  # the agent ends, not the application
            raise
        finally:
            if is_ended:
                await self._remove(application.name)

    async def _kept(self, application: Application, wanted: Sequence[WantedContainer]) -> set[str]:
        """Remove the containers of an application that are not what is wanted; return the names of the others."""
        specs = await self._call(lambda: {each.name: self._spec(each) for each in wanted})
        kept = set()
        for container in await self._of(application.name):
            name, goes_on = str(container.name), {"running", "exited"} if application.is_job else {"running"}
            if name in specs and specs[name] == container.labels.get(SPEC_LABEL) and container.status in goes_on:
                kept.add(name)
            else:
                await self._call(partial(_end, container))
        return kept

    def _spec(self, wanted: WantedContainer) -> str:
        """Return the digest of all that a container is made of."""
        image = str(self._client.images.get(wanted.create["image"]).id)
        parts = [wanted.create, image, self._volumes.layout(wanted.instance.application)]
        return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    async def _call(self, call: Callable[[], T], *, seconds: float = CALL_SECONDS_MAX) -> T:
        """Make a blocking call; raises ApplicationError where the engine refuses, is away or takes too long."""
        try:
            with within(seconds):
                return await run_blocking(self._executor, partial(self._reached, call))
        except TimeoutError as error:
            raise ApplicationError(f"the container engine did not answer within {seconds:.0f} s") from error
        except (DockerException, requests.RequestException) as error:
            said = str(getattr(error, "explanation", None) or error)[:_SAID_CHARACTERS_MAX]
            raise ApplicationError(f"container engine: {said}") from error

    def _reached(self, call: Callable[[], T]) -> T:
        """Call where there is an engine: a client of Docker's that can't connect leaves its socket open."""
        with socket.socket(socket.AF_UNIX) as tried:
            try:
                tried.connect(self._host.removeprefix("unix://"))
            except OSError as error:
                raise ApplicationError(f"no container engine answers at {self._host}: {error.strerror}") from error
        return call()

    def _container(self, instance: Instance) -> WantedContainer:
        """Lay out an instance, and see that it may run; raises ApplicationError, OSError."""
        return wanted_container(instance, self._volumes.mounts(instance, anew=False), self._node, self._policy)

    async def _bring_image(self, instance: Instance) -> None:
        """Have an image here, by the service's policy; the registry is asked where it is not."""
        image, policy = instance.service.image, instance.service.image_pull_policy
        if policy != "Always" and await self._call(partial(self._has, image)):
            return
        if policy == "Never":
            raise ApplicationError(f"service {instance.service.name}: image {image} is not here, and is never pulled")
        known = credentials_of(image, instance.application.logins)
        auth = {"username": known.username, "password": known.password} if known else None
        await self._call(partial(self._pull, image, auth), seconds=PULL_SECONDS_MAX)

    def _pull(self, image: str, auth: dict[str, str] | None) -> None:
        """Bring an image; a refusal comes as a line of the engine's answer, which is 200 by then."""
        repository, tag = parse_repository_tag(image)
        for said in self._client.api.pull(repository, tag or "latest", stream=True, decode=True, auth_config=auth):
            if "error" in said:
                raise ApplicationError(f"image {image} can't be pulled: {str(said['error'])[:_SAID_CHARACTERS_MAX]}")

    def _has(self, image: str) -> bool:
        try:
            self._client.images.get(image)
        except ImageNotFound:
            return False
        return True

    def _start(self, wanted: WantedContainer) -> None:
        self._volumes.mounts(wanted.instance)
        labels = {**wanted.create["labels"], SPEC_LABEL: self._spec(wanted)}
        self._client.containers.create(**{**wanted.create, "labels": labels}).start()

    def printed(
        self,
        application: Application,  # noqa: ARG002 - as every runner
        state: InstanceState,
        wish: LogWish,
        goes_on: Callable[[], bool],
    ) -> AsyncGenerator[bytes, None]:
        """Yield what a container prints; see `Runner`."""

        async def lines(since: float | None, tail: Tail) -> list[bytes]:
            return await self._call(partial(self._lines, state.name, since, tail))

        return printed_by(lines, wish, goes_on)

    def _lines(self, name: str, since: float | None, tail: Tail) -> list[bytes]:
        container = self._client.containers.get(f"skerry-{self._node}-{name}")
        kept: bytes = container.logs(timestamps=True, since=since, tail=tail)
        return kept.splitlines(keepends=True)

    async def remove_all_but(self, names: AbstractSet[str]) -> None:
        """Remove what is left of other applications; without an engine there is nothing."""
        try:
            left = await self._call(self._found)
        except ApplicationError as error:
            log.info("no container engine", reason=error.public)
            return
        for container in left:
            if container.labels.get(APPLICATION_LABEL) not in names:
                await self._call(partial(_end, container))

    async def _remove(self, application: str) -> None:
        for container in await self._of(application):
            await self._call(partial(_end, container))

    async def _of(self, application: str) -> list[Container]:
        found = await self._call(self._found)
        return [container for container in found if container.labels.get(APPLICATION_LABEL) == application]

    def _found(self) -> list[Container]:
        """Return this node's containers, those that have ended too."""
        wanted: dict[str, Any] = {"label": f"{NODE_LABEL}={self._node}"}
        for _ in range(LIST_TRIES):
            try:
                return self._client.containers.list(all=True, filters=wanted, ignore_removed=True)
            except APIError as error:  # podman answers so while one of them is being removed
                if "no such container" not in str(error.explanation):
                    raise
                time.sleep(LIST_AGAIN_SECONDS)
        return self._client.containers.list(all=True, filters=wanted, ignore_removed=True)

    async def _look(self, names: Mapping[str, str], states: "_Seen") -> None:
        """Take notice of how the containers are."""
        found: list[InstanceState] = []
        for name, service in names.items():
            try:
                found.append(await self._call(partial(self._state, name, service, states)))
            except ApplicationError as error:
                found.append(InstanceState(name, service, "Unknown", error.public))
        states.found = found

    def _state(self, name: str, service: str, states: "_Seen") -> InstanceState:
        try:
            container = self._client.containers.get(f"skerry-{self._node}-{name}")
        except NotFound:
            return InstanceState(name, service, "Failed", "its container was removed")
        attributes = container.attrs
        status, cause = states.status(container)
        cpu, memory = states.usage(name, container) if status == "Running" else (0.0, 0)
        pid = int((attributes.get("State") or {}).get("Pid") or 0)
        return InstanceState(name, service, status, cause, str(attributes.get("Created", "")), cpu, memory, pid)


class _Seen:
    """What was seen of an application's containers."""

    def __init__(self, *, is_job: bool) -> None:
        self._is_job = is_job
        self._cpu: dict[str, tuple[int, int]] = {}
        self.found: Sequence[InstanceState] = ()

    def present(self) -> Sequence[InstanceState]:
        """Tell how they were when they were last looked at."""
        return self.found

    def status(self, container: Container) -> tuple[Status, str]:
        """Say how a container is, and why it does not run."""
        state = container.attrs.get("State") or {}
        code, restarts = int(state.get("ExitCode") or 0), int(container.attrs.get("RestartCount") or 0)
        if container.status == "running":
            return "Running", ""
        if container.status in {"created", "initialized"}:
            return "Pending", ""
        if self._is_job and container.status == "exited" and code == 0:
            return "Succeeded", ""
        said = str(state.get("Error") or "")[:_SAID_CHARACTERS_MAX]
        again = f", and was started again {restarts} times" if restarts else ""
        return "Failed", said or f"its container ended with exit code {code}{again}"

    def usage(self, name: str, container: Container) -> tuple[float, int]:
        """Return the cores and the bytes of memory that a container uses."""
        told: Any = container.stats(stream=False, one_shot=True)
        cpu = told.get("cpu_stats") or {}
        used, system = int((cpu.get("cpu_usage") or {}).get("total_usage") or 0), int(cpu.get("system_cpu_usage") or 0)
        used_before, system_before = self._cpu.get(name, (used, system))
        self._cpu[name] = (used, system)
        passed = system - system_before
        cores = (used - used_before) / passed * int(cpu.get("online_cpus") or 1) if passed > 0 else 0.0
        return max(0.0, cores), int((told.get("memory_stats") or {}).get("usage") or 0)


@asynccontextmanager
async def connected(host: str) -> AsyncIterator[tuple[docker.DockerClient, ThreadPoolExecutor]]:
    """Connect to an engine for the length of the block; nothing has to answer there yet.

    Args:
        host: its socket, unix:///path.

    Yields:
        the client, and the threads that its calls are made on.
    """
    with ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="container-engine") as executor:
        # The version is one that Docker 20 and podman 4 speak; asking for it would need an engine that answers.
        client = docker.DockerClient(host, version=API_VERSION, timeout=round(CALL_SECONDS_MAX))
        try:
            yield client, executor
        finally:
            await run_blocking(executor, client.close)


async def _for_ever(look: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await look()


def _end(container: Container) -> None:
    try:
        container.stop(timeout=DRAIN_SECONDS)
        container.remove(force=True)
    except NotFound:
        return
