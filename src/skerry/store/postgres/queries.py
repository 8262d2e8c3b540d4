"""Every statement of the PostgreSQL driver, by name.

Tables (see schema.py): `revisions` holds each change once; `current` points from every living key to its newest
revision; `state` and `compaction` are one row each. A statement sees one snapshot of all of them, so what has to agree
(a list and its revision) is read by one statement, never by two.
"""

from skerry.store.queries import Query

#: Where every read begins: the bounds of the snapshot that it sees.
_SPAN = "SELECT state.revision AS latest, compaction.compacted_revision AS compacted FROM state, compaction"

BOUNDS = Query("bounds", _SPAN)

GET = Query(
    "get",
    """
    SELECT wanted.place, row.revision, row.created_revision, row.value
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (resource, namespace, name, place)
    JOIN current ON current.resource = wanted.resource AND current.namespace = wanted.namespace
        AND current.name = wanted.name
    JOIN revisions AS row ON row.revision = current.revision
    """,
)

APPEND_GROUP = Query(
    "append_group", "SELECT * FROM append_group($1, $2, $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bytea[])"
)

# Each start of a replica is another writer; one that was not heard of for so long has nothing under way any more.
FORGET_WRITERS = Query("forget_writers", "DELETE FROM writers WHERE seen < now() - interval '7 days'")

# Scopes of a list, over a table called `row`: $1 resource, $2 namespace, $3 and $4 the last pair that was seen. The
# pair is checked in one namespace, too, as it may be of another.
_IN_ALL = "row.resource = $1 AND $2::text IS NULL AND (row.namespace, row.name) > ($3, $4)"
_IN_ONE = """
    row.resource = $1 AND row.namespace = $2 AND (row.namespace, row.name) > ($3, $4)
    AND row.name > CASE WHEN $3 = $2 THEN $4 ELSE '' END
    """

# A page, $5 entries of it or all, behind the bounds. What there is in all is counted for the first page of a list.
_PAGE = """
    WITH span AS ({span}), page AS ({page} ORDER BY row.namespace, row.name LIMIT $5)
    SELECT span.*, CASE WHEN $4 = '' AND $5::bigint IS NOT NULL THEN ({count}) END AS counted, page.*
    FROM span LEFT JOIN page ON true ORDER BY page.namespace, page.name
    """
_CURRENT = """
    SELECT row.namespace, row.name, revisions.revision, revisions.created_revision, revisions.value
    FROM current AS row JOIN revisions USING (revision) WHERE {scope}
    """
# A key's state at a revision is its newest row up to there, unless that is a tombstone.
_AT_REVISION = """
    FROM revisions AS row
    WHERE {scope} AND row.revision <= $6 AND NOT row.deleted AND NOT EXISTS (
        SELECT FROM revisions AS newer
        WHERE newer.resource = row.resource AND newer.namespace = row.namespace AND newer.name = row.name
          AND newer.revision > row.revision AND newer.revision <= $6
    )
    """


_COUNT_CURRENT = "SELECT count(*) FROM current AS row WHERE {scope}"
_SNAPSHOT = "SELECT row.namespace, row.name, row.revision, row.created_revision, row.value" + _AT_REVISION
_COUNT_SNAPSHOT = "SELECT count(*)" + _AT_REVISION


def _page(name: str, page: str, count: str, scope: str) -> Query:
    return Query(name, _PAGE.format(span=_SPAN, page=page.format(scope=scope), count=count.format(scope=scope)))


LIST_CURRENT = _page("list_current", _CURRENT, _COUNT_CURRENT, _IN_ALL)
LIST_CURRENT_NAMESPACE = _page("list_current_namespace", _CURRENT, _COUNT_CURRENT, _IN_ONE)
LIST_SNAPSHOT = _page("list_snapshot", _SNAPSHOT, _COUNT_SNAPSHOT, _IN_ALL)
LIST_SNAPSHOT_NAMESPACE = _page("list_snapshot_namespace", _SNAPSHOT, _COUNT_SNAPSHOT, _IN_ONE)

# $1 the last revision that was seen, $2 to $4 the scope, $5 most events, $6 bytes after which the batch is cut. The
# window adds up lengths only: a value is read from its place when it is sent.
_EVENTS_AFTER = """
    WITH span AS ({span}), batch AS (
        SELECT event.*, previous.value AS previous,
            sum(coalesce(octet_length(event.value), 0) + coalesce(octet_length(previous.value), 0))
                OVER (ORDER BY event.revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM (
            SELECT * FROM revisions AS row
            WHERE row.revision > $1 AND ($2::text IS NULL OR row.resource = $2)
              AND ($3::text IS NULL OR row.namespace = $3) AND ($4::text IS NULL OR row.name = $4)
            ORDER BY row.revision LIMIT $5
        ) AS event LEFT JOIN revisions AS previous ON previous.revision = event.previous_revision
    )
    SELECT span.*, batch.revision, batch.resource, batch.namespace, batch.name, batch.previous_revision, batch.deleted,
        batch.value, batch.previous
    FROM span LEFT JOIN batch ON coalesce(batch.bytes_before, 0) <= $6 ORDER BY batch.revision
    """
EVENTS_AFTER = Query("events_after", _EVENTS_AFTER.format(span=_SPAN))

