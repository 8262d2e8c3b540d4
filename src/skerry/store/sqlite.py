"""The log in one SQLite file: durable on one machine, with nothing else to run.

Three lanes (see lane.py) work on the file. The *writer* commits everything that waits as one transaction, so
a sync of the disk is shared by all concurrent writers; each write keeps its own condition and outcome. The
*getter* answers point reads, the *scanners* lists and event reads, each batch on one snapshot; in WAL mode
neither waits for the writer.

The order of revisions is that of commits, because every writer takes the file's one write lock before it
reads the newest revision; so what `Driver` demands of `events_after` holds, with several processes too.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from skerry.kit.tasks import run_blocking
from skerry.store import sqlite_reads as reads
from skerry.store import sqlite_writes as writes
from skerry.store.driver import Wake
from skerry.store.lane import Lane, LaneSettings, Outcome, open_lane
from skerry.store.records import (
    Batch,
    Bounds,
    Entry,
    Event,
    EventQuery,
    HeldValue,
    Key,
    ListQuery,
    Page,
    Rewrite,
    Scope,
    Statistics,
    Write,
)
from skerry.store.sqlite_connection import Connection, SqliteSettings, open_connections
from skerry.store.sqlite_use import used

__all__ = ["SqliteDriver", "SqliteSettings", "open_sqlite"]

#: Point reads on one snapshot; it bounds how long one waits for its batch.
GETS_BATCH_MAX = 64
#: A list may take long, so none waits for another while a connection is free.
SCANS_BATCH_MAX = 1


@asynccontextmanager
async def open_sqlite(path: Path, settings: SqliteSettings | None = None) -> AsyncIterator["SqliteDriver"]:
    """Open the database file, made if absent, for the length of the block.

    Raises:
        StartError: the file cannot be opened, is no database, is of a newer version of Skerry, or is being moved.
    """
    s = settings or SqliteSettings()
    heads = writes.Heads(sole_writer=s.sole_writer)
    run_group = partial(writes.run_group, heads=heads)
    writer = LaneSettings("writes", run_group, ("writes_waiting_max", s.writes_waiting_max), s.group_writes_max)
    getter = LaneSettings("gets", reads.run_batch, ("gets_waiting_max", s.gets_waiting_max), GETS_BATCH_MAX)
    scanner = LaneSettings("scans", reads.run_batch, ("scans_waiting_max", s.scans_waiting_max), SCANS_BATCH_MAX)
    with used(path), ThreadPoolExecutor(1, "store-open") as executor:
        connections = await run_blocking(executor, partial(open_connections, path, s))
        try:
            async with (
                open_lane([connections.writer], writer) as writer_lane,
                open_lane([connections.getter], getter) as getter_lane,
                open_lane(connections.scanners, scanner) as scanner_lane,
            ):
                heads.latest_at_start = (await getter_lane.call(reads.bounds)).latest
                yield SqliteDriver(s, heads, writer=writer_lane, getter=getter_lane, scanner=scanner_lane)
        finally:
            await run_blocking(executor, connections.close)


class SqliteDriver:
    """A `Driver` over one SQLite file, as `open_sqlite` yields it."""

    def __init__(
        self,
        settings: SqliteSettings,
        heads: writes.Heads,
        *,
        writer: Lane[Connection, writes.Group],
        getter: Lane[Connection, Connection],
        scanner: Lane[Connection, Connection],
    ) -> None:
        self._settings = settings
        #: See `Driver`; every read asks it. Only a sole writer knows.
        self.head: Callable[[str], int | None] = heads.of if settings.sole_writer else _nobody_knows
        self._writer = writer
        self._getter = getter
        self._scanner = scanner

    async def append(self, write: Write) -> int:
        """Apply one conditional change; see `Driver`."""
        return (await self._writer.call(writes.Append(write))).revision

    async def get(self, key: Key) -> Entry | None:
        """Return the present state of a key."""
        return await self._getter.call(partial(reads.get, key=key))

    async def bounds(self) -> Bounds:
        """Return the oldest and the newest revision."""
        return await self._getter.call(reads.bounds)

    async def page(self, query: ListQuery) -> Page:
        """Return a part of a snapshot; see `Driver`."""
        return await self._scanner.call(partial(reads.page, query=query))

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        """Return the first events after `revision`; see `Driver`."""
        query = EventQuery(revision, scope, limit, self._settings.batch_bytes_max)
        return await self._scanner.call(partial(reads.events_after, query=query))

    async def compact(self, revision: int) -> None:
        """Forget superseded states and tombstones at or below `revision`; see `Driver`.

        Many short transactions, between which writers go on. Cut off, it is taken up by the next call.
        """
        await self._writer.call(partial(writes.mark_compacted, revision=revision))
        while await self._writer.call(writes.sweep):
            pass

    async def values_after(self, revision: int, *, limit: int) -> Sequence[HeldValue]:
        """Return the first values written after `revision`; see `HeldValues`."""
        bytes_max = self._settings.batch_bytes_max
        return await self._scanner.call(
            partial(reads.values_after, revision=revision, limit=limit, bytes_max=bytes_max)
        )

    async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        """Replace values that are still as they were read; see `HeldValues`. One thread writes, in order."""
        await self._writer.call(partial(writes.rewrite, rewrites=rewrites))

    def call_after_commit(self, wake: Wake) -> None:
        """Have `wake` called on the event loop after this process' commits; others' are found by polling."""

        def tell(outcomes: Sequence[Outcome]) -> None:
            wake([outcome.result for outcome in outcomes if isinstance(outcome.result, Event)])

        self._writer.after_batch = tell

    def statistics(self) -> Statistics:
        """Return how many jobs wait in each lane."""
        return {
            **self._writer.statistics(),
            **self._getter.statistics(),
            **self._scanner.statistics(),
        }


def _nobody_knows(_: str) -> int | None:
    return None
