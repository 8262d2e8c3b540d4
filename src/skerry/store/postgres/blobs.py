"""Artifacts in the database that replicas share: bytes beside the log, named by whoever puts them there.

Owns the tables `blobs` and `blob_chunks`. Does not own what a name means, nor what is referenced: it is told.

A blob is stored by one transaction, its row first: who puts the same one waits at that row, and finds it done. So
there is no half of a blob, and no chunk without its row, for any reader and after any crash. It is read by a statement
a chunk, so a reader that is slow holds neither a connection nor a snapshot. Removal compares times of the database's
own clock, and locks the rows that it looks at: a blob that is put meanwhile is put anew, or stays.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from skerry.kit.tasks import run_blocking
from skerry.store.errors import BlobsFull
from skerry.store.postgres import queries
from skerry.store.postgres.lane import Lane
from skerry.store.postgres.pool import Job, PoolSettings, open_pool
from skerry.store.postgres.session import Connection
from skerry.store.records import Statistics
from skerry.store.settings import require_positive

#: What is read, sent and stored in one piece.
CHUNK_BYTES = 1024 * 1024
#: Blobs removed in one transaction.
REMOVED_AT_ONCE = 50
#: Of the advisory lock that lets one replica remove at a time: "blobs" as a number.
REMOVAL_LOCK = 0x626C6F6273


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Bounds of blobs.

    Attributes:
        bytes_max: all of them together; those that are put at once are each let in by what was there before them.
        connections: blobs that are put, or chunks that are read, at once.
        waiting_max: those that wait for one.
    """

    bytes_max: int = 4 * 1024**3
    connections: int = 2
    waiting_max: int = 256

    def __post_init__(self) -> None:
        require_positive(self)


@asynccontextmanager
async def open_blobs(url: str, settings: BlobSettings | None = None) -> AsyncIterator["PostgresBlobs"]:
    """Keep blobs in a database whose schema is there (`open_postgres`), for the length of the block."""
    settings = settings or BlobSettings()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="blob-files") as files:
        async with open_pool(url, PoolSettings("blobs", settings.connections, settings.waiting_max)) as lane:
            yield PostgresBlobs(lane, files, bytes_max=settings.bytes_max)


class PostgresBlobs:
    """Blobs in one PostgreSQL database, as `open_blobs` yields them.

    Each method may raise `Unavailable` and, where too many wait, `Overloaded`.
    """

    def __init__(self, lane: Lane[Job], files: ThreadPoolExecutor, *, bytes_max: int) -> None:
        self._lane = lane
        self._files = files
        self._bytes_max = bytes_max

    async def put(self, name: str, content: Path) -> None:
        """Store a file; of one that is there already, only the time of its last put changes.

        Raises:
            BlobsFull: there is no room for it; nothing was stored.
        """
        with content.open("rb") as file:
            await self._lane.call(partial(self._put, name, file))

    async def _put(self, name: str, file: BinaryIO, connection: Connection) -> None:
        size_bytes = await run_blocking(self._files, lambda: file.seek(0, 2))
        async with connection.raw.transaction():
            is_new, held_bytes = await connection.row(queries.PUT_BLOB, name, size_bytes)
            if not is_new:
                return
            if held_bytes + size_bytes > self._bytes_max:
                raise BlobsFull(size_bytes, held_bytes=held_bytes, bytes_max=self._bytes_max)
            for place, start in enumerate(range(0, size_bytes, CHUNK_BYTES)):
                chunk = await run_blocking(self._files, partial(_chunk, file, start))
                await connection.rows(queries.PUT_CHUNK, name, place, chunk)

    async def has(self, name: str) -> bool:
        """Tell whether a blob is there."""
        return await self._size(name) is not None

    async def _size(self, name: str) -> int | None:
        row = await self._lane.call(lambda connection: connection.row(queries.BLOB_SIZE, name))
        return None if row is None else int(row[0])

    async def chunks(self, name: str) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes in order, at most `CHUNK_BYTES` at a time; raises KeyError where there is no such."""
        size_bytes = await self._size(name)
        if size_bytes is None:
            raise KeyError(name)
        for place in range(-(-size_bytes // CHUNK_BYTES)):
            row = await self._lane.call(partial(_read_chunk, name, place))
            if row is None:
                raise KeyError(name)  # removed while it was read
            yield row[0]

    async def remove(self, name: str) -> None:
        """Forget a blob; one that is not there is fine."""
        await self._lane.call(lambda connection: connection.rows(queries.REMOVE_BLOB, name))

    async def remove_all_but(self, names: Collection[str], *, grace_seconds: float) -> int:
        """Remove the blobs that are not among `names` and whose last put is `grace_seconds` ago.

        Returns:
            How many this process removed: none where another one is at it.
        """
        removed, kept = 0, list(names)
        while count := await self._lane.call(partial(_remove_some, kept, grace_seconds)):
            removed += count
        return removed

    def statistics(self) -> Statistics:
        """Return how many calls wait."""
        return self._lane.statistics()


def _chunk(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(CHUNK_BYTES)


async def _read_chunk(name: str, place: int, connection: Connection) -> Any:
    return await connection.row(queries.READ_CHUNK, name, place)


async def _remove_some(kept: list[str], grace_seconds: float, connection: Connection) -> int:
    async with connection.raw.transaction():
        (is_ours,) = await connection.row(queries.LOCK_REMOVAL, REMOVAL_LOCK)
        if not is_ours:
            return 0
        return len(await connection.rows(queries.REMOVE_BLOBS, kept, grace_seconds, REMOVED_AT_ONCE))
