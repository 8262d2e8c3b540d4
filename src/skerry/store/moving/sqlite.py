"""A log in a SQLite file, moved out of it and into it.

A snapshot is one read transaction: in WAL mode writers go on meanwhile, and the journal grows until it ends.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory
from skerry.store import sqlite_queries
from skerry.store.moving import sqlite_statements as statements
from skerry.store.moving.changes import BATCH_BYTES, BATCH_CHANGES, Change, Span
from skerry.store.moving.databases import FAULTS_TOLD_MAX, Content, Place, State
from skerry.store.moving.errors import InUseError, MovingError
from skerry.store.moving.sqlite_worker import Worker, worker_on
from skerry.store.queries import Query
from skerry.store.records import Key
from skerry.store.sqlite_connection import Connection, SqliteSettings, connect, create_private
from skerry.store.sqlite_schema import HALF_DONE, is_half_done, migrate, require_known
from skerry.store.sqlite_use import used

T = TypeVar("T")


class SqliteDatabase:
    """A `Database` in a file."""

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite://{quote(str(path.absolute()))}"
        self._path = path

    @asynccontextmanager
    async def snapshot(self, *, alone: bool = False) -> AsyncIterator["SqliteSnapshot"]:
        """Hold the log as it is now; see `Database`."""
        if not self._path.is_file():
            raise MovingError(f"there is no database {self._path}")
        with _alone(self._path) if alone else nullcontext():
            async with self._opened(read_only=True) as worker, _held(worker, self.name) as snapshot:
                yield snapshot

    def _opened(self, *, read_only: bool) -> AbstractAsyncContextManager[Worker]:
        return worker_on(partial(_connect, self._path, read_only=read_only), str(self._path))

    @asynccontextmanager
    async def incoming(self) -> AsyncIterator["SqliteIncoming"]:
        """Hold it alone to be filled, made where it is absent; see `Database`."""
        try:
            make_private_directory(self._path.parent)
        except OSError as error:
            raise MovingError(f"cannot open the database {self._path}: {error.strerror}") from error
        with _alone(self._path):
            async with self._opened(read_only=False) as worker:
                yield SqliteIncoming(worker, self.name)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        with used(path, alone=True):
            yield
    except StartError as error:
        raise InUseError(error.public) from error


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        create_private(path)
    raw = connect(path, SqliteSettings())
    try:
        if read_only:
            raw.execute("PRAGMA query_only = ON")
            require_known(raw)
        else:
            migrate(raw)
    except BaseException:
        raw.close()
        raise
    return raw


@asynccontextmanager
async def _held(worker: Worker, name: str) -> AsyncIterator["SqliteSnapshot"]:
    """Begin a read transaction; it sees the moment of its first statement."""

    def begin() -> tuple[Span, int, bool]:
        worker.raw.execute("BEGIN")
        latest, compacted, swept = worker.connection.row(sqlite_queries.STATE)
        (count,) = worker.connection.row(statements.COUNT)
        return Span(latest, compacted, swept), count, is_half_done(worker.raw)

    span, count, half_done = await worker.do(begin)
    try:
        yield SqliteSnapshot(worker, name, span, count, half_done=half_done)
    finally:
        await worker.do(worker.raw.rollback)


class SqliteSnapshot:
    """A `DatabaseSnapshot` of a file."""

    def __init__(self, worker: Worker, name: str, span: Span, count: int, *, half_done: bool) -> None:
        self.name = name
        self.span = span
        self.count = count
        self.half_done = half_done
        self.artifacts = None
        self.key_values = None
        self._worker = worker

    async def changes(self) -> AsyncIterator[Sequence[Change]]:
        """Yield every change in the order of revisions."""
        async for rows in self._batches(statements.CHANGES_AFTER):
            yield [_change(row) for row in rows]

    async def places(self) -> AsyncIterator[Sequence[Place]]:
        """Yield every change with its neighbours."""
        async for rows in self._batches(statements.PLACES_AFTER):
            yield [_place(row) for row in rows]

    async def confirm(self) -> None:
        """Nothing can have changed within the transaction."""

    async def _batches(self, query: Query) -> AsyncIterator[list[Any]]:
        after = 0
        while rows := await self._worker.do(partial(_rows, self._worker.connection, query, after)):
            yield rows
            after = rows[-1][0]

    async def strays(self) -> Sequence[str]:
        """Return names in the index that no change stands behind."""
        read = partial(self._worker.connection.rows, statements.STRAYS, limit=FAULTS_TOLD_MAX)
        return [str(Key(*row)) for row in await self._worker.do(read)]

    async def damage(self) -> Sequence[str]:
        """Return what SQLite finds wrong with the file."""
        read = partial(self._worker.connection.rows, statements.INTEGRITY)
        return [line for (line,) in await self._worker.do(read) if line != "ok"]


def _rows(connection: Connection, query: Query, after: int) -> list[Any]:
    """Return the next rows, cut by their number and the bytes of their values."""
    batch, batch_bytes = [], 0
    with connection.open_rows(query, after=after, limit=BATCH_CHANGES) as rows:
        for row in rows:
            batch.append(row)
            batch_bytes += len(row[7] or b"")
            if batch_bytes > BATCH_BYTES:
                break
    return batch


def _change(row: Any) -> Change:
    revision, resource, namespace, name, created_revision, previous_revision, deleted, value, *_ = row
    return Change(
        revision, Key(resource, namespace, name), created_revision, previous_revision, None if deleted else value
    )


def _place(row: Any) -> Place:
    older, older_created, older_deleted, newer, indexed, indexed_created = row[8:]
    return Place(
        change=_change(row),
        older=None if older is None else State(older, older_created, bool(older_deleted)),
        newer_revision=newer,
        indexed=None if indexed is None else (indexed, indexed_created),
    )


class SqliteIncoming:
    """An `Incoming` of a file."""

    def __init__(self, worker: Worker, name: str) -> None:
        self.artifacts = None
        self.key_values = None
        self._worker = worker
        self._name = name

    async def content(self) -> Content:
        """Return what lies there."""

        def look() -> Content:
            if is_half_done(self._worker.raw):
                return Content.HALF
            latest, *_ = self._worker.connection.row(sqlite_queries.STATE)
            return Content.LOG if latest else Content.NOTHING

        return await self._worker.do(look)

    async def begin(self, span: Span) -> None:
        """Mark it as half done, with nothing in it yet."""

        def clear(raw: sqlite3.Connection) -> None:
            raw.execute(f"CREATE TABLE IF NOT EXISTS {HALF_DONE} (since_revision INTEGER)")
            for statement in statements.CLEAR:
                raw.execute(statement)
            raw.execute(statements.SET_SPAN, (0, span.compacted, span.swept))

        await self._in_transaction(clear)

    async def append(self, changes: Sequence[Change]) -> None:
        """Add changes behind those that are there."""
        newest = {change.key: change for change in changes}.values()
        living = [change for change in newest if change.value is not None]

        def add(raw: sqlite3.Connection) -> None:
            raw.executemany(statements.ADD, map(_row, changes))
            raw.executemany(statements.UNSET_CURRENT, (_names(change.key) for change in newest))
            raw.executemany(statements.SET_CURRENT, map(_index_row, living))
            raw.execute(statements.SET_REVISION, (changes[-1].revision,))

        await self._in_transaction(add)

    async def settle(self, span: Span) -> None:
        """Set how far the log reaches, and sweep as far."""

        def sweep(raw: sqlite3.Connection) -> None:
            _, _, above = raw.execute(sqlite_queries.STATE.sql).fetchone()
            for query in (sqlite_queries.SWEEP_SUPERSEDED, sqlite_queries.SWEEP_TOMBSTONES):
                raw.execute(query.sql, {"above": above, "up_to": span.swept})
            raw.execute(statements.SET_SPAN, (span.latest, span.compacted, span.swept))

        await self._in_transaction(sweep)

    async def finish(self) -> None:
        """Take the mark away."""
        await self._in_transaction(lambda raw: raw.execute(f"DROP TABLE {HALF_DONE}"))

    async def _in_transaction(self, call: Callable[[sqlite3.Connection], object]) -> None:
        def commit() -> None:
            with self._worker.connection.transaction(write=True):
                call(self._worker.raw)

        await self._worker.do(commit)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[SqliteSnapshot]:
        """Hold what is there now."""
        async with _held(self._worker, self._name) as snapshot:
            yield snapshot


def _names(key: Key) -> tuple[str, str, str]:
    return (key.resource, key.namespace, key.name)


def _row(change: Change) -> tuple[Any, ...]:
    numbers = (change.created_revision, change.previous_revision, change.value is None)
    return (change.revision, *_names(change.key), *numbers, change.value)


def _index_row(change: Change) -> tuple[Any, ...]:
    return (*_names(change.key), change.revision, change.created_revision)
