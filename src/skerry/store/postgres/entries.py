"""Keys and values of functions in the database that nodes share: not of the log, without revisions or watches.

Owns the tables `kv_namespaces` and `kv_entries`, and that what a writer is told is durable and seen by every reader
from then on. Does not own the limits of keys and values, which are the caller's. Writers of one namespace come one
after the other, by a lock on its row; each write is one statement.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from skerry.store.errors import NamespaceFull
from skerry.store.postgres import queries
from skerry.store.postgres.lane import Lane
from skerry.store.postgres.pool import Job, PoolSettings, open_pool
from skerry.store.postgres.session import Connection
from skerry.store.settings import require_positive

#: Entries that one sweep removes, so that no write waits long for it.
SWEPT_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class EntrySettings:
    """Bounds of keys and values.

    Attributes:
        connections: calls that are made at once.
        waiting_max: those that wait for one.
    """

    connections: int = 2
    waiting_max: int = 1_024

    def __post_init__(self) -> None:
        require_positive(self)


class EntryKey(NamedTuple):
    """Where an entry is."""

    namespace: str
    key: bytes


class EntryValue(NamedTuple):
    """What an entry holds."""

    value: bytes
    metadata: str | None


class ListedEntry(NamedTuple):
    """A key of a list; `expires` is in seconds since the epoch."""

    key: bytes
    metadata: str | None
    expires: float | None


@asynccontextmanager
async def open_entries(url: str, settings: EntrySettings | None = None) -> AsyncIterator["PostgresEntries"]:
    """Keep entries in a database whose schema is there (`open_postgres`), for the length of the block."""
    settings = settings or EntrySettings()
    async with open_pool(url, PoolSettings("kv", settings.connections, settings.waiting_max)) as lane:
        yield PostgresEntries(lane)


class PostgresEntries:
    """Entries in one PostgreSQL database, as `open_entries` yields them.

    Each method may raise `Unavailable` and, where too many wait, `Overloaded`.
    """

    def __init__(self, lane: Lane[Job]) -> None:
        self._lane = lane

    async def get(self, at: EntryKey) -> EntryValue | None:
        """Return an entry, or None."""
        row = await self._lane.call(lambda connection: connection.row(queries.KV_GET, *at))
        return None if row is None else EntryValue(*row)

    async def put(self, at: EntryKey, entry: EntryValue, expires: float | None, *, bytes_max: int) -> None:
        """Set an entry, which ends at `expires` (seconds since the epoch).

        Raises:
            NamespaceFull: its namespace would hold more than `bytes_max`; nothing was changed.
        """
        row = await self._lane.call(
            lambda connection: connection.row(queries.KV_WRITE, *at, *entry, expires, bytes_max)
        )
        held_bytes, written = row
        if not written:
            raise NamespaceFull(held_bytes, bytes_max=bytes_max)

    async def delete(self, at: EntryKey) -> None:
        """Remove an entry; one that is not there is fine."""
        await self._lane.call(lambda connection: connection.row(queries.KV_WRITE, *at, None, None, None, 0))

    async def list(
        self, namespace: str, *, after: bytes, between: tuple[bytes, bytes], limit: int
    ) -> Sequence[ListedEntry]:
        """Return entries in the order of their keys' bytes: the first ones behind `after`, from a key to before one."""
        rows = await self._lane.call(
            lambda connection: connection.rows(queries.KV_LIST, namespace, after, *between, limit)
        )
        return [ListedEntry(*row) for row in rows]

    async def sweep(self) -> bool:
        """Remove some of what has expired; returns whether there was any that nobody else is at."""
        return bool(await self._lane.call(_sweep))


async def _sweep(connection: Connection) -> bool:
    async with connection.raw.transaction():
        row = await connection.row(queries.KV_EXPIRED, SWEPT_AT_ONCE)
        if row is None:
            return False
        await connection.rows(queries.KV_SWEEP, row[0], SWEPT_AT_ONCE)
        return True
