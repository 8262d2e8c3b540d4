"""An engine of containers, through Docker's API: Docker's own, and podman's.

Owns every word with the engine, and that none blocks the event loop: the SDK's calls run on threads of a bounded pool.
Does not own what is built or run.
"""

import io
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import Ulimit

from skerry.functions.errors import BuildError, SystemError  # noqa: A004 - see errors
from skerry.kit.deadlines import within
from skerry.kit.errors import ConfigurationError
from skerry.kit.tasks import run_blocking

#: Calls at once.
THREADS_MAX = 4
#: Of one call; what takes longer (a build, a pull) tells of itself meanwhile.
CALL_SECONDS_MAX = 60.0
#: Of a pull, as in Dispatch.
PULL_SECONDS_MAX = 120.0
BUILD_SECONDS_MAX = 900.0
#: Containers that are made for one, where they do not start.
STARTS_MAX = 3
#: Of what is copied out of an image.
COPIED_BYTES_MAX = 64 << 20
#: Quoted of an engine's words.
SAID_CHARACTERS_MAX = 4000
LOG_LINES_MAX = 50
#: What an image without a name is called in lists.
_NO_NAME = "<none>:<none>"

T = TypeVar("T")


@dataclass(frozen=True)
class ContainerSpec:
    """A container to run.

    Attributes:
        image: what it is made of.
        name: its name.
        labels: what it is found by.
        environment: its environment variables.
        port: the port that it serves on, published on a free port of loopback.
        network: the engine's network; "" for its default.
        memory_bytes_max: of all its processes.
        cpus: cores that it may use.
    """

    image: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 8080
    network: str = ""
    memory_bytes_max: int = 256 << 20
    cpus: float = 1.0


@dataclass(frozen=True)
class ContainerState:
    """A container as it is now.

    Attributes:
        name: its name.
        labels: its labels.
        running: whether it runs.
        exit_code: how it ended.
        address: where its port is published; "" where it is not.
    """

    name: str
    labels: Mapping[str, str]
    running: bool
    exit_code: int
    address: str


#: Bounds of what runs in a container, beside memory and processor time. Some kernels refuse an engine's own defaults.
_PROCESSES_MAX = 512
_ULIMITS = (Ulimit(name="nofile", soft=1024, hard=1024), Ulimit(name="nproc", soft=4096, hard=4096))