MARK_COMPACTED = Query("mark_compacted", "UPDATE compaction SET compacted_revision = $1 WHERE compacted_revision < $1")
# A row that another replica holds is skipped: one at a time sweeps, and the others leave it to that one.
SWEEP_FROM = Query("sweep_from", "SELECT compacted_revision, swept_revision FROM compaction FOR UPDATE SKIP LOCKED")
# What a change superseded is named by the change itself, so a sweep looks at the swept span only.
SWEEP_SUPERSEDED = Query(
    "sweep_superseded",
    """
    DELETE FROM revisions WHERE revision IN
        (SELECT previous_revision FROM revisions WHERE revision > $1 AND revision <= $2)
    """,
)
SWEEP_TOMBSTONES = Query("sweep_tombstones", "DELETE FROM revisions WHERE revision > $1 AND revision <= $2 AND deleted")
SET_SWEPT = Query("set_swept", "UPDATE compaction SET swept_revision = $1")

# Values as they lie here, for `sealing`: $1 the last revision that was seen, $2 most, $3 bytes after which to cut.
VALUES_AFTER = Query(
    "values_after",
    """
    SELECT * FROM (
        SELECT row.revision, row.resource, row.namespace, row.name, row.value,
            coalesce(current.revision = row.revision, false),
            sum(octet_length(row.value))
                OVER (ORDER BY row.revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM (SELECT * FROM revisions WHERE revision > $1 AND NOT deleted ORDER BY revision LIMIT $2) AS row
        LEFT JOIN current USING (resource, namespace, name)
    ) AS held WHERE coalesce(bytes_before, 0) <= $3 ORDER BY revision
    """,
)
REWRITE = Query(
    "rewrite",
    """
    UPDATE revisions SET value = rewrite.new
    FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS rewrite (revision, old, new)
    WHERE revisions.revision = rewrite.revision AND revisions.value = rewrite.old
    """,
)
# Blobs: $1 the name, $2 its bytes. A row that is there means that all chunks are; a new one was not visible before.
PUT_BLOB = Query(
    "put_blob",
    """
    INSERT INTO blobs VALUES ($1, $2, now()) ON CONFLICT (name) DO UPDATE SET put_at = now()
    RETURNING xmax = 0, (SELECT coalesce(sum(size_bytes), 0)::bigint FROM blobs)
    """,
)
PUT_CHUNK = Query("put_chunk", "INSERT INTO blob_chunks VALUES ($1, $2, $3)")
BLOB_SIZE = Query("blob_size", "SELECT size_bytes FROM blobs WHERE name = $1")
READ_CHUNK = Query("read_chunk", "SELECT content FROM blob_chunks WHERE name = $1 AND place = $2")
REMOVE_BLOB = Query("remove_blob", "DELETE FROM blobs WHERE name = $1")
LOCK_REMOVAL = Query("lock_removal", "SELECT pg_try_advisory_xact_lock($1)")
# $1 the names that stay, $2 seconds of grace, $3 most. A row that someone is putting again is left alone.
REMOVE_BLOBS = Query(
    "remove_blobs",
    """
    DELETE FROM blobs WHERE name IN (
        SELECT name FROM blobs WHERE put_at <= now() - make_interval(secs => $2) AND name <> ALL ($1::text[])
        LIMIT $3 FOR UPDATE SKIP LOCKED
    ) RETURNING name
    """,
)
# Keys and values of functions; what has expired is there until it is swept, and shown to nobody.
_LIVE = "(expires IS NULL OR expires > extract(epoch FROM now()))"
_KV_GET = "SELECT value, metadata FROM kv_entries WHERE namespace = $1 AND key = $2 AND {live}"
KV_GET = Query("kv_get", _KV_GET.format(live=_LIVE))
KV_WRITE = Query("kv_write", "SELECT * FROM kv_write($1, $2, $3, $4, $5, $6)")
# $2 the last key that was seen, $3 and $4 between which keys, $5 most.
_KV_LIST = """
    SELECT key, metadata, expires FROM kv_entries
    WHERE namespace = $1 AND key > $2 AND key >= $3 AND key < $4 AND {live} ORDER BY key LIMIT $5
    """
KV_LIST = Query("kv_list", _KV_LIST.format(live=_LIVE))
# A namespace that someone writes to is left for the next time.
KV_EXPIRED = Query(
    "kv_expired",
    """
    SELECT namespace FROM kv_namespaces WHERE namespace IN (
        SELECT namespace FROM kv_entries WHERE expires <= extract(epoch FROM now()) ORDER BY expires LIMIT $1
    ) LIMIT 1 FOR UPDATE SKIP LOCKED
    """,
)
KV_SWEEP = Query(
    "kv_sweep",
    """
    WITH swept AS (
        DELETE FROM kv_entries WHERE namespace = $1 AND key IN (
            SELECT key FROM kv_entries WHERE namespace = $1 AND expires <= extract(epoch FROM now())
            ORDER BY expires LIMIT $2
        ) RETURNING kv_bytes(kv_entries) AS freed
    )
    UPDATE kv_namespaces SET held_bytes = held_bytes - (SELECT coalesce(sum(freed), 0) FROM swept) WHERE namespace = $1
    """,
)
PING = Query("ping", "SELECT 1")
