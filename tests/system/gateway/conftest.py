"""A real Envoy with our xDS server, and a trivial upstream on a Unix socket."""

import asyncio
import contextlib
import inspect
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import wasmtime

from skerry.gateway.envoy import Envoy, run_envoy
from skerry.gateway.envoy_bootstrap import EnvoySettings
from skerry.gateway.envoy_config import EdgeSettings
from skerry.gateway.envoy_snapshot import build_snapshot
from skerry.gateway.resources import NodeFacts, Resources
from skerry.gateway.translate import Translation, translate
from skerry.gateway.xds import XdsServer, serve_xds
from skerry.gateway.xds_stream import Rejection
from skerry.testing.gateway_resources import read_resources
from skerry.testing.plugins import built
from skerry.testing.ports import own_port

TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.005
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Request:
    """What an upstream was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, str]


@dataclass
class Upstream:
    """An HTTP/1.1 server that answers what it was asked, as JSON; `answer` may be replaced.

    `headers` are lines of every answer, each ended by CR LF.
    """

    name: str
    headers: str = ""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Awaitable[Answer]] | None = None
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while request := await self._read(reader):
                self.requests.append(request)
                status, body = await (self.answer or self.echo)(request)
                data = body.encode()
                own = f"content-type: application/json\r\ncontent-length: {len(data)}\r\n"
                writer.write(
                    f"HTTP/1.1 {status} X\r\n{self.headers}{own}\r\n".encode()
                    + (b"" if request.method == "HEAD" else data)
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        line = await reader.readline()
        if not line:
            return None
        method, path, _ = line.decode().split()
        headers: dict[str, str] = {}
        while (line := await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            name = name.strip().lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join([piece async for piece in self._pieces(reader)])
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, path, headers, body)

    async def _pieces(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while length := int(await reader.readline(), 16):
            yield await reader.readexactly(length)
            await reader.readline()
        await reader.readline()

    async def echo(self, request: Request) -> Answer:
        told = {"upstream": self.name, "method": request.method, "path": request.path, "headers": request.headers}
        return 200, json.dumps(told | {"size": len(request.body)})

    async def listen_unix(self, path: Path) -> None:
        self.server = await asyncio.start_unix_server(self.handle, path)

    async def listen_tcp(self, context: ssl.SSLContext | None = None) -> int:
        self.server = await asyncio.start_server(self.handle, "127.0.0.1", 0, ssl=context)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    def kill(self) -> None:
        """Reset every connection and stop listening, as the death of a process does."""
        assert self.server is not None
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()


@dataclass
class Edge:
    """A running Envoy and how to talk to it."""

    envoy: Envoy
    xds: XdsServer
    client: httpx.AsyncClient
    port: int
    node: NodeFacts
    settings: EnvoySettings
    edge_settings: EdgeSettings

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def load(self, text: str) -> Resources:
        """Read resources; PORT in their text is the port of this Envoy."""
        return read_resources(text.replace("PORT", str(self.port)), self.node)

    async def apply(self, text: str) -> tuple[Translation, tuple[Rejection, ...]]:
        """Translate resources and wait until Envoy has taken them."""
        translation = translate(self.load(text))
        generation = self.xds.set_snapshot(build_snapshot(translation.ir, self.edge_settings))
        return translation, await self.xds.wait_until_applied(generation, timeout_seconds=TIMEOUT_SECONDS)

    async def get(self, url: str, **more: Any) -> httpx.Response:
        """Send a request to `host/path` through Envoy."""
        host, _, path = url.partition("/")
        headers = {"host": host} | more.pop("headers", {})
        return await self.client.request(more.pop("method", "GET"), f"{self.base_url}/{path}", headers=headers, **more)


@asynccontextmanager
async def start_edge(
    directory: Path, text: str, node: NodeFacts | None = None, port: int = 0, trusted_ca: str = SYSTEM_CA
) -> AsyncIterator[Edge]:
    """Run an Envoy with resources; PORT in their text becomes a free port."""
    port, node = port or own_port(), node or NodeFacts()
    socket_path = str(directory / "xds.sock")
    settings = EnvoySettings("test", directory / "run", directory / "logs", socket_path, drain_seconds=2.0)
    edge_settings = EdgeSettings(access_log=str(settings.access_log), trusted_ca=trusted_ca)
    client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False)
    async with serve_xds(socket_path) as xds, client:
        translation = translate(read_resources(text.replace("PORT", str(port)), node))
        generation = xds.set_snapshot(build_snapshot(translation.ir, edge_settings))
        async with run_envoy(settings) as envoy:
            edge = Edge(envoy, xds, client, port, node, settings, edge_settings)
            await envoy.ready(timeout_seconds=TIMEOUT_SECONDS)
            await xds.wait_until_applied(generation, timeout_seconds=TIMEOUT_SECONDS)
            yield edge


EdgeStarter = Callable[..., AbstractAsyncContextManager[Edge]]


@pytest.fixture
def edge_with(tmp_path: Path) -> EdgeStarter:
    """Start an Envoy in the test's own directory."""
    counter = iter(range(100))

    def start(
        text: str, node: NodeFacts | None = None, port: int = 0, trusted_ca: str = SYSTEM_CA
    ) -> AbstractAsyncContextManager[Edge]:
        directory = tmp_path / str(next(counter))
        directory.mkdir()
        return start_edge(directory, text, node, port, trusted_ca)

    return start


