"""The API: requests, watchers and memory, over TLS, for a user who has his rights by a RoleBinding.

    .venv/bin/python bench/api.py [--against TREE]

Starts a whole `skerry up` on a temporary directory, and prints the tables of bench/README.md. With `--against`, another
tree of Skerry (a worktree of the commit before, say) runs beside it, both are measured in turns, and the ratio is
printed too. Clients share the cores with the servers, so the rates are lower bounds: compare them within a run.
"""

import argparse
import asyncio
import base64
import hashlib
import os
import secrets
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import uvloop
from rig import resident_mib, skerry

from skerry.cli.connection import Access, read_access

OBJECTS = 1_000
MANY_OBJECTS = 10_000
CLIENTS = (1, 32)
WATCHERS = (100, 1_000)
ROUNDS = 3
ROUND_SECONDS = 1.0
LISTS = 10
CHANGES = 10
READ, WRITTEN, MANY = "bench-read", "bench-written", "bench-many"
USER = "bench"

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
BUFFER_BYTES = 64 * 1024 * 1024


def path(namespace: str, name: str = "") -> str:
    collection = f"/api/v1/namespaces/{namespace}/configmaps"
    return f"{collection}/{name}" if name else collection


def config_map(number: int, value: int = 0) -> bytes:
    """A ConfigMap of about 400 bytes."""
    data = {"key": base64.b64encode(number.to_bytes(4) * 64).decode(), "value": str(value)}
    metadata = {"name": f"cm-{number}", "labels": {"part": str(number % 10)}}
    return orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


# ---- HTTP/1.1, as lean as it gets: the client must not be what is measured --------------------------------


@dataclass
class Connection:
    """One keep-alive connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str

    @classmethod
    async def open(cls, access: Access, trust: ssl.SSLContext) -> "Connection":
        parts = urlsplit(access.server)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=trust, limit=BUFFER_BYTES)
        shown = f"Authorization: Bearer {access.token}\r\n" if access.token else ""
        return cls(reader, writer, f" HTTP/1.1\r\nHost: {parts.netloc}\r\n{shown}")

    def send(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> None:
        extra = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n" if body else ""
        self.writer.write(f"{method} {path}{self.head}{extra}\r\n".encode() + body)

    async def answer(self) -> tuple[int, bytes]:
        status, headers = await self.answer_head()
        if headers.get("transfer-encoding") != "chunked":
            return status, await self.reader.readexactly(int(headers.get("content-length", "0")))
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return status, b"".join(parts)

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, value in pairs}

    async def chunk(self) -> bytes:
        """Return the next part of a streaming answer."""
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data

    async def call(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
        self.send(method, path, body, content_type)
        status, answer = await self.answer()
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer[:500]!r}")
        return answer


def trust(access: Access) -> ssl.SSLContext:
    """Return how the server is known; shared by all connections, for it takes longer to make than a request."""
    return ssl.create_default_context(cadata=access.ca_pem)


# ---- servers ---------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A running Skerry.

    Attributes:
        user: the credential that is measured: of a user with a RoleBinding, where the tree knows such.
        numbers: for names that were not used yet.
    """

    tree: str
    pid: int
    user: Access
    administrator: Access
    numbers: Iterator[int]


@contextmanager
def started(tree: Path) -> Iterator[Server]:
    """Run the Skerry of a tree."""
    token = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        data_dir = Path(directory) / "data"
        (data_dir / "pki").mkdir(parents=True, mode=0o700)
        known = [{"sha256": hashlib.sha256(token.encode()).hexdigest(), "user": USER, "groups": []}]
        (data_dir / "pki" / "tokens.json").write_bytes(orjson.dumps(known))
        os.environ["PYTHONPATH"] = str(tree / "src")  # which comes before what is installed
        running = stack.enter_context(skerry(data_dir))
        assert running.process is not None
        administrator = read_access(data_dir / "kubeconfig")
        yield Server(tree.name, running.process.pid, replace(administrator, token=token), administrator, count())


