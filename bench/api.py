"""The API server: rates of create, get, list and watch at 1,000 and 10,000 objects, over TLS, as kubectl speaks.

    .venv/bin/python bench/api.py

Starts a whole `skerry up` of its own on a temporary directory. Clients share the two cores with the server, so the
rates are lower bounds; compare them with each other, and between two versions in one run.
"""

import asyncio
import base64
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from skerry.cli.connection import Access, read_access
from skerry.testing.skerry_process import SkerryProcess

SIZES = (1_000, 10_000)
CLIENTS = 32
GETS = 3_000
LISTS = 10
WATCHERS = 100
FAN_OUTS = 20
COLLECTION = "/api/v1/namespaces/default/configmaps"


@dataclass
class Connection:
    """One keep-alive HTTP/1.1 connection, as lean as it gets: the client must not be what is measured."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes

    @classmethod
    async def open(cls, access: Access) -> "Connection":
        trust = ssl.create_default_context(cadata=access.ca_pem)
        parts = urlsplit(access.server)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=trust, limit=64 * 1024 * 1024)
        head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {access.token}\r\n".encode()
        return cls(reader, writer, head)

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        extra = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if body else b""
        self.writer.write(f"{method} {path}".encode() + self.head + extra + b"\r\n" + body)

    async def answer(self) -> tuple[int, bytes]:
        status, headers = await self.answer_head()
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while part := await self.chunk():
                parts.append(part)
            return status, b"".join(parts)
        return status, await self.reader.readexactly(int(headers.get("content-length", "0")))

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value.strip() for name, value in pairs}

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data

    async def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        self.send(method, path, body)
        status, answer = await self.answer()
        assert status < 400, answer
        return answer


def config_map(number: int) -> bytes:
    data = {"key": base64.b64encode(number.to_bytes(4) * 64).decode()}
    return orjson.dumps({"metadata": {"name": f"cm-{number}", "labels": {"part": str(number % 10)}}, "data": data})


async def timed(
    label: str, clients: list[Connection], count: int, work: Callable[[Connection, int], Awaitable[object]]
) -> None:
    """Share `count` calls among the clients; print their rate and latencies."""
    numbers = iter(range(count))
    seconds: list[float] = []

    async def client(connection: Connection) -> None:
        for number in numbers:
            started = time.perf_counter()
            await work(connection, number)
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for connection in clients:
            group.create_task(client(connection))
    rate = count / (time.perf_counter() - started)
    centiles = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else seconds * 99
    print(f"{label:<44} {rate:10.0f}/s   p50 {centiles[49] * 1e3:8.2f} ms   p99 {centiles[98] * 1e3:8.2f} ms")


async def fan_out(access: Access, first: int) -> None:
    """Time from a create's start until every watcher has seen it."""
    clients = [await Connection.open(access) for _ in range(WATCHERS)]
    writer = await Connection.open(access)
    listed = orjson.loads(await writer.call("GET", f"{COLLECTION}?limit=1"))
    version = listed["metadata"]["resourceVersion"]
    for client in clients:
        client.send("GET", f"{COLLECTION}?watch=true&resourceVersion={version}")
        assert (await client.answer_head())[0] == 200
    seconds = []
    for turn in range(FAN_OUTS):
        started = time.perf_counter()
        create = asyncio.ensure_future(writer.call("POST", COLLECTION, config_map(first + turn)))
        for client in clients:
            await client.chunk()
        seconds.append(time.perf_counter() - started)
        await create
    centiles = statistics.quantiles(seconds, n=100)
    print(
        f"{f'create seen by all of {WATCHERS} watchers':<44} {'':12}   "
        f"p50 {centiles[49] * 1e3:8.2f} ms   p99 {centiles[98] * 1e3:8.2f} ms"
    )
    for client in [*clients, writer]:
        client.writer.close()


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


async def measure(access: Access, pid: int) -> None:
    clients = [await Connection.open(access) for _ in range(CLIENTS)]
    one = clients[:1]
    have = 0
    for size in SIZES:
        first, have = have, size

        async def create(connection: Connection, number: int, first: int = first) -> bytes:
            return await connection.call("POST", COLLECTION, config_map(first + number))

        async def get(connection: Connection, number: int, size: int = size) -> bytes:
            return await connection.call("GET", f"{COLLECTION}/cm-{number * 7919 % size}")

        async def lists(connection: Connection, _: int) -> bytes:
            return await connection.call("GET", COLLECTION)

        async def pages(connection: Connection, _: int) -> bytes:
            return await connection.call("GET", f"{COLLECTION}?limit=500")

        await timed(f"create up to {size} objects, {CLIENTS} clients", clients, size - first, create)
        await timed(f"get among {size}, 1 client", one, GETS // 4, get)
        await timed(f"get among {size}, {CLIENTS} clients", clients, GETS, get)
        await timed(f"list all {size}, 1 client", one, LISTS, lists)
        await timed(f"list a page of 500 among {size}, 1 client", one, LISTS, pages)
        await fan_out(access, 1_000_000 + 100 * size)
        print(f"{f'memory of skerry up with {size} objects':<44} {resident_mib(pid):10.0f} MiB")
    for client in clients:
        client.writer.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, SkerryProcess.started(Path(directory) / "data") as skerry:
        assert skerry.process is not None
        asyncio.run(measure(read_access(skerry.data_dir / "kubeconfig"), skerry.process.pid))


if __name__ == "__main__":
    main()
