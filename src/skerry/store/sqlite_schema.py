"""The SQLite schema and how it changes.

`migrate` applies both parts of every migration in order, which suits a database that one process opens.
"""

import sqlite3

from skerry.kit.errors import StartError
from skerry.store.migration import Migration

_RECORDS = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version INTEGER NOT NULL,
        part TEXT NOT NULL CHECK (part IN ('pre', 'post')),
        title TEXT NOT NULL,
        PRIMARY KEY (version, part)
    ) STRICT
    """


MIGRATIONS = (
    Migration(
        version=1,
        title="the revision log",
        pre=(
            # No AUTOINCREMENT: `state.revision` hands out the numbers, so that none is used again after
            # compaction took the newest row, and a whole group of writes costs one update of it.
            """
            CREATE TABLE revisions (
                revision INTEGER PRIMARY KEY,
                resource TEXT NOT NULL,
                namespace TEXT NOT NULL,
                name TEXT NOT NULL,
                created_revision INTEGER NOT NULL,
                previous_revision INTEGER NOT NULL, -- 0: there was no entry
                deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
                value BLOB CHECK ((value IS NULL) = deleted)
            ) STRICT
            """,
            "CREATE UNIQUE INDEX revisions_by_key ON revisions (resource, namespace, name, revision, deleted)",
            """
            CREATE TABLE current (
                resource TEXT NOT NULL,
                namespace TEXT NOT NULL,
                name TEXT NOT NULL,
                revision INTEGER NOT NULL,
                created_revision INTEGER NOT NULL,
                PRIMARY KEY (resource, namespace, name)
            ) STRICT, WITHOUT ROWID
            """,
            """
            CREATE TABLE state (
                only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
                revision INTEGER NOT NULL,           -- the newest one
                compacted_revision INTEGER NOT NULL, -- the oldest one that readers may ask for
                swept_revision INTEGER NOT NULL      -- how far the rows below that are deleted
            ) STRICT
            """,
            "INSERT INTO state VALUES (1, 0, 0, 0)",
        ),
    ),
)

#: A table that is there while the database is being filled; see `moving`.
HALF_DONE = "half_done_copy"


def is_half_done(connection: sqlite3.Connection) -> bool:
    """Tell whether a log is being moved here, and has not arrived."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (HALF_DONE,)).fetchone())


def require_known(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Insist on a schema that was made, and by no newer version of Skerry; raises StartError."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone():
        raise StartError("there is no log of Skerry in the database")
    _require_not_newer(connection, migrations)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring the schema to the newest version; two processes may do this at once.

    Raises:
        StartError: the database was written by a newer version of Skerry; nothing was changed.
    """
    connection.execute(_RECORDS)
    _require_not_newer(connection, migrations)
    for migration in migrations:
        _apply(connection, migration, "pre", migration.pre)
    for migration in migrations:
        _apply(connection, migration, "post", migration.post)


def _require_not_newer(connection: sqlite3.Connection, migrations: tuple[Migration, ...]) -> None:
    known = migrations[-1].version
    found = connection.execute("SELECT max(version) FROM schema_migrations").fetchone()[0]
    if found is not None and found > known:
        raise StartError(
            f"the database has schema version {found}, this version of Skerry knows {known}: use a newer Skerry"
        )


def _apply(connection: sqlite3.Connection, migration: Migration, part: str, statements: tuple[str, ...]) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        recorded = connection.execute(
            "INSERT INTO schema_migrations VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (migration.version, part, migration.title),
        )
        if recorded.rowcount:
            for statement in statements:
                connection.execute(statement)
