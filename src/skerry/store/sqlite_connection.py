"""Connections to the SQLite file: how they are set up, and statements run under their names.

Owns the pragmas, on which durability rests: WAL with synchronous=FULL syncs the log at every commit, so an
acknowledged transaction survives the loss of power; readers work on a snapshot and never wait for the writer.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.kit.errors import StartError
from skerry.kit.files import make_private_file
from skerry.store.queries import Query, timed
from skerry.store.settings import require_positive
from skerry.store.sqlite_queries import ADDITIONS
from skerry.store.sqlite_schema import is_half_done, migrate


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """Bounds of the SQLite driver.

    Attributes:
        sole_writer: no other process writes to the file while it is open (a lock elsewhere sees to that), so that
            reads of what is at hand need not ask the file whether it has changed.
        writes_waiting_max: writes accepted and not yet durable.
        group_writes_max: writes in one transaction; it bounds how long one waits for its group.
        gets_waiting_max: point reads accepted and not answered.
        scans_waiting_max: lists and event reads accepted and not answered.
        scan_connections: lists and event reads that run at once.
        batch_bytes_max: bytes of values after which a batch of events is cut (one event more may be in it).
        busy_timeout_seconds: how long to wait for another process that writes to the file.
        cache_bytes_max: page cache of one connection.
        wal_bytes_max: the write-ahead log is cut back to this after a checkpoint.
    """

    sole_writer: bool = False
    writes_waiting_max: int = 4_096
    group_writes_max: int = 256
    gets_waiting_max: int = 4_096
    scans_waiting_max: int = 1_024
    scan_connections: int = 2
    batch_bytes_max: int = 8 * 1024 * 1024
    busy_timeout_seconds: float = 5.0
    cache_bytes_max: int = 16 * 1024 * 1024
    wal_bytes_max: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        require_positive(self)


class Connection:
    """A connection on which statements run under their names, timed."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def row(self, query: Query, **parameters: Any) -> Any:
        """Return the first row as a tuple, or None."""
        with timed("sqlite", query):
            return self._raw.execute(query.sql, parameters).fetchone()

    def rows(self, query: Query, *values: Any, **parameters: Any) -> list[Any]:
        """Return all rows; the statement itself bounds their number. Its parameters have places, or names."""
        with timed("sqlite", query):
            return self._raw.execute(query.sql, values or parameters).fetchall()

    @contextmanager
    def open_rows(self, query: Query, **parameters: Any) -> Iterator[Iterator[Any]]:
        """Yield rows as they are read; leaving the block ends the statement."""
        with timed("sqlite", query):
            cursor = self._raw.execute(query.sql, parameters)
            try:
                yield cursor
            finally:
                cursor.close()

    def run(self, query: Query, *values: Any, **parameters: Any) -> None:
        """Run a statement that changes something. Its parameters have places, or names."""
        with timed("sqlite", query):
            self._raw.execute(query.sql, values or parameters)

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[None]:
        """Commit on leaving the block, or roll back on an error.

        A writing one takes the lock at once: a transaction that begins as a reader and then writes fails
        where another process wrote in between.
        """
        self._raw.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        try:
            yield
            self._raw.execute("COMMIT")
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection; the last one of a file writes the log back into it."""
        self._raw.close()


@dataclass(frozen=True, slots=True)
class Connections:
    """All connections of a driver: one that writes, one for point reads, some for scans."""

    writer: Connection
    getter: Connection
    scanners: tuple[Connection, ...]

    def close(self) -> None:
        """Close them, the writer last: it may write."""
        for connection in (*self.scanners, self.getter, self.writer):
            connection.close()


def open_connections(path: Path, settings: SqliteSettings) -> Connections:
    """Open or create the file and bring its schema up to date. Blocking.

    Raises:
        StartError: the file cannot be opened, is no database, or is of a newer version.
    """
    with ExitStack() as opened:

        def connected() -> sqlite3.Connection:
            raw = connect(path, settings)
            opened.callback(raw.close)
            return raw

        try:
            create_private(path)
            writer = connected()
            migrate(writer)
            for statement in ADDITIONS:
                writer.execute(statement)
            if is_half_done(writer):
                raise StartError(
                    f"the database {path} is the half of a copy: run again the command that was filling it"
                )
            getter, *scanners = [connected() for _ in range(1 + settings.scan_connections)]
            for reader in (getter, *scanners):
                reader.execute("PRAGMA query_only = ON")
        except (OSError, sqlite3.Error) as error:
            raise StartError(f"cannot open the database {path}: {error}") from error
        opened.pop_all()
    return Connections(Connection(writer), Connection(getter), tuple(map(Connection, scanners)))


def create_private(path: Path) -> None:
    """Make the file where it is absent. Values may be confidential; SQLite gives -wal and -shm the same mode."""
    make_private_file(path)


def connect(path: Path, settings: SqliteSettings) -> sqlite3.Connection:
    """Make a connection, set up as all of ours are. Blocking; raises sqlite3.Error."""
    # A connection is handed to the one thread that works with it, hence no check for the same thread.
    raw = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=settings.busy_timeout_seconds)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    # Confidential values are sealed, so what is deleted need not be erased: that makes compaction many times as slow.
    raw.execute("PRAGMA secure_delete = OFF")
    raw.execute(f"PRAGMA cache_size = -{settings.cache_bytes_max // 1024}")
    raw.execute(f"PRAGMA journal_size_limit = {settings.wal_bytes_max}")
    return raw
