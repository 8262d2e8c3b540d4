"""Where functions with typed input and output run: the driver that is set, wired to what it needs."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import httpx

from skerry.api.core_v1 import Namespace
from skerry.client.client import Client
from skerry.functions import FaaSDriver, NoopDriver
from skerry.functions.images import BuiltImages, ImageBuilder, ImageStore
from skerry.functions.remote.knative import KnativeDriver, KnativeSettings
from skerry.functions.remote.openfaas import OpenFaasDriver, OpenFaasSettings
from skerry.functions.remote.openwhisk import OpenWhiskDriver, OpenWhiskSettings
from skerry.main.configuration import Settings, faas_settings
from skerry.main.faas_settings import FaasSettings

#: A driver, and what makes its images.
Deploying: TypeAlias = tuple[FaaSDriver, ImageStore]
#: The namespace whose UID tells this Skerry's functions from others on the same engine.
_OWNER_NAMESPACE = "default"
#: How long an engine may take to answer: as long as the longest run.
CALL_SECONDS_MAX = 3600.0
CONNECT_SECONDS_MAX = 10.0
#: So many connections are kept for the next calls. How many calls go on at once is bounded by who calls: a bound of the
#: client would be one for all functions, and a slow one would keep the others from being called.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


@asynccontextmanager
async def deploying(
    settings: Settings, client: Client, local: AbstractAsyncContextManager[Deploying]
) -> AsyncIterator[Deploying]:
    """Run functions by the driver that is set for the length of the block.

    Args:
        settings: all of them.
        client: knows who owns the functions.
        local: the driver of this machine; entered where it is wanted.

    Raises:
        ConfigurationError: the container engine that is set does not answer.
    """
    faas = faas_settings(settings)
    if faas.faas == "local":
        async with local as on:
            yield on
    elif faas.faas == "noop":
        yield NoopDriver(), BuiltImages()
    else:
        owner = (await client.get(Namespace, _OWNER_NAMESPACE)).uid
        async with _docker(faas, settings.docker_config, owner) if _builds(faas) else _remote(faas, owner) as on:
            yield on


def _builds(faas: FaasSettings) -> bool:
    return faas.faas == "docker" or bool(faas.faas_registry)


@asynccontextmanager
async def _docker(faas: FaasSettings, config: Path, owner: str) -> AsyncIterator[Deploying]:
    """Build images with the container engine, and run them there or on the remote engine."""
    # The SDK takes a tenth of a second to import, and most who run functions run none in containers.
    from skerry.functions.containers.driver import DockerDriver, DockerSettings
    from skerry.functions.containers.engine import connected
    from skerry.functions.containers.images import DockerImageBuilder, DockerImages, DockerImageSettings

    images = DockerImageSettings(registry=faas.faas_registry, owner=owner)
    async with connected(faas.faas_docker_host, config) as engine, _caller() as caller:
        builder, store = DockerImageBuilder(images, engine), DockerImages(images, engine)
        if faas.faas != "docker":
            async with _remote(faas, owner, builder) as (driver, _):
                yield driver, store
            return
        how = DockerSettings(owner, faas.faas_docker_network, faas.faas_memory_bytes_max, faas.faas_cpus_max)
        docker = DockerDriver(how, builder, engine, caller)
        await docker.remove_leftovers()
        yield docker, store


@asynccontextmanager
async def _remote(faas: FaasSettings, owner: str, builder: ImageBuilder | None = None) -> AsyncIterator[Deploying]:
    """Run functions on an engine that runs elsewhere; images are built elsewhere, too, unless there is a builder."""
    built = BuiltImages()
    images = builder or built
    async with _caller(faas) as client, _caller() as anonymous:
        match faas.faas:
            case "openfaas":
                yield OpenFaasDriver(OpenFaasSettings(faas.faas_url, owner=owner), images, client), built
            case "openwhisk":
                how = OpenWhiskSettings(faas.faas_url, faas.faas_namespace or "_", owner)
                yield OpenWhiskDriver(how, images, client), built
            case _:
                knative = KnativeSettings(
                    faas.faas_url, faas.faas_namespace or "default", faas.faas_ingress_url, owner=owner
                )
                yield KnativeDriver(knative, images, client, anonymous), built


def _caller(faas: FaasSettings | None = None) -> httpx.AsyncClient:
    """Make a client: of the remote engine, with its credentials; or of functions, with none."""
    auth, headers = _authentication(faas) if faas else (None, {})
    return httpx.AsyncClient(
        verify=ssl.create_default_context(cafile=faas.faas_ca_file) if faas and faas.faas_ca_file else True,
        auth=auth,
        headers=headers,
        timeout=httpx.Timeout(CALL_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
        limits=_LIMITS,
        trust_env=False,
    )


def _authentication(faas: FaasSettings) -> tuple[httpx.Auth | None, dict[str, str]]:
    """Return what a client of the engine says of itself: a name and password, or a token in a header."""
    credentials = faas.credentials()
    if not credentials:
        return None, {}
    if faas.faas == "knative":
        return None, {"authorization": f"Bearer {credentials}"}
    name, _, password = credentials.partition(":")
    return httpx.BasicAuth(name, password), {}
