"""What the measurements of storage run side by side: Skerry on SQLite, replicas on one PostgreSQL, and etcd.

Each is a `Store`: one or several endpoints that hold the same objects, all of them with TLS on loopback, durable, and
with their data on the same disk. A store speaks a `Dialect`: how the same work is asked of Skerry and of etcd.
"""

import asyncio
import base64
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from api import Connection, close, trust
from rig import cpu_seconds, family_seconds, free_ports, process, skerry, wait_for

from skerry.cli.connection import Access, read_access
from skerry.testing.postgres_process import PostgresProcess
from skerry.testing.skerry_process import SkerryProcess

CONNECTIONS = 32
#: A ConfigMap's or an etcd value's content, in bytes: with its metadata an object of Skerry takes some 600.
CONTENT_BYTES = 344
CONTENT = base64.b64encode(bytes(range(256)) * (CONTENT_BYTES // 256 + 1)).decode()[:CONTENT_BYTES]
ETCD = Path(sys.executable).with_name("etcd")
ETCD_QUOTA_BYTES = 8 * 1024**3


@dataclass(frozen=True)
class Request:
    """One kind of request, as `wrk`'s Lua makes it.

    Attributes:
        method: of HTTP.
        path: a Lua expression.
        body: a Lua expression; nil for none.
    """

    method: str
    path: str
    body: str = "nil"


@dataclass(frozen=True)
class Change:
    """A request of which the client looks at each answer: a write, a watch, a question for the revision."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = "application/json"


@dataclass(frozen=True)
class Dialect:
    """How work is asked for. A `folder` holds objects; in Lua, `number` is that of the object.

    Attributes:
        is_skerry: whether a folder is a namespace.
    """

    is_skerry: bool

    def get(self, folder: str) -> Request:
        if self.is_skerry:
            return Request("GET", f'"{_path(folder)}/cm-" .. number')
        return Request("POST", '"/v3/kv/range"', f"""'{{"key":"{_key(folder)}' .. digits .. '"}}'""")

    def list(self, folder: str, limit: int) -> Request:
        if self.is_skerry:
            return Request("GET", f'"{_path(folder)}?limit={limit}"')
        body = f'{{"key":"{_key(folder)}","range_end":"{_end(folder)}","limit":"{limit}"}}'
        return Request("POST", '"/v3/kv/range"', f"'{body}'")

    def create(self, folder: str) -> Request:
        if self.is_skerry:
            start, end = _config_map("NUMBER").decode().split("NUMBER")
            return Request("POST", f'"{_path(folder)}"', f"'{start}' .. number .. '{end}'")
        start = f'{{"key":"{_key(folder)}'
        end = f'","value":"{base64.b64encode(CONTENT.encode()).decode()}"}}'
        return Request("POST", '"/v3/kv/put"', f"'{start}' .. digits .. '{end}'")

    def created(self, folder: str, number: int) -> Change:
        if self.is_skerry:
            return Change("POST", _path(folder), _config_map(str(number)))
        body = {"key": f"{_key(folder)}{number:08}", "value": base64.b64encode(CONTENT.encode()).decode()}
        return Change("POST", "/v3/kv/put", orjson.dumps(body))

    def changed(self, folder: str, number: int, value: int) -> Change:
        if self.is_skerry:
            body = orjson.dumps({"data": {"value": str(value)}})
            return Change("PATCH", f"{_path(folder)}/cm-{number}", body, "application/merge-patch+json")
        return self.created(folder, number)

    def got(self, folder: str, number: int) -> Change:
        if self.is_skerry:
            return Change("GET", f"{_path(folder)}/cm-{number}")
        return Change("POST", "/v3/kv/range", orjson.dumps({"key": f"{_key(folder)}{number:08}"}))

    def listed(self, folder: str, limit: int) -> Change:
        """Ask for a page, or for all where `limit` is 0."""
        if self.is_skerry:
            return Change("GET", f"{_path(folder)}?limit={limit}")
        wanted = {"key": _key(folder), "range_end": _end(folder), "limit": str(limit)}
        return Change("POST", "/v3/kv/range", orjson.dumps(wanted))

    def watch(self, folder: str, revision: str) -> Change:
        """Watch what comes after `revision`."""
        if self.is_skerry:
            return Change("GET", f"{_path(folder)}?watch=true&resourceVersion={revision}")
        wanted = {"key": _key(folder), "range_end": _end(folder), "start_revision": str(int(revision) + 1)}
        return Change("POST", "/v3/watch", orjson.dumps({"create_request": wanted}))

    def newest(self, folder: str) -> Change:
        """Ask for a list that is small, and says which revision is the newest."""
        if self.is_skerry:
            return Change("GET", f"{_path(folder)}?limit=1")
        return Change("POST", "/v3/kv/range", orjson.dumps({"key": _key(folder), "limit": "1"}))

    def revision(self, answer: bytes) -> str:
        """Return what the answer to `newest` says."""
        found = orjson.loads(answer)
        return str(found["metadata"]["resourceVersion"] if self.is_skerry else found["header"]["revision"])


def _path(folder: str) -> str:
    return f"/api/v1/namespaces/{folder}/configmaps"


def _config_map(number: str) -> bytes:
    metadata = {"name": f"cm-{number}"}
    return orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": CONTENT}})


def _key(folder: str) -> str:
    """Return what keys of etcd begin with, of a length whose base64 is not padded: eight digits may follow it."""
    return base64.b64encode(f"{folder:_<11}/".encode()).decode()


def _end(folder: str) -> str:
    return base64.b64encode(f"{folder:_<11}0".encode()).decode()  # "0" comes after "/"


SKERRY, ETCD_GATEWAY = Dialect(is_skerry=True), Dialect(is_skerry=False)


@dataclass(frozen=True)
class Endpoint:
    """A server.

    Attributes:
        access: its URL, whom to trust, and as whom to ask.
        pid: of its process.
    """

    access: Access
    pid: int

    @property
    def header(self) -> str:
        """What is sent with each request."""
        return f"Authorization: Bearer {self.access.token}" if self.access.token else "Accept: application/json"


@dataclass(frozen=True)
class Store:
    """What is measured.

    Attributes:
        name: for a table's head.
        dialect: how it is asked.
        endpoints: they hold the same objects.
        data: the file or the folder of the database, its journal left out.
        postgres: what they keep them in, where it is a server.
    """

    name: str
    dialect: Dialect
    endpoints: tuple[Endpoint, ...]
    data: Path
    postgres: PostgresProcess | None = None

    def first(self) -> "Store":
        """Return the same with the first of its endpoints alone."""
        return replace(self, endpoints=self.endpoints[:1])


@contextmanager
def sqlite(parent: Path) -> Iterator[Store]:
    """Run `skerry serve` on SQLite."""
    with skerry(parent / "sqlite", command="serve") as running:
        yield Store("SQLite", SKERRY, (_endpoint(running),), running.data_dir / "skerry.db")


@contextmanager
def replicas(parent: Path, count: int) -> Iterator[Store]:
    """Run so many `skerry serve` on a PostgreSQL of their own: it tells each that is connected of each commit."""
    with PostgresProcess.started(parent=parent, fsync=True) as postgres, ExitStack() as stack:
        running: list[SkerryProcess] = []
        for number in range(count):
            data_dir = parent / f"replica-{number}-of-{count}"
            if running:
                shutil.copytree(running[0].data_dir / "pki", data_dir / "pki")
                shutil.copy(running[0].data_dir / "kubeconfig", data_dir / "kubeconfig")
            flags = ("--database", postgres.url("postgres"))
            running.append(stack.enter_context(skerry(data_dir, *flags, command="serve")))
        data = postgres.directory / "data" / "base"
        yield Store(f"PostgreSQL, {count}", SKERRY, tuple(map(_endpoint, running)), data, postgres)


def _endpoint(running: SkerryProcess) -> Endpoint:
    assert running.process is not None
    return Endpoint(replace(read_access(running.data_dir / "kubeconfig"), server=running.api), running.process.pid)


@contextmanager
def etcd(parent: Path, certificate: Store) -> Iterator[Store]:
    """Run one etcd, with the certificate of another store's server; it syncs its log before it answers."""
    client, peer = (f"//127.0.0.1:{port}" for port in free_ports(2))
    flags = {
        "data-dir": parent / "etcd",
        "listen-client-urls": f"https:{client}",
        "advertise-client-urls": f"https:{client}",
        "listen-peer-urls": f"http:{peer}",
        "initial-advertise-peer-urls": f"http:{peer}",
        "initial-cluster": f"default=http:{peer}",
        "cert-file": parent / "sqlite" / "pki" / "server.pem",
        "key-file": parent / "sqlite" / "pki" / "server.pem",
        "quota-backend-bytes": ETCD_QUOTA_BYTES,
    }
    access = replace(certificate.endpoints[0].access, server=f"https:{client}", token="")
    with (parent / "etcd.output").open("wb") as output:
        arguments = [str(ETCD), *(f"--{name}={value}" for name, value in flags.items())]
        with process(arguments, stdout=output, stderr=output) as running:
            wait_for(int(client.rpartition(":")[2]))
            yield Store("etcd", ETCD_GATEWAY, (Endpoint(access, running.pid),), parent / "etcd" / "member" / "snap")


@contextmanager
def stores(parent: Path | None, counts: Iterable[int], *, alone: bool = False) -> Iterator[list[Store]]:
    """Run SQLite, each number of replicas, and etcd where `make bench` has put one; or the replicas alone."""
    with tempfile.TemporaryDirectory(dir=parent) as folder, ExitStack() as stack:
        directory = Path(folder)
        directory.chmod(0o755)  # PostgreSQL runs as another user where this is root
        found = [stack.enter_context(replicas(directory, count)) for count in counts]
        if not alone:
            found.insert(0, stack.enter_context(sqlite(directory)))
        if not alone and ETCD.exists():
            found.append(stack.enter_context(etcd(directory, found[0])))
        yield found


@contextmanager
def stopped(pids: Iterable[int]) -> Iterator[None]:
    """Have these processes take no part for the length of the block: what is measured has the machine for itself."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def processes(store: Store) -> list[int]:
    """Return what works for a store now."""
    server = store.postgres.process if store.postgres else None
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split() if server else []
    return [*(endpoint.pid for endpoint in store.endpoints), *([server.pid] if server else []), *map(int, children)]


def processor_seconds(store: Store) -> tuple[float, float]:
    """Return what the endpoints of a store have taken so far, and what PostgreSQL has."""
    server = store.postgres.process if store.postgres else None
    return cpu_seconds(endpoint.pid for endpoint in store.endpoints), family_seconds(server.pid) if server else 0.0


def microseconds(own: float, postgres: float) -> str:
    """Return a cell: the processor time of one request, of the endpoints and of PostgreSQL where there is one."""
    return f"{own:,.0f} µs" + f" + {postgres:,.0f}" * (postgres > 0)


async def make_folders(store: Store, *folders: str) -> None:
    """Make namespaces, where folders have to be made."""
    (client,) = await connect(store, 1)
    for folder in folders if store.dialect.is_skerry else ():
        await client.call("POST", "/api/v1/namespaces", orjson.dumps({"metadata": {"name": folder}}))
    close([client])


async def each(store: Store, numbers: Iterable[int], change: Callable[[int], Change]) -> float:
    """Make a change for each number, over many connections; returns how many seconds that took."""
    clients = await connect(store, CONNECTIONS)
    left = iter(numbers)

    async def work(client: Connection) -> None:
        for number in left:
            await call(client, change(number))

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(work(client))
    seconds = time.perf_counter() - started
    close(clients)
    return seconds


async def connect(store: Store, count: int) -> list[Connection]:
    """Open connections, spread over the endpoints."""
    trusted = trust(store.endpoints[0].access)
    endpoints = itertools.islice(itertools.cycle(store.endpoints), count)
    return [await Connection.open(endpoint.access, trusted) for endpoint in endpoints]


async def call(client: Connection, change: Change) -> bytes:
    """Ask, and return the answer's body; raises where it is none of success."""
    return await client.call(change.method, change.path, change.body, change.content_type)