async def prepare(server: Server) -> None:
    """Make namespaces, rights and objects."""
    (admin,) = await connect(server, 1, server.administrator)
    roles = True
    for namespace in (READ, WRITTEN, MANY):
        await admin.call("POST", "/api/v1/namespaces", orjson.dumps({"metadata": {"name": namespace}}))
        roles = roles and await bind(admin, namespace)
    if not roles:
        print(f"{server.tree}: knows no RoleBindings, so the administrator is measured")
        server.user = server.administrator
    close([admin])
    await fill(server, READ, OBJECTS)


async def bind(admin: Connection, namespace: str) -> bool:
    """Give the user the role `edit` in a namespace; False where there are no roles."""
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": USER},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
    }
    admin.send("POST", f"/apis/{group}/v1/namespaces/{namespace}/rolebindings", orjson.dumps(binding))
    status, _ = await admin.answer()
    return status < 400


async def connect(server: Server, clients: int, access: Access | None = None) -> list[Connection]:
    access = access or server.user
    context = trust(access)
    return [await Connection.open(access, context) for _ in range(clients)]


async def fill(server: Server, namespace: str, objects: int) -> None:
    numbers = iter(range(objects))

    async def create(client: Connection) -> None:
        for number in numbers:
            await client.call("POST", path(namespace), config_map(number))

    clients = await connect(server, 32)
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(create(client))
    close(clients)


def close(clients: list[Connection]) -> None:
    for client in clients:
        client.writer.close()


# ---- requests --------------------------------------------------------------------------------------------

Call = Callable[[Connection, int], Awaitable[bytes]]


async def get(client: Connection, number: int) -> bytes:
    return await client.call("GET", path(READ, f"cm-{number * 7919 % OBJECTS}"))


async def list_all(client: Connection, _: int) -> bytes:
    return await client.call("GET", path(READ))


async def create(client: Connection, number: int) -> bytes:
    return await client.call("POST", path(WRITTEN), config_map(number))


async def patch(client: Connection, number: int) -> bytes:
    body = orjson.dumps({"data": {"value": str(number)}})
    return await client.call("PATCH", path(READ, f"cm-{number % OBJECTS}"), body, MERGE_PATCH)


async def apply(client: Connection, number: int) -> bytes:
    target = path(READ, f"cm-{number % OBJECTS}") + "?fieldManager=bench&force=true"
    return await client.call("PATCH", target, config_map(number % OBJECTS, number), APPLY_PATCH)


REQUESTS: Mapping[str, Call] = {
    "get": get,
    f"list {OBJECTS:,}": list_all,
    "create": create,
    "patch (merge)": patch,
    "apply (server-side)": apply,
}


@dataclass(frozen=True)
class Measured:
    """Rates in 1/s, times in s; of several rounds, the medians."""

    rate: float
    p50: float
    p99: float

    @classmethod
    def median(cls, rounds: list["Measured"]) -> "Measured":
        columns = ((one.rate, one.p50, one.p99) for one in rounds)
        return cls(*(statistics.median(column) for column in zip(*columns, strict=True)))


async def measure(server: Server, clients: list[Connection], call: Call) -> Measured:
    """Let every client call as fast as it is answered, for `ROUND_SECONDS`."""
    seconds: list[float] = []
    started_at = time.perf_counter()

    async def work(client: Connection) -> None:
        while (begun := time.perf_counter()) < started_at + ROUND_SECONDS:
            await call(client, next(server.numbers))
            seconds.append(time.perf_counter() - begun)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(work(client))
    elapsed = time.perf_counter() - started_at
    return Measured(len(seconds) / elapsed, *centiles(seconds))


