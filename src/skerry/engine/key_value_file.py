"""Keys and values of functions in one SQLite file a node, shared by its workers.

Owns the file, and the end of entries that expire. Used from many threads of many processes: two connections each
process, with a lock each, so that no reader waits for a writer's disk; SQLite's own lock orders processes.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from skerry.engine.key_values import (
    BUSY_SECONDS_MAX,
    NAMESPACE_BYTES_MAX,
    Keys,
    KeyValueError,
    KeyValues,
    Listed,
    Value,
    keys_with,
    namespace_full,
)
from skerry.kit.clock import Clock
from skerry.kit.errors import StartError
from skerry.kit.files import make_private_directory, make_private_file

T = TypeVar("T")

#: Entries that one sweep removes, so that no write waits long for it.
SWEEP_ENTRIES_MAX = 1_000
#: When to try again what others stand in the way of.
RETRY_SECONDS = 0.01

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS entries (
    namespace TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, metadata TEXT, expires REAL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS namespaces (namespace TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entries BEGIN
    INSERT INTO namespaces
    VALUES (new.namespace, length(new.key) + length(new.value) + coalesce(length(CAST(new.metadata AS BLOB)), 0))
    ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER IF NOT EXISTS entry_removed AFTER DELETE ON entries BEGIN
    UPDATE namespaces
    SET bytes = bytes - length(old.key) - length(old.value) - coalesce(length(CAST(old.metadata AS BLOB)), 0)
    WHERE namespace = old.namespace;
END;
"""
_GET = "SELECT value, metadata FROM entries WHERE namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)"
_LIST = (
    "SELECT key, metadata, expires FROM entries WHERE namespace = ? AND key > ? AND key >= ? AND key < ?"
    " AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?"
)
_DELETE = "DELETE FROM entries WHERE namespace = ? AND key = ?"
_INSERT = "INSERT INTO entries (namespace, key, value, metadata, expires) VALUES (?, ?, ?, ?, ?)"
_BYTES = "SELECT bytes FROM namespaces WHERE namespace = ?"
_EXPIRED = "SELECT 1 FROM entries WHERE expires <= ? LIMIT 1"
_SWEEP = "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires <= ? LIMIT ?)"
_BUSY = "the key/value store is busy with other writes: try again"


class KeyValueStore(KeyValues):
    """The store of a node; close it.

    Args:
        path: of the file; made where it is absent.
        clock: tells what has expired.

    Raises:
        StartError: the file can't be used.
    """

    is_elsewhere = False

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(clock)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        try:
            make_private_directory(path.parent)
            make_private_file(path)  # SQLite gives -wal and -shm the same mode
            self._writer = _connect(path)
            _when_free(lambda: self._writer.executescript(_SCHEMA))
            self._reader = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"the functions' key/value store {path} can't be used: {error}") from error

    def close(self) -> None:
        """Release the file."""
        self._writer.close()
        self._reader.close()

    def _get(self, namespace: str, key: bytes, wait_seconds: float) -> Value | None:  # noqa: ARG002 - a read waits for nobody
        found = self._read(lambda db: db.execute(_GET, (namespace, key, self.now_seconds())).fetchone())
        return Value(*found) if found else None

    def _put(self, namespace: str, key: bytes, stored: Value, expires: float | None, wait_seconds: float) -> None:
        def write(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute(_DELETE, (namespace, key))
                db.execute(_INSERT, (namespace, key, stored.value, stored.metadata, expires))
                (used,) = db.execute(_BYTES, (namespace,)).fetchone()
                if used > NAMESPACE_BYTES_MAX:
                    raise namespace_full(used)

        self._write(write, wait_seconds)

    def _delete(self, namespace: str, key: bytes, wait_seconds: float) -> None:
        self._write(lambda db: db.execute(_DELETE, (namespace, key)), wait_seconds)

    def _list(self, namespace: str, keys: Keys, wait_seconds: float) -> Sequence[Listed]:  # noqa: ARG002 - as `_get`
        bounds = (namespace, keys.after.encode(), *keys_with(keys.prefix), self.now_seconds(), keys.limit)
        rows = self._read(lambda db: db.execute(_LIST, bounds).fetchall())
        return [Listed(key.decode(), metadata, expires) for key, metadata, expires in rows]

    def sweep(self) -> None:
        """Remove some of what has expired; call it now and then. Raises KeyValueError."""
        now = self.now_seconds()
        if self._read(lambda db: db.execute(_EXPIRED, (now,)).fetchone()):  # else no writer need wait for it
            self._write(lambda db: db.execute(_SWEEP, (now, SWEEP_ENTRIES_MAX)), BUSY_SECONDS_MAX)

    def _read(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        with self._reading, _failures():
            return operation(self._reader)

    def _write(self, operation: Callable[[sqlite3.Connection], T], wait_seconds: float) -> T:
        """Write alone, within a time: first the writers of this process have their turn, then those of others."""
        ends = time.monotonic() + wait_seconds
        if not self._writing.acquire(timeout=wait_seconds):
            raise KeyValueError(_BUSY)
        try:
            with _failures():
                left_ms = int(max(0.0, ends - time.monotonic()) * 1000)
                self._writer.execute(f"PRAGMA busy_timeout = {left_ms}")
                return operation(self._writer)
        finally:
            self._writing.release()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _when_free(change: Callable[[], object]) -> None:
    """Make a change again while others make theirs: SQLite itself does not wait for the change to WAL."""
    until = time.monotonic() + BUSY_SECONDS_MAX
    while True:
        try:
            change()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            return


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
        raise KeyValueError(_BUSY if busy else f"the key/value store failed: {error}") from error
    except sqlite3.Error as error:
        raise KeyValueError(f"the key/value store failed: {error}") from error


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    with closing(db.execute("BEGIN IMMEDIATE")):
        try:
            yield
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