class ContainerEngine:
    """What functions need of an engine; `connected()` makes one."""

    def __init__(self, client: docker.DockerClient, executor: ThreadPoolExecutor) -> None:
        self._client = client
        self._executor = executor

    async def _call(self, call: Callable[[], T], *, seconds: float = CALL_SECONDS_MAX) -> T:
        """Make a blocking call; raises SystemError where the engine refuses, is away or takes too long."""
        try:
            with within(seconds) as limit:
                return await run_blocking(self._executor, call)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SystemError(f"the container engine did not answer within {seconds:.0f} s") from error
        except (DockerException, requests.RequestException) as error:
            raise SystemError(f"container engine: {_said(error)}") from error

    async def image_id(self, image: str) -> str | None:
        """Return an image's id; None where it is not there."""
        found = await self._call(lambda: _found(lambda: self._client.images.get(image)))
        return str(found.id) if found else None

    async def image_label(self, image: str, label: str) -> str:
        """Return what a label of an image says; "" where it has none such."""
        found = await self._call(lambda: _found(lambda: self._client.images.get(image)))
        return str(found.labels.get(label) or "") if found else ""

    async def pull(self, image: str) -> None:
        """Bring an image from its registry."""
        await self._call(lambda: self._client.images.pull(image), seconds=PULL_SECONDS_MAX)

    async def push(self, image: str) -> None:
        """Bring an image to its registry; raises SystemError with its refusal."""

        def push() -> None:
            for said in self._client.api.push(image, stream=True, decode=True):
                if "error" in said:
                    raise SystemError(f"{image} could not be pushed: {said['error'].strip()}")

        await self._call(push, seconds=BUILD_SECONDS_MAX)

    async def copy_out(self, image: str, path: str) -> bytes | None:
        """Return a folder of an image, as a tar of the folder itself; None where there is no such folder.

        Raises:
            SystemError: it is over `COPIED_BYTES_MAX`; there is no such image.
        """

        def copy() -> bytes | None:
            container = self._client.containers.create(image, ["none"])
            try:
                found = _found(lambda: container.get_archive(path))
                return _joined(found[0], f"{path} of image {image}") if found else None
            finally:
                container.remove(force=True)

        return await self._call(copy)

    async def build(self, context: bytes, image: str, arguments: Mapping[str, str], labels: Mapping[str, str]) -> None:
        """Build an image of a tar with a Dockerfile.

        Raises:
            BuildError: it does not build, with what was said since the last step.
        """

        def build() -> None:
            said: list[str] = []
            stream = self._client.api.build(
                fileobj=io.BytesIO(context),
                custom_context=True,
                tag=image,
                buildargs=dict(arguments),
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
            )
            for line in stream:
                text = str(line.get("stream", ""))
                said = [text] if text.lower().startswith("step ") else [*said, text]
                if "error" in line:
                    raise BuildError(f"{line['error'].strip()}\n{''.join(said).strip()[-SAID_CHARACTERS_MAX:]}")

        await self._call(build, seconds=BUILD_SECONDS_MAX)

    async def images(self, labels: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
        """Return the images with these labels: each name to its labels."""
        # As the engine lists them: the SDK's own list looks at each by itself, and fails where one goes meanwhile.
        found = await self._call(lambda: self._client.api.images(filters=_one_of(labels)))
        told = [(image.get("Labels") or {}, image.get("RepoTags") or ()) for image in found]
        ours = [(its, tags) for its, tags in told if labels.items() <= its.items()]
        return {tag: dict(its) for its, tags in ours for tag in tags if tag != _NO_NAME}

    async def remove_image(self, image: str) -> None:
        """Remove an image; one that is not there or is in use is left."""

        def remove() -> None:
            try:
                self._client.images.remove(image)
            except APIError as error:
                if error.status_code not in {404, 409}:
                    raise

        await self._call(remove)

    async def containers(self, labels: Mapping[str, str]) -> list[ContainerState]:
        """Return the containers with these labels, those that have ended, too."""

        def find() -> list[ContainerState]:
            # `list` looks at each by itself; one that goes meanwhile is no error.
            found = self._client.containers.list(all=True, filters=_one_of(labels), ignore_removed=True)
            return [_state(container) for container in found if labels.items() <= container.labels.items()]

        return await self._call(find)

    async def start(self, spec: ContainerSpec) -> None:
        """Create a container, and start it; another one where it does not start.

        podman picks a container's port as it creates it, and binds it as it starts it: somebody else may come between.
        """

        def is_started() -> bool:
            container = self._created(spec)
            try:
                container.start()
            except APIError:
                container.remove(force=True)
                return False
            return True

        for _ in range(STARTS_MAX - 1):
            if await self._call(is_started):
                return
        await self._call(lambda: self._created(spec).start())

    def _created(self, spec: ContainerSpec) -> Container:
        # Typed by hand: the stubs know no port that the engine picks, and no restart without a count.
        more: dict[str, Any] = {"network_mode": spec.network} if spec.network else {}
        more["restart_policy"] = {"Name": "unless-stopped"}
        more["ports"] = {f"{spec.port}/tcp": ("127.0.0.1", None)}
        return self._client.containers.create(
            spec.image,
            name=spec.name,
            labels=dict(spec.labels),
            environment=dict(spec.environment),
            mem_limit=spec.memory_bytes_max,
            memswap_limit=spec.memory_bytes_max,
            nano_cpus=round(spec.cpus * 1e9),
            pids_limit=_PROCESSES_MAX,
            ulimits=list(_ULIMITS),
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            **more,
        )

    async def start_again(self, name: str) -> None:
        """Start a container that has ended; raises SystemError where its port, which podman keeps, is another's now."""
        await self._call(lambda: _found(lambda: self._client.containers.get(name).start()))

    async def logs(self, name: str) -> str:
        """Return the last lines that a container printed; "" where it is not there."""
        said = await self._call(lambda: _found(lambda: self._client.containers.get(name).logs(tail=LOG_LINES_MAX)))
        return (said or b"").decode(errors="replace").strip()[-SAID_CHARACTERS_MAX:]

    async def remove(self, name: str) -> None:
        """End a container and remove it; one that is not there is no error."""
        await self._call(lambda: _found(lambda: self._client.containers.get(name).remove(force=True)))


@asynccontextmanager
async def connected(host: str, config: Path | None = None) -> AsyncIterator[ContainerEngine]:
    """Connect to an engine for the length of the block.

    Args:
        host: its socket, unix:///path.
        config: credentials for registries, a config.json of Docker; need not exist.

    Raises:
        ConfigurationError: nothing answers there.
    """

    def connect() -> docker.DockerClient:
        # Tried by hand first: a client that could not connect leaves sockets open.
        with socket.socket(socket.AF_UNIX) as tried:
            tried.connect(host.removeprefix("unix://"))
        client = docker.DockerClient(host, version="auto", timeout=round(CALL_SECONDS_MAX))
        if config is not None and config.is_file():
            client.api.reload_config(str(config))
        return client

    with ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="container-engine") as executor:
        try:
            client = await run_blocking(executor, connect)
        except (OSError, DockerException, requests.RequestException) as error:
            raise ConfigurationError(
                f"faas_docker_host: no container engine answers at {host}: start Docker, or `podman system service`",
                detail=_said(error),
            ) from error
        try:
            yield ContainerEngine(client, executor)
        finally:
            await run_blocking(executor, client.close)


def _found(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except NotFound:
        return None


def _said(error: Exception) -> str:
    explanation = getattr(error, "explanation", None)
    return str(explanation or error)[:SAID_CHARACTERS_MAX]


def _one_of(labels: Mapping[str, str]) -> dict[str, Any]:
    """Ask for one of several labels, the last: podman finds no image by two."""
    key, value = list(labels.items())[-1]
    return {"label": f"{key}={value}"}


def _joined(parts: Iterable[bytes], what: str) -> bytes:
    joined = bytearray()
    for part in parts:
        joined += part
        if len(joined) > COPIED_BYTES_MAX:
            raise SystemError(f"{what} has more than {COPIED_BYTES_MAX} bytes")
    return bytes(joined)


def _state(container: Container) -> ContainerState:
    state = container.attrs.get("State") or {}
    published = [at for ports in (container.ports or {}).values() for at in ports or ()]
    address = f"http://127.0.0.1:{published[0]['HostPort']}" if published else ""
    return ContainerState(
        name=str(container.name),
        labels=dict(container.labels),
        running=container.status == "running",
        exit_code=int(state.get("ExitCode") or 0),
        address=address,
    )