def centiles(seconds: list[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


async def requests(servers: list[Server]) -> None:
    """Measure each kind of request, from one and from many clients, on all servers in turns."""
    heads = [heading(server, servers, f"{n} client{'s' * (n > 1)}") for n in CLIENTS for server in servers]
    table(f"in a namespace of {OBJECTS:,} objects", [column for title in heads for column in (title, "p99")])
    clients = {(server.pid, n): await connect(server, n) for server in servers for n in CLIENTS}
    for name, call in REQUESTS.items():
        cells: list[str] = []
        for number in CLIENTS:
            rounds: dict[int, list[Measured]] = {server.pid: [] for server in servers}
            for _ in range(ROUNDS):
                for server in servers:
                    rounds[server.pid].append(await measure(server, clients[server.pid, number], call))
            found = [Measured.median(rounds[server.pid]) for server in servers]
            for one in found:
                cells += [f"{one.rate:,.0f}/s{ratio(one.rate, found[0].rate)}", milliseconds(one.p99)]
        row(name, cells)
    for group in clients.values():
        close(group)


# ---- watchers --------------------------------------------------------------------------------------------


async def fan_out(server: Server, watchers: int) -> list[float]:
    """Return how long after a change's begin every watcher has seen it, for each of some changes."""
    (writer,) = await connect(server, 1)
    listed = orjson.loads(await writer.call("GET", f"{path(READ)}?limit=1"))
    version = listed["metadata"]["resourceVersion"]
    clients = await connect(server, watchers)
    for client in clients:
        client.send("GET", f"{path(READ)}?watch=true&resourceVersion={version}")
    for client in clients:
        assert (await client.answer_head())[0] == 200
    seconds = []
    for _ in range(CHANGES):
        begun = time.perf_counter()
        change = asyncio.ensure_future(patch(writer, next(server.numbers)))
        for client in clients:
            await client.chunk()
        seconds.append(time.perf_counter() - begun)
        await change
    close([*clients, writer])
    return seconds


async def watches(servers: list[Server]) -> None:
    table(
        "a change seen by all of", [heading(server, servers, which) for server in servers for which in ("p50", "most")]
    )
    for watchers in WATCHERS:
        found: list[list[float]] = [[] for _ in servers]
        for _ in range(ROUNDS):
            for server, seconds in zip(servers, found, strict=True):
                seconds.extend(await fan_out(server, watchers))
        cells = []
        for seconds in found:
            p50 = statistics.median(seconds)
            cells += [milliseconds(p50) + ratio(p50, statistics.median(found[0])), milliseconds(max(seconds))]
        row(f"{watchers:,} watchers", cells)


# ---- many objects ----------------------------------------------------------------------------------------


async def many(servers: list[Server]) -> None:
    table(f"with {MANY_OBJECTS:,} objects", [heading(server, servers, "figure") for server in servers])
    for server in servers:
        await fill(server, MANY, MANY_OBJECTS)
    row("resident memory of `skerry up`", [f"{resident_mib(server.pid):.0f} MiB" for server in servers])
    clients = [(await connect(server, 1))[0] for server in servers]
    found: list[list[float]] = [[] for _ in servers]
    for _ in range(LISTS):
        for client, seconds in zip(clients, found, strict=True):
            begun = time.perf_counter()
            await client.call("GET", path(MANY))
            seconds.append(time.perf_counter() - begun)
    close(clients)
    row(f"list of {MANY_OBJECTS:,}, 1 client, p50", [milliseconds(statistics.median(one)) for one in found])
    row(f"list of {MANY_OBJECTS:,}, 1 client, most", [milliseconds(max(one)) for one in found])


# ---- printing --------------------------------------------------------------------------------------------


def heading(server: Server, servers: list[Server], text: str) -> str:
    return f"{text} ({server.tree})" if len(servers) > 1 else text


def table(title: str, columns: list[str]) -> None:
    print(f"\n| {title} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}", flush=True)


def row(name: str, cells: list[str]) -> None:
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.{1 if seconds < 0.1 else 0}f} ms"


def ratio(value: float, first: float) -> str:
    return "" if value == first else f" ({value / first:.2f})"


async def measure_all(servers: list[Server]) -> None:
    for server in servers:
        await prepare(server)
    await many(servers)
    await requests(servers)
    await watches(servers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="TREE", help="another tree of Skerry to compare with")
    against: Path | None = parser.parse_args().against
    trees = [Path(__file__).resolve().parents[1], *([against.resolve()] if against else [])]
    with ExitStack() as stack:
        servers = [stack.enter_context(started(tree)) for tree in trees]
        uvloop.run(measure_all(servers))


if __name__ == "__main__":
    main()
