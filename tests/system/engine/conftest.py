"""The real engine, built once, and functions written in a line or two."""

import gc
import http.client
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from skerry.artifacts.wasm_module import javascript_module
from skerry.engine.egress import EgressPolicy
from skerry.engine.fetching import Fetcher, FunctionFetcher
from skerry.engine.host import JavaScriptEngine
from skerry.engine.instances import PooledInstance, Reply, Surroundings
from skerry.engine.javascript import Instance
from skerry.engine.manifest import FunctionManifest, write_manifest
from skerry.engine.workers import Workers, WorkerSettings, run_workers

if TYPE_CHECKING:
    from skerry.engine.kv_operations import FunctionKeyValues

ROOT = Path(__file__).resolve().parents[3]
COMPONENT = ROOT / "js-engine" / "dist" / "skerry-js-engine.wasm"
#: Shared by all runs of the tests: compiling takes 10 s.
CACHE = ROOT / ".cache" / "engine"

#: How long a call may take that is to come to an end by itself; on a busy machine it may stand still for seconds.
SECONDS_MAX = 60

Headers = list[tuple[str, str]]


def bundled(body: str) -> str:
    """Return what esbuild makes of a module whose members `body` returns."""
    return f'"use strict";\nvar skerryModule = (() => {{\n{body}\n}})();\nskerryModule;'


@contextmanager
def without_collection() -> Iterator[None]:
    """Have cycles of references stay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def count_of(kind: type) -> int:
    """Return how many objects of a class there are; compiled ones have no weak references, which would tell."""
    return sum(type(each) is kind for each in gc.get_objects())


def handler(body: str) -> str:
    """Return a bundle whose fetch handler has this body."""
    return bundled(f"return {{default: {{async fetch(request, env, ctx) {{\n{body}\n}}}}}};")


@dataclass
class Said:
    """What a function said on its console."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    on_line: Callable[[], None] = lambda: None

    def take(self, level: int, message: bytes) -> None:
        self.lines.append((level, message.decode()))
        self.on_line()


@dataclass
class Answer:
    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


def answered(reply: Reply) -> Answer:
    lines = reply.head.decode().split("\r\n")[:-1]
    return Answer(reply.status, [(line.partition(": ")[0], line.partition(": ")[2]) for line in lines], reply.body)


@dataclass
class Loaded:
    """One instance with one bundle."""

    instance: Instance
    said: Said

    def call(
        self,
        method: str = "GET",
        url: str = "http://hello.test/",
        *,
        headers: Headers | None = None,
        body: bytes = b"",
        timeout_seconds: float = SECONDS_MAX,
    ) -> Answer:
        lines = [method, url, *(part for header in headers or [] for part in header)]
        return answered(self.instance.handle("\n".join(lines).encode(), body, timeout_seconds))


class Loader:
    def __init__(self, engine: JavaScriptEngine) -> None:
        self.engine = engine
        self.resources = ExitStack()
        self.fetcher: FunctionFetcher | None = self.fetcher_that_may_reach("127.0.0.1")
        self.key_values: FunctionKeyValues | None = None
        self.on_look: Callable[[PooledInstance], None] = lambda _: None

    def fetcher_that_may_reach(self, *hosts: str, **options: Any) -> FunctionFetcher:
        return self.fetcher_with(EgressPolicy.parse(hosts), **options)

    def fetcher_with(self, policy: EgressPolicy, **options: Any) -> FunctionFetcher:
        """Return a fetcher of its own, with the options of `Fetcher`."""
        fetcher = Fetcher(lambda _: policy, **options)
        self.resources.callback(fetcher.close)
        return fetcher.of("test")

    def handler(self, body: str, env: dict[str, str] | None = None, *, memory_mib: int = 128) -> Loaded:
        """Load a fetch handler of this body."""
        return self.bundle(handler(body), env, memory_mib=memory_mib)

    def module(self, body: str, env: dict[str, str] | None = None) -> Loaded:
        """Load a bundle whose module code is this."""
        return self.bundle(bundled(body), env)

    def bundle(self, bundle: str, env: dict[str, str] | None = None, *, memory_mib: int = 128) -> Loaded:
        said = Said()
        manifest = FunctionManifest(
            revision="f-1",
            function="f",
            artifact=Path("/unused"),
            env=env or {},
            memory_bytes_max=memory_mib << 20,
        )
        surroundings = Surroundings(said.take, self.fetcher, self.key_values, on_look=self.on_look)
        instance = self.engine.start(bundle.encode(), manifest, surroundings)
        return Loaded(instance, said)


@pytest.fixture(scope="session")
def component() -> Path:
    """Build the engine where it is missing or out of date."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("these tests need Node on PATH to build the engine component: run `make setup`")
    subprocess.run([node, "build.mjs"], cwd=ROOT / "js-engine", check=True, timeout=300)
    return COMPONENT


@pytest.fixture(scope="session")
def engine(component: Path) -> Iterator[JavaScriptEngine]:
    with JavaScriptEngine(component, CACHE) as engine:
        yield engine


@pytest.fixture
def load(engine: JavaScriptEngine) -> Iterator[Loader]:
    loader = Loader(engine)
    with loader.resources:
        yield loader


class Node:
    """Running workers, and the directories that they read."""

    def __init__(self, settings: WorkerSettings, workers: Workers) -> None:
        self.settings = settings
        self.workers = workers

    def deploy(
        self, revision: str, body: str, *, timeout_seconds: float = SECONDS_MAX, memory_mib: int = 128, **limits: Any
    ) -> None:
        """Make a revision known whose fetch handler has this body; `limits` are further ones of its manifest."""
        artifact = self.settings.run_dir / f"{revision}.wasm"
        artifact.write_bytes(javascript_module(handler(body)))
        manifest = FunctionManifest(
            revision=revision,
            function=revision.rpartition("-")[0],
            artifact=artifact,
            timeout_seconds=timeout_seconds,
            memory_bytes_max=memory_mib << 20,
            **limits,
        )
        write_manifest(self.settings.functions_dir, manifest)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Look until a condition of other processes holds, for `SECONDS_MAX` at most."""
        with anyio.fail_after(SECONDS_MAX):
            while not await condition():  # noqa: ASYNC110 - another process has no event to give
                await anyio.sleep(0.01)

    def request(
        self,
        revision: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        worker: int = 0,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        connection = _UnixConnection(self.workers.socket_paths[worker])
        try:
            sent = {"x-skerry-revision": revision, "host": "hello.test", **(headers or {})}
            connection.request(method, "/", body=body or None, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=2 * SECONDS_MAX)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@pytest.fixture
async def node(component: Path, tmp_path: Path) -> AsyncIterator[Node]:
    settings = WorkerSettings(
        run_dir=tmp_path / "run",
        functions_dir=tmp_path / "functions",
        logs_dir=tmp_path / "logs",
        kv_file=tmp_path / "kv" / "kv.db",
        engine_cache=CACHE,
        component=component,
        count=1,
        drain_seconds=60,
    )
    async with run_workers(settings) as workers:
        yield Node(settings, workers)
