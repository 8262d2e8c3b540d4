"""The key/value store of functions: one SQLite file a node, shared by its workers.

Owns the file, the limits of every store of keys and values, and the end of entries that expire. Does not own what
functions see of it (`web/kv.js`) or who may use it. What `put` and `delete` did when they returned is on disk. Each
function has a namespace of its own, so none sees another's keys. Where nodes share a database, `shared_key_values` is
in the place of the file.

Used from many threads of many processes: two connections each process, with a lock each, so that no reader waits for a
writer's disk; SQLite's own lock orders processes.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from skerry.kit.clock import Clock
from skerry.kit.errors import SkerryError, StartError

T = TypeVar("T")

KEY_BYTES_MAX = 512
VALUE_BYTES_MAX = 10 * 1024 * 1024
METADATA_BYTES_MAX = 1024
#: Of one namespace, values with their keys and metadata.
NAMESPACE_BYTES_MAX = 1024 * 1024 * 1024
LIST_KEYS_MAX = 1_000
#: How long an operation waits for others' writes, of its own process and of another.
BUSY_SECONDS_MAX = 5.0
#: Entries that one sweep removes, so that no write waits long for it.
SWEEP_ENTRIES_MAX = 1_000

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
#: Above every key: UTF-8 has no such byte.
_END = b"\xff"


class KeyValueError(SkerryError):
    """An operation that is refused, or that could not be done; nothing has changed."""


class Value(NamedTuple):
    """A stored value, with its metadata as JSON text."""

    value: bytes
    metadata: str | None


class Listed(NamedTuple):
    """A key of a list, with its metadata as JSON text and when it ends (seconds since the epoch)."""

    key: str
    metadata: str | None
    expires: float | None


class KeyValues(Protocol):
    """A store of keys and values; each method raises KeyValueError, and changes nothing then.

    Attributes:
        is_elsewhere: whether reads, too, take as long as a question to another process.
    """

    is_elsewhere: bool

    def now_seconds(self) -> float:
        """Return the time, in seconds since the epoch."""
        ...

    def get(self, namespace: str, key: str, *, wait_seconds: float = BUSY_SECONDS_MAX) -> Value | None:
        """Return a value, or None."""
        ...

    def put(
        self,
        namespace: str,
        key: str,
        stored: Value,
        expires: float | None = None,
        *,
        wait_seconds: float = BUSY_SECONDS_MAX,
    ) -> None:
        """Set a value, which ends at `expires` (seconds since the epoch; None for never)."""
        ...

    def delete(self, namespace: str, key: str, *, wait_seconds: float = BUSY_SECONDS_MAX) -> None:
        """Remove a key; one that is not there is no error."""
        ...

    def list(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = LIST_KEYS_MAX,
        wait_seconds: float = BUSY_SECONDS_MAX,
    ) -> list[Listed]:
        """Return keys in the order of their bytes, behind `after`, at most `limit`."""
        ...

    def sweep(self) -> None:
        """Remove some of what has expired; call it now and then."""
        ...


class KeyValueStore:
    """The store of a node; close it.

    Args:
        path: of the file; made where it is absent.
        clock: tells what has expired.

    Raises:
        StartError: the file can't be used.
    """

    is_elsewhere = False

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._writing, self._reading = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writer = _connect(path)
            self._writer.executescript(_SCHEMA)
            self._reader = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"the functions' key/value store {path} can't be used: {error}") from error

    def close(self) -> None:
        """Release the file."""
        self._writer.close()
        self._reader.close()

    def now_seconds(self) -> float:
        """Return the time, in seconds since the epoch."""
        return self._clock.now().timestamp()

    def get(self, namespace: str, key: str, *, wait_seconds: float = BUSY_SECONDS_MAX) -> Value | None:  # noqa: ARG002 - a read waits for nobody
        """Return a value, or None; raises KeyValueError."""
        found = self._read(lambda db: db.execute(_GET, (namespace, key_bytes(key), self.now_seconds())).fetchone())
        return Value(*found) if found else None

    def put(
        self,
        namespace: str,
        key: str,
        stored: Value,
        expires: float | None = None,
        *,
        wait_seconds: float = BUSY_SECONDS_MAX,
    ) -> None:
        """Set a value.

        Args:
            namespace: of the function.
            key: 1 to `KEY_BYTES_MAX` bytes of UTF-8.
            stored: the value and its metadata.
            expires: when the entry ends, in seconds since the epoch; None for never.
            wait_seconds: how long to wait for others' writes; `BUSY_SECONDS_MAX` at most.

        Raises:
            KeyValueError: over a limit, or not written.
        """
        place = (namespace, key_bytes(key))
        check_entry(stored, expires, now_seconds=self.now_seconds())

        def write(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute(_DELETE, place)
                db.execute(_INSERT, (*place, stored.value, stored.metadata, expires))
                (used,) = db.execute(_BYTES, (namespace,)).fetchone()
                if used > NAMESPACE_BYTES_MAX:
                    raise namespace_full(used)

        self._write(write, wait_seconds)

    def delete(self, namespace: str, key: str, *, wait_seconds: float = BUSY_SECONDS_MAX) -> None:
        """Remove a key; one that is not there is no error. Raises KeyValueError; waits as `put` does."""
        place = (namespace, key_bytes(key))
        self._write(lambda db: db.execute(_DELETE, place), wait_seconds)

    def list(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = LIST_KEYS_MAX,
        wait_seconds: float = BUSY_SECONDS_MAX,  # noqa: ARG002 - a read waits for nobody
    ) -> list[Listed]:
        """Return keys in the order of their bytes.

        Args:
            namespace: of the function.
            prefix: what they begin with.
            after: the last key of the page before.
            limit: at most `LIST_KEYS_MAX`.
            wait_seconds: as in `KeyValues`; unused.

        Raises:
            KeyValueError: a limit is exceeded, or the store can't be read.
        """
        check_limit(limit)
        bounds = (namespace, after.encode(), *keys_with(prefix), self.now_seconds(), limit)
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
        wait_seconds = max(0.0, min(wait_seconds, BUSY_SECONDS_MAX))
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


def check_entry(stored: Value, expires: float | None, *, now_seconds: float) -> None:
    """Raise KeyValueError where a value is over a limit, or would have ended already."""
    if len(stored.value) > VALUE_BYTES_MAX:
        raise KeyValueError(f"a value may have {VALUE_BYTES_MAX} bytes, and this one has {len(stored.value)}")
    if stored.metadata is not None and len(stored.metadata.encode()) > METADATA_BYTES_MAX:
        raise KeyValueError(f"metadata may have {METADATA_BYTES_MAX} bytes of JSON")
    if expires is not None and expires <= now_seconds:
        raise KeyValueError("the expiration lies in the past")


def check_limit(limit: int) -> None:
    """Raise KeyValueError where a list can't be of so many keys."""
    if not 1 <= limit <= LIST_KEYS_MAX:
        raise KeyValueError(f"limit: must be from 1 to {LIST_KEYS_MAX}, not {limit}")


def namespace_full(would_hold_bytes: int) -> KeyValueError:
    """Return the error of what has no room in its namespace."""
    return KeyValueError(f"a function may keep {NAMESPACE_BYTES_MAX} bytes, and this would be {would_hold_bytes}")


def keys_with(prefix: str) -> tuple[bytes, bytes]:
    """Return from which key to before which the keys with a prefix are."""
    start = prefix.encode()
    return start, start + _END


def key_bytes(key: str) -> bytes:
    """Return a key as it is kept; raises KeyValueError where it can't be."""
    try:
        data = key.encode()
    except UnicodeEncodeError as error:
        raise KeyValueError("a key must be well-formed text, without lone surrogates") from error
    if not 1 <= len(data) <= KEY_BYTES_MAX:
        raise KeyValueError(f"a key must have 1 to {KEY_BYTES_MAX} bytes of UTF-8, not {len(data)}")
    return data
