"""The file with a node's keys and values of functions (`engine.key_values`, whose tables they are), moved."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from skerry.store.moving.changes import BATCH_BYTES, BATCH_CHANGES
from skerry.store.moving.key_values import KeyValue
from skerry.store.moving.sqlite_worker import Worker, worker_on
from skerry.store.sqlite_connection import SqliteSettings, connect

_AFTER = """
    SELECT namespace, key, value, metadata, expires FROM entries WHERE (namespace, key) > (?, ?)
    ORDER BY namespace, key LIMIT ?
    """
_ADD = "INSERT INTO entries (namespace, key, value, metadata, expires) VALUES (?, ?, ?, ?, ?)"


class SqliteKeyValues:
    """A `KeyValuePlace` in a file. One that is absent holds nothing, and can't be written to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def entries(self) -> AsyncIterator[Sequence[KeyValue]]:
        """Yield all entries, as they are at one moment; see `KeyValuePlace`."""
        if not self._path.is_file():
            return
        async with worker_on(partial(connect, self._path, SqliteSettings()), str(self._path)) as worker:
            await worker.do(partial(worker.raw.execute, "BEGIN"))
            after = ("", b"")
            while batch := await worker.do(partial(_next, worker.raw, after)):
                yield batch
                after = (batch[-1].namespace, batch[-1].key)

    async def replace(self, entries: AsyncIterator[Sequence[KeyValue]]) -> None:
        """Keep these and no others; see `KeyValuePlace`."""
        async with worker_on(partial(connect, self._path, SqliteSettings()), str(self._path)) as worker:
            await worker.do(partial(_add, worker, (), clear=True))
            async for batch in entries:
                await worker.do(partial(_add, worker, batch))


def _next(raw: sqlite3.Connection, after: tuple[str, bytes]) -> list[KeyValue]:
    """Return the next entries, cut by their number and the bytes of their values."""
    batch: list[KeyValue] = []
    batch_bytes = 0
    for row in raw.execute(_AFTER, (*after, BATCH_CHANGES)):
        batch.append(KeyValue(*row))
        batch_bytes += len(batch[-1].value)
        if batch_bytes > BATCH_BYTES:
            break
    return batch


def _add(worker: Worker, batch: Sequence[KeyValue], *, clear: bool = False) -> None:
    with worker.connection.transaction(write=True):
        if clear:
            worker.raw.execute("DELETE FROM entries")
        rows = [(entry.namespace, entry.key, entry.value, entry.metadata, entry.expires) for entry in batch]
        worker.raw.executemany(_ADD, rows)
