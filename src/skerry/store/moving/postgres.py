"""A log in a PostgreSQL database, moved out of it and into it.

A snapshot is one transaction that sees one moment: writers go on meanwhile, and what they supersede is kept by the
server until it ends.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from skerry.store.moving import postgres_statements as statements
from skerry.store.moving.changes import BATCH_BYTES, BATCH_CHANGES, Change, Span
from skerry.store.moving.databases import FAULTS_TOLD_MAX, Content, Place, State
from skerry.store.moving.errors import InUseError
from skerry.store.moving.postgres_artifacts import PostgresArtifacts
from skerry.store.moving.postgres_failures import failures_told
from skerry.store.moving.postgres_key_values import PostgresKeyValues
from skerry.store.postgres import queries, schema, use
from skerry.store.postgres.session import Connection, PostgresSettings, close, connect, redacted
from skerry.store.queries import Query
from skerry.store.records import Key

#: How long a transaction may be idle, too: a snapshot waits for its copy to be read back and compared.
SETTINGS = PostgresSettings(statement_seconds_max=3_600.0)


class PostgresDatabase:
    """A `Database` on a server."""

    def __init__(self, url: str) -> None:
        self.name = redacted(url)
        self._url = url

    @asynccontextmanager
    async def snapshot(self, *, alone: bool = False) -> AsyncIterator["PostgresSnapshot"]:
        """Hold the log as it is now; see `Database`."""
        async with self._connected() as connection:
            with failures_told(self.name):
                await schema.require_known(connection.raw)
                if alone:
                    await self._take(connection)
            async with _held(connection, self.name) as snapshot:
                yield snapshot

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator["PostgresIncoming"]:
        """Hold it alone to be filled; see `Database`."""
        async with self._connected() as connection:
            with failures_told(self.name):
                await schema.migrate(connection.raw)
                await self._take(connection)
            yield PostgresIncoming(connection, self.name)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        with failures_told(self.name):
            raw = await connect(self._url, "moving", SETTINGS)
        try:
            yield Connection(raw)
        finally:
            # A transaction was committed, or is to be rolled back. Who comes next finds the database free.
            await close(raw, SETTINGS)

    async def _take(self, connection: Connection) -> None:
        (taken,) = await connection.row(use.TAKE)
        if not taken:
            raise InUseError(f"the database {self.name} is in use: stop every skerry that runs on it")


@asynccontextmanager
async def _held(connection: Connection, name: str) -> AsyncIterator["PostgresSnapshot"]:
    transaction = connection.raw.transaction(isolation="repeatable_read", readonly=True)
    with failures_told(name):
        await transaction.start()
        latest, compacted, swept, count = await connection.row(statements.SPAN)
        half_done = await schema.is_half_done(connection.raw)
    yield PostgresSnapshot(connection, name, Span(latest, compacted, swept), count, half_done=half_done)
    with failures_told(name):
        await transaction.rollback()


class PostgresSnapshot:
    """A `DatabaseSnapshot` on a server."""

    def __init__(self, connection: Connection, name: str, span: Span, count: int, *, half_done: bool) -> None:
        self.name = name
        self.span = span
        self.count = count
        self.half_done = half_done
        self.artifacts = PostgresArtifacts(connection, name)
        self.key_values = PostgresKeyValues(connection, name)
        self._connection = connection

    async def changes(self) -> AsyncIterator[Sequence[Change]]:
        """Yield every change in the order of revisions."""
        async for rows in self._batches(statements.CHANGES_AFTER):
            yield [_change(row) for row in rows]

    async def places(self) -> AsyncIterator[Sequence[Place]]:
        """Yield every change with its neighbours."""
        async for rows in self._batches(statements.PLACES_AFTER):
            yield [_place(row) for row in rows]

    async def _batches(self, query: Query) -> AsyncIterator[list[Any]]:
        after = 0
        while rows := await self._rows(query, after, BATCH_CHANGES, BATCH_BYTES):
            yield rows
            after = rows[-1]["revision"]

    async def _rows(self, query: Query, *parameters: int) -> list[Any]:
        with failures_told(self.name):
            return await self._connection.rows(query, *parameters)

    async def strays(self) -> Sequence[str]:
        """Return names in the index that no change stands behind."""
        return [str(Key(*row)) for row in await self._rows(statements.STRAYS, FAULTS_TOLD_MAX)]

    async def damage(self) -> Sequence[str]:
        """Return nothing: a server tells of damage when it reads it."""
        return ()

    async def confirm(self) -> None:
        """Insist that the connection lasted, and with it whatever was held."""
        await self._rows(queries.PING)


def _change(row: Any) -> Change:
    key = Key(row["resource"], row["namespace"], row["name"])
    return Change(row["revision"], key, row["created_revision"], row["previous_revision"], row["value"])


def _place(row: Any) -> Place:
    older, indexed = row["older_revision"], row["indexed_revision"]
    return Place(
        change=_change(row),
        older=None if older is None else State(older, row["older_created"], row["older_deleted"]),
        newer_revision=row["newer_revision"],
        indexed=None if indexed is None else (indexed, row["indexed_created"]),
    )


class PostgresIncoming:
    """An `Incoming` on a server."""

    def __init__(self, connection: Connection, name: str) -> None:
        self.artifacts = PostgresArtifacts(connection, name)
        self.key_values = PostgresKeyValues(connection, name)
        self._connection = connection
        self._name = name

    async def content(self) -> Content:
        """Return what lies there."""
        with failures_told(self._name):
            if await schema.is_half_done(self._connection.raw):
                return Content.HALF
            latest, *_ = await self._connection.row(statements.SPAN)
        return Content.LOG if latest else Content.NOTHING

    async def begin(self, span: Span) -> None:
        """Mark it as half done, with nothing in it yet."""

        async def clear(raw: Any) -> None:
            await raw.execute(f"CREATE TABLE IF NOT EXISTS {schema.HALF_DONE} ()")
            await raw.execute(statements.CLEAR)
            await raw.execute("UPDATE state SET revision = 0")
            await raw.execute(statements.SET_COMPACTION, span.compacted, span.swept)

        await self._in_transaction(clear)

    async def append(self, changes: Sequence[Change]) -> None:
        """Add changes behind those that are there."""
        newest = {change.key: change for change in changes}.values()
        living = [change for change in newest if change.value is not None]

        async def add(raw: Any) -> None:
            await raw.execute(
                statements.ADD,
                [change.revision for change in changes],
                *_names(change.key for change in changes),
                [change.created_revision for change in changes],
                [change.previous_revision for change in changes],
                [change.value for change in changes],
            )
            await raw.execute(statements.UNSET_CURRENT, *_names(change.key for change in newest))
            await raw.execute(
                statements.SET_CURRENT,
                *_names(change.key for change in living),
                [change.revision for change in living],
                [change.created_revision for change in living],
            )
            await raw.execute("UPDATE state SET revision = $1", changes[-1].revision)

        await self._in_transaction(add)

    async def settle(self, span: Span) -> None:
        """Set how far the log reaches, and sweep as far."""

        async def sweep(raw: Any) -> None:
            above = await raw.fetchval("SELECT swept_revision FROM compaction")
            for query in (queries.SWEEP_SUPERSEDED, queries.SWEEP_TOMBSTONES):
                await raw.execute(query.sql, above, span.swept)
            await raw.execute("UPDATE state SET revision = $1", span.latest)
            await raw.execute(statements.SET_COMPACTION, span.compacted, span.swept)

        await self._in_transaction(sweep)

    async def finish(self) -> None:
        """Take the mark away."""
        await self._in_transaction(lambda raw: raw.execute(f"DROP TABLE {schema.HALF_DONE}"))

    async def _in_transaction(self, call: Callable[[Any], Awaitable[object]]) -> None:
        with failures_told(self._name):
            async with self._connection.raw.transaction():
                await call(self._connection.raw)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[PostgresSnapshot]:
        """Hold what is there now."""
        async with _held(self._connection, self._name) as snapshot:
            yield snapshot


def _names(keys: Iterator[Key]) -> tuple[list[str], list[str], list[str]]:
    listed = list(keys)
    return [key.resource for key in listed], [key.namespace for key in listed], [key.name for key in listed]
