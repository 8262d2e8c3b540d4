"""The driver `docker`: functions as containers of an engine that speaks Docker's API.

Invariant: what `create` returned from has answered a request; a container whose start fails goes with its image.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from skerry.functions.containers.engine import ContainerEngine, ContainerSpec, ContainerState
from skerry.functions.containers.images import OWNER_LABEL, DockerImageBuilder
from skerry.functions.draining import GoingOn
from skerry.functions.entities import Exec, Function, FunctionExecution
from skerry.functions.errors import FunctionError, NoDeployment, SystemError  # noqa: A004 - see errors
from skerry.functions.messages import CallStart, Context, Message, Runnable, start_of
from skerry.functions.remote.http import call, until_ready
from skerry.kit.tasks import SharedCalls

#: Labels of Dispatch's own driver.
_FUNCTION_LABEL, _REVISION_LABEL = "dispatch-function-id", "dispatch-function-revision"
_PORT = 8080
#: Processes of one container, which base images that know `SERVERS` start: runs at once of one function.
_SERVERS = 4
#: How long a look at /healthz may take.
_HEALTH_SECONDS_MAX = 5.0
#: Characters of a function's name in that of its container.
_NAME_CHARACTERS_MAX = 63


@dataclass(frozen=True)
class DockerSettings:
    """How functions are run.

    Attributes:
        owner: tells our containers from others on the same engine.
        network: the engine's network; "" for its default.
        memory_bytes_max: of one container.
        cpus: cores of one container.
    """

    owner: str = ""
    network: str = ""
    memory_bytes_max: int = 256 << 20
    cpus: float = 1.0


class DockerDriver:
    """Runs functions in containers, published on loopback, and calls them there.

    Args:
        settings: how.
        images: makes their images.
        engine: runs them.
        client: calls them; its timeouts and limits bound each call.
    """

    def __init__(
        self, settings: DockerSettings, images: DockerImageBuilder, engine: ContainerEngine, client: httpx.AsyncClient
    ) -> None:
        self._settings = settings
        self._images = images
        self._engine = engine
        self._client = client
        self._addresses: dict[str, str] = {}
        self._calls: defaultdict[str, GoingOn] = defaultdict(GoingOn)
        #: Deployments that are being removed: their calls end, and no other begins.
        self._leaving: set[str] = set()
        #: The starts of containers that have ended: one for all runs that find it so.
        self._starts = SharedCalls[str, int]("docker-starts")

    async def create(self, function: Function, exec_: Exec) -> None:
        """Build a function's image, start it and wait until it answers; all of it, or nothing.

        Raises:
            BuildError: the code does not build: no such handler, does not load.
            FunctionError: the container ends before it answers; its last words are told.
            SystemError: the engine does not work; the container does not answer in time.
        """
        try:
            image = await self._images.build_image("docker", function.faas_id, exec_)
            name = f"dispatch-{function.name[:_NAME_CHARACTERS_MAX]}-{function.faas_id}"
            labels = {_FUNCTION_LABEL: function.id, **self._labels(function.faas_id)}
            await self._engine.start(self._spec(name, labels, image))
            await self._until_ready(function.faas_id)
        except BaseException:
            with suppress(
                SystemError
            ):  # an engine that is away is told by the first error; the leftovers are found again
                await self.delete(function)
            raise

    def _spec(self, name: str, labels: Mapping[str, str], image: str) -> ContainerSpec:
        return ContainerSpec(
            image=image,
            name=name,
            labels=labels,
            environment={"PORT": str(_PORT), "SERVERS": str(_SERVERS)},
            port=_PORT,
            network=self._settings.network,
            memory_bytes_max=self._settings.memory_bytes_max,
            cpus=self._settings.cpus,
        )

    def _labels(self, faas_id: str) -> dict[str, str]:
        return {OWNER_LABEL: self._settings.owner, _REVISION_LABEL: faas_id}

    async def _until_ready(self, faas_id: str) -> None:
        await until_ready(lambda: self._answers(faas_id), "the function's container")

    async def _answers(self, faas_id: str) -> bool:
        container = await self._container(faas_id)
        if not container.running:
            said = await self._engine.logs(container.name)
            raise FunctionError(f"the container ended with exit code {container.exit_code}: {said}")
        try:
            answer = await self._client.get(f"{container.address}/healthz", timeout=_HEALTH_SECONDS_MAX)
        except httpx.HTTPError:
            return False  # it does not listen yet
        if answer.status_code != httpx.codes.OK:
            return False
        self._addresses[faas_id] = container.address
        return True

    async def _container(self, faas_id: str) -> ContainerState:
        found = await self._engine.containers(self._labels(faas_id))
        if not found:
            raise NoDeployment(f"missing container for function {faas_id}")
        return found[0]

    async def delete(self, function: Function) -> None:
        """Remove a deployment's container and image once its calls have ended; one that is not there is no error."""
        faas_id = function.faas_id
        self._leaving.add(faas_id)
        try:
            if calls := self._calls.get(faas_id):
                await calls.drained()
            self._addresses.pop(faas_id, None)
            for container in await self._engine.containers(self._labels(faas_id)):
                await self._engine.remove(container.name)
            await self._images.remove_image(faas_id)
        finally:
            self._leaving.discard(faas_id)

    async def deployments(self) -> set[str]:
        """Return the deployments that have a container; one that has ended is started again when it is called."""
        found = await self._engine.containers({OWNER_LABEL: self._settings.owner})
        return {container.labels[_REVISION_LABEL] for container in found if _REVISION_LABEL in container.labels}

    async def remove_leftovers(self) -> None:
        """Remove images of functions that have no container: a crash came between the two."""
        for faas_id in await self._images.built_for() - await self.deployments():
            await self._images.remove_image(faas_id)

    def get_runnable(self, execution: FunctionExecution) -> Runnable:
        """Give what calls a deployment; NoDeployment is raised at its call where it has no container."""
        faas_id = execution.faas_id

        async def run(context: Context, payload: Any) -> Any:
            if faas_id in self._leaving:
                raise NoDeployment(f"the deployment {faas_id} of the function is being removed")
            calls = self._calls[faas_id]
            calls.begin()
            try:
                return await self._call(faas_id, Message(context, payload))
            finally:
                calls.end()
                if not calls:
                    self._calls.pop(faas_id, None)

        return run

    async def _call(self, faas_id: str, message: Message) -> Any:
        """Call a container, which may have ended meanwhile: it is started again where the call did not reach it."""
        try:
            if address := self._addresses.get(faas_id):
                return await call(self._client, f"{address}/", message)
        except SystemError as error:
            if isinstance(error.__cause__, httpx.TransportError):
                self._addresses.pop(faas_id, None)  # it may be elsewhere when it is back
            if not isinstance(error.__cause__, httpx.ConnectError):
                raise
        start = start_of(message.context)
        with start.held_up():
            address = await self._started(faas_id, start)
        return await call(self._client, f"{address}/", message)

    async def _started(self, faas_id: str, start: CallStart) -> str:
        """Return where a deployment is called, after starting its container if it has ended."""
        start.cold_starts += await self._starts.run(faas_id, lambda: self._cold_starts(faas_id))
        await self._until_ready(faas_id)
        return self._addresses[faas_id]

    async def _cold_starts(self, faas_id: str) -> int:
        """Have a deployment's container run; return how many starts that took."""
        container = await self._container(faas_id)
        if container.running:
            return 0
        try:
            await self._engine.start_again(container.name)
        except SystemError:  # another one has another port
            await self._engine.remove(container.name)
            await self._engine.start(self._spec(container.name, container.labels, self._images.name_of(faas_id)))
        return 1
