"""The PostgreSQL schema and how it changes, while other replicas run.

Each replica applies, when it starts, every *pre* part that it knows, and the *post* part of every version but the
newest: replicas of two neighbouring versions may run together, so what a version no longer uses goes when the version
after it comes. An advisory lock lets one replica at a time look and change. A replica of the version before may
start again on what a newer one has added; it is refused where something was taken away that it needs.

`append_group` is a function of the database, because the lock on the order of revisions must not be held while a
client's answer is waited for: a replica that is stopped, or slow, would stop every writer of every other one.
"""

from skerry.kit.errors import StartError
from skerry.store.migration import Migration
from skerry.store.postgres.session import Raw

#: Of the advisory lock: "skerry" as a number.
MIGRATION_LOCK = 0x736B65727279

_RECORDS = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer NOT NULL,
        part text NOT NULL CHECK (part IN ('pre', 'post')),
        title text NOT NULL,
        PRIMARY KEY (version, part)
    )
    """

# Names are compared by code points, as Python compares them.
_NAMES = """
    resource text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL
    """

_APPEND_GROUP = """
    CREATE OR REPLACE FUNCTION append_group(
        the_writer uuid, the_number bigint, resources text[], namespaces text[], names text[],
        expected bigint[], vals bytea[]
    ) RETURNS TABLE (
        written_revision bigint, found_revision bigint, found_created_revision bigint, found_value bytea
    ) LANGUAGE plpgsql AS $$
    DECLARE
        newest bigint;
        before bigint;
        recorded bigint[];
        place current%ROWTYPE;
    BEGIN
        SELECT state.revision INTO newest FROM state FOR UPDATE;
        before := newest;
        SELECT writers.revisions INTO recorded FROM writers
            WHERE writers.writer = the_writer AND writers.number >= the_number;
        IF FOUND THEN -- applied before: it is only answered
            RETURN QUERY
                SELECT written.revision, held.revision, held.created_revision, held.value
                FROM unnest(recorded) WITH ORDINALITY AS written (revision, i)
                LEFT JOIN LATERAL (
                    SELECT revisions.* FROM current JOIN revisions USING (revision)
                    WHERE written.revision = 0 AND current.resource = resources[written.i]
                      AND current.namespace = namespaces[written.i] AND current.name = names[written.i]
                ) AS held ON true
                ORDER BY written.i;
        ELSE
            FOR i IN 1 .. cardinality(names) LOOP
                SELECT * INTO place FROM current
                    WHERE current.resource = resources[i] AND current.namespace = namespaces[i]
                      AND current.name = names[i];
                found_revision := NULL; found_created_revision := NULL; found_value := NULL;
                IF place.revision IS NOT NULL THEN
                    SELECT revisions.revision, revisions.created_revision, revisions.value
                        INTO found_revision, found_created_revision, found_value
                        FROM revisions WHERE revisions.revision = place.revision;
                END IF;
                IF coalesce(place.revision, 0) <> expected[i] THEN
                    written_revision := 0;
                    recorded[i] := 0;
                    RETURN NEXT;
                    CONTINUE;
                END IF;
                newest := newest + 1;
                written_revision := newest;
                recorded[i] := newest;
                RETURN NEXT;
                INSERT INTO revisions VALUES (
                    newest, resources[i], namespaces[i], names[i], coalesce(place.created_revision, newest),
                    expected[i], vals[i] IS NULL, vals[i]
                );
                IF vals[i] IS NULL THEN
                    DELETE FROM current
                        WHERE current.resource = resources[i] AND current.namespace = namespaces[i]
                          AND current.name = names[i];
                ELSIF expected[i] = 0 THEN
                    INSERT INTO current VALUES (resources[i], namespaces[i], names[i], newest, newest);
                ELSE
                    UPDATE current SET revision = newest
                        WHERE current.resource = resources[i] AND current.namespace = namespaces[i]
                          AND current.name = names[i];
                END IF;
            END LOOP;
            INSERT INTO writers VALUES (the_writer, the_number, recorded, now())
                ON CONFLICT (writer) DO UPDATE
                SET number = excluded.number, revisions = excluded.revisions, seen = excluded.seen;
            IF newest > before THEN
                UPDATE state SET revision = newest;
                PERFORM pg_notify('skerry_revision', '');
            END IF;
        END IF;
    END
    $$
    """

# Sets an entry, or with no value removes it; tells what the namespace holds then, and whether it may: else nothing is
# changed.
_KV_WRITE = """
    CREATE FUNCTION kv_write(
        the_namespace text, the_key bytea, new_value bytea, new_metadata text, new_expires double precision,
        bytes_max bigint
    ) RETURNS TABLE (would_hold bigint, written boolean) LANGUAGE plpgsql AS $$
    DECLARE
        held bigint;
        found_entry kv_entries%ROWTYPE;
        made_entry kv_entries%ROWTYPE;
    BEGIN
        INSERT INTO kv_namespaces VALUES (the_namespace, 0) ON CONFLICT DO NOTHING;
        SELECT held_bytes INTO held FROM kv_namespaces WHERE namespace = the_namespace FOR UPDATE;
        SELECT * INTO found_entry FROM kv_entries WHERE namespace = the_namespace AND key = the_key;
        IF FOUND THEN
            held := held - kv_bytes(found_entry);
        END IF;
        IF new_value IS NOT NULL THEN
            made_entry := ROW(the_namespace, the_key, new_value, new_metadata, new_expires);
            held := held + kv_bytes(made_entry);
            IF held > bytes_max THEN
                RETURN QUERY SELECT held, false;
                RETURN;
            END IF;
        END IF;
        DELETE FROM kv_entries WHERE namespace = the_namespace AND key = the_key;
        IF new_value IS NOT NULL THEN
            INSERT INTO kv_entries SELECT made_entry.*;
        END IF;
        UPDATE kv_namespaces SET held_bytes = held WHERE namespace = the_namespace;
        RETURN QUERY SELECT held, true;
    END
    $$
    """

MIGRATIONS = (
    Migration(
        version=1,
        title="the revision log",
        pre=(
            f"""
            CREATE TABLE revisions (
                revision bigint PRIMARY KEY, -- handed out by `state`, in the order of commits
                {_NAMES},
                created_revision bigint NOT NULL,
                previous_revision bigint NOT NULL, -- 0: there was no entry
                deleted boolean NOT NULL,
                value bytea CHECK ((value IS NULL) = deleted)
            )
            """,
            "CREATE UNIQUE INDEX revisions_by_key ON revisions (resource, namespace, name, revision) INCLUDE (deleted)",
            f"""
            CREATE TABLE current (
                {_NAMES},
                revision bigint NOT NULL,
                created_revision bigint NOT NULL,
                PRIMARY KEY (resource, namespace, name)
            ) WITH (fillfactor = 80) -- a new revision finds room beside the old one, and no index changes
            """,
            "CREATE TABLE state (only_row boolean PRIMARY KEY CHECK (only_row), revision bigint NOT NULL)",
            "INSERT INTO state VALUES (true, 0)",
            """
            CREATE TABLE compaction (
                only_row boolean PRIMARY KEY CHECK (only_row),
                compacted_revision bigint NOT NULL, -- the oldest one that readers may ask for
                swept_revision bigint NOT NULL      -- how far the rows below that are deleted
            )
            """,
            "INSERT INTO compaction VALUES (true, 0, 0)",
            """
            CREATE TABLE writers ( -- the last group of each, so that none is applied twice
                writer uuid PRIMARY KEY,
                number bigint NOT NULL,
                revisions bigint[] NOT NULL, -- what the writes of the group were given; 0: a conflict
                seen timestamptz NOT NULL
            ) WITH (fillfactor = 50)
            """,
            _APPEND_GROUP,
        ),
    ),
    Migration(
        version=2,
        title="blobs, and keys and values of functions, beside the log",
        pre=(
            """
            CREATE TABLE blobs (
                name text COLLATE "C" PRIMARY KEY,
                size_bytes bigint NOT NULL,
                put_at timestamptz NOT NULL -- the last time; what nothing names is removed some time after
            )
            """,
            """
            CREATE TABLE blob_chunks (
                name text COLLATE "C" NOT NULL REFERENCES blobs ON DELETE CASCADE,
                place integer NOT NULL, -- from 0; all but the last are of one size
                content bytea NOT NULL,
                PRIMARY KEY (name, place)
            )
            """,
            # Wasm and archives: what can be compressed mostly is, and it would be tried for each chunk.
            "ALTER TABLE blob_chunks ALTER COLUMN content SET STORAGE EXTERNAL",
            """
            CREATE TABLE kv_namespaces ( -- its row is the lock on a namespace, taken by every writer first
                namespace text COLLATE "C" PRIMARY KEY,
                held_bytes bigint NOT NULL
            )
            """,
            """
            CREATE TABLE kv_entries (
                namespace text COLLATE "C" NOT NULL REFERENCES kv_namespaces,
                key bytea NOT NULL, -- in the order of bytes, as the store of a node has them
                value bytea NOT NULL,
                metadata text,
                expires double precision, -- seconds since the epoch, by this server's clock
                PRIMARY KEY (namespace, key)
            )
            """,
            "CREATE INDEX kv_entries_by_expiry ON kv_entries (expires) WHERE expires IS NOT NULL",
            """
            CREATE FUNCTION kv_bytes(entry kv_entries) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$
                SELECT (octet_length(entry.key) + octet_length(entry.value)
                    + coalesce(octet_length(entry.metadata), 0))::bigint
            $$
            """,
            _KV_WRITE,
        ),
    ),
    Migration(
        version=3,
        title="a group of changes tells what it superseded",
        pre=(_APPEND_GROUP,),
    ),
)

#: A table that is there while the database is being filled; see `moving`.
HALF_DONE = "half_done_copy"


async def is_half_done(connection: Raw) -> bool:
    """Tell whether a log is being moved here, and has not arrived."""
    return await connection.fetchval("SELECT to_regclass($1)", HALF_DONE) is not None


async def require_known(connection: Raw, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Insist on a schema that was made, and that this version of Skerry can work on; raises StartError."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        raise StartError("there is no log of Skerry in the database")
    await _require_not_newer(connection, migrations)


async def migrate(connection: Raw, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Bring the schema to the newest version, as far as the version before can bear; see above.

    Raises:
        StartError: the database was changed by a newer version of Skerry; nothing was changed.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        # Asked for first: who may use the tables need not be allowed to make them.
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            await connection.execute(_RECORDS)
        await _require_not_newer(connection, migrations)
        for migration in migrations:
            await _apply(connection, migration, "pre", migration.pre)
        for migration in migrations[:-1]:
            await _apply(connection, migration, "post", migration.post)


async def _require_not_newer(connection: Raw, migrations: tuple[Migration, ...]) -> None:
    known = migrations[-1].version
    found = await connection.fetch("SELECT part, max(version) AS version FROM schema_migrations GROUP BY part")
    newest = {row["part"]: row["version"] for row in found}
    if newest.get("pre", 0) > known + 1 or newest.get("post", 0) > known:
        raise StartError(
            f"the database has schema version {newest['pre']}, this version of Skerry knows {known}: use a newer Skerry"
        )


async def _apply(connection: Raw, migration: Migration, part: str, statements: tuple[str, ...]) -> None:
    recorded = await connection.fetchval(
        "SELECT 1 FROM schema_migrations WHERE version = $1 AND part = $2", migration.version, part
    )
    if not recorded:
        for statement in statements:
            await connection.execute(statement)
        await connection.execute(
            "INSERT INTO schema_migrations VALUES ($1, $2, $3)", migration.version, part, migration.title
        )
