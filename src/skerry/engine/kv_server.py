"""Answers the workers of this machine that ask for keys and values which nodes share (`shared_key_values`).

Owns the socket and its connections. Does not own the entries: `SharedEntries` are handed in. Questions of one
connection are answered one after the other; a worker has a connection for each thread that asks.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import orjson

from skerry.engine import kv_wire
from skerry.engine.key_values import (
    BUSY_SECONDS_MAX,
    NAMESPACE_BYTES_MAX,
    KeyValueError,
    Listed,
    Value,
    check_entry,
    check_limit,
    key_bytes,
    keys_with,
)
from skerry.engine.kv_wire import Asked
from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup, background, keep_running

log = get_logger(__name__)

#: Connections of all workers together: 256 threads of 64 workers would be more, but not all of them ask at once.
CONNECTIONS_MAX = 4_096
#: Questions in memory at once, each with a value of 10 MiB at most; the others wait in their connections.
QUESTIONS_MAX = 64
SWEEP_SECONDS = 1.0


class SharedEntries(Protocol):
    """Keys and values in a database; each method raises KeyValueError."""

    async def get(self, namespace: str, key: bytes) -> Value | None:
        """Return a value that has not expired, or None."""
        ...

    async def put(self, at: tuple[str, bytes], stored: Value, expires: float | None, *, bytes_max: int) -> None:
        """Set a value, durably, where its namespace holds no more than `bytes_max` then."""
        ...

    async def delete(self, namespace: str, key: bytes) -> None:
        """Remove a key, durably; one that is not there is no error."""
        ...

    async def list(self, namespace: str, *, after: bytes, between: tuple[bytes, bytes], limit: int) -> Sequence[Listed]:
        """Return keys that have not expired, in the order of their bytes."""
        ...

    async def sweep(self) -> bool:
        """Remove some of what has expired; returns whether there was any."""
        ...


@asynccontextmanager
async def serve_key_values(entries: SharedEntries, path: Path, clock: Clock) -> AsyncIterator[None]:
    """Answer on a Unix socket for the length of the block; who may reach it is its folder's affair."""
    serving = _Serving(entries, clock)
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - left by one that was killed; one call, at start
    server = await asyncio.start_unix_server(serving.serve, path)
    async with background(("kv:sweep", serving.sweep)):
        try:
            yield
        finally:
            server.close()
            serving.end_all()
            await server.wait_closed()


class _Serving:
    def __init__(self, entries: SharedEntries, clock: Clock) -> None:
        self._entries = entries
        self._clock = clock
        self._writers: set[asyncio.StreamWriter] = set()
        self._places = asyncio.Semaphore(QUESTIONS_MAX)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the questions of one connection until it ends."""
        if len(self._writers) >= CONNECTIONS_MAX:
            log.warning("too many connections of engine workers", connections_max=CONNECTIONS_MAX)
            writer.close()
            return
        self._writers.add(writer)
        try:
            while True:
                head, data = kv_wire.lengths(await reader.readexactly(kv_wire.LENGTHS.size))
                async with self._places:
                    with within(BUSY_SECONDS_MAX):
                        writer.write(await self._answer(await reader.readexactly(head), await reader.readexactly(data)))
                        await writer.drain()
        except (OSError, EOFError, ValueError) as error:
            # It went, is too slow (TimeoutError), or speaks otherwise: its worker tells the function.
            log.debug("a connection of an engine worker ended", reason=repr(error))
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: bytes, data: bytes) -> bytes:
        try:
            told, value = await self._done(Asked(**kv_wire.decoded(head)), data)
        except KeyValueError as error:
            return kv_wire.framed(orjson.dumps({"error": error.public}), b"")
        return kv_wire.framed(orjson.dumps(told), value)

    async def _done(self, asked: Asked, data: bytes) -> tuple[Any, bytes]:
        match asked.operation:
            case "get":
                found = await self._entries.get(asked.namespace, key_bytes(asked.key))
                return ({"metadata": found.metadata}, found.value) if found else (None, b"")
            case "put":
                stored = Value(data, asked.metadata)
                check_entry(stored, asked.expires, now_seconds=self._clock.now().timestamp())
                at = (asked.namespace, key_bytes(asked.key))
                await self._entries.put(at, stored, asked.expires, bytes_max=NAMESPACE_BYTES_MAX)
                return None, b""
            case "delete":
                await self._entries.delete(asked.namespace, key_bytes(asked.key))
                return None, b""
            case "list":
                check_limit(asked.limit)
                listed = await self._entries.list(
                    asked.namespace, after=asked.key.encode(), between=keys_with(asked.prefix), limit=asked.limit
                )
                return [tuple(entry) for entry in listed], b""

    async def sweep(self) -> None:
        """Remove what has expired, for ever."""
        await keep_running("kv:sweep", self._sweep, wakeup=Wakeup(), resync_seconds=SWEEP_SECONDS)

    async def _sweep(self) -> None:
        while await self._entries.sweep():
            pass

    def end_all(self) -> None:
        """End every connection."""
        for writer in tuple(self._writers):
            writer.close()