@pytest.fixture(scope="session")
def any_edge() -> Callable[..., AbstractAsyncContextManager[Edge]]:
    """`start_edge`, for a module's own directory and length."""
    return start_edge


@asynccontextmanager
async def engine(directory: Path, *, workers: int = 1) -> AsyncIterator[tuple[list[Upstream], NodeFacts]]:
    """Run upstreams in the place of engine workers."""
    upstreams = [Upstream(f"worker-{index}") for index in range(workers)]
    paths = [directory / f"worker-{index}.sock" for index in range(workers)]
    for upstream, path in zip(upstreams, paths, strict=True):
        await upstream.listen_unix(path)
    try:
        yield upstreams, NodeFacts(engine_sockets=tuple(str(path) for path in paths))
    finally:
        for upstream in upstreams:
            with contextlib.suppress(AssertionError):
                upstream.kill()


EngineStarter = Callable[..., AbstractAsyncContextManager[tuple[list[Upstream], NodeFacts]]]


@pytest.fixture
def engine_with(tmp_path: Path) -> EngineStarter:
    """Start stand-ins for engine workers: `engine_with(workers=2)` gives them and the node's facts."""
    return lambda **more: engine(tmp_path, **more)


@pytest.fixture(scope="session")
def new_upstream() -> Callable[[str], Upstream]:
    """Make an upstream that does not listen yet."""
    return Upstream


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Awaitable[None]]:
    """Wait for a state of another process or task, given as a condition, which may be async."""

    async def wait(condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                holds = condition()
                if await holds if inspect.isawaitable(holds) else holds:
                    return
                await asyncio.sleep(POLL_SECONDS)

    return wait


@pytest.fixture
def free_port_number() -> int:
    """A port that nothing listens on."""
    return own_port()


@pytest.fixture
def probe(repository: Path) -> Path:
    """The module of tests/wasm/probe.ts, which does what its configuration says."""
    return built(repository, "probe")


@pytest.fixture
def sentry(repository: Path) -> Path:
    """The module of tests/wasm/sentry.c, which does what its configuration says."""
    return built(repository, "sentry")


@pytest.fixture
def environment_module(repository: Path, tmp_path: Path) -> Path:
    """The module of tests/wasm/environment.wat."""
    return assembled(repository, tmp_path, "environment")


@pytest.fixture
def close_module(repository: Path, tmp_path: Path) -> Path:
    """The module of tests/wasm/close.wat."""
    return assembled(repository, tmp_path, "close")


def assembled(repository: Path, directory: Path, name: str) -> Path:
    path = directory / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm((repository / "tests" / "wasm" / f"{name}.wat").read_text()))
    return path
