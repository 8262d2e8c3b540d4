"""Every statement of moving a log out of PostgreSQL, and into it."""

from skerry.store.queries import Query

SPAN = Query(
    "moving_span",
    """
    SELECT state.revision, compaction.compacted_revision, compaction.swept_revision, (SELECT count(*) FROM revisions)
    FROM state, compaction
    """,
)
# $1 the last revision that was seen, $2 most changes, $3 bytes of values after which to cut.
_BATCH = """
    SELECT batch.* FROM (
        SELECT row.*, sum(coalesce(octet_length(row.value), 0))
            OVER (ORDER BY row.revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM (SELECT * FROM revisions WHERE revision > $1 ORDER BY revision LIMIT $2) AS row
    ) AS batch WHERE coalesce(batch.bytes_before, 0) <= $3
    """
CHANGES_AFTER = Query("moving_changes_after", f"{_BATCH} ORDER BY batch.revision")
_PLACES_AFTER = """
    SELECT row.*, older.revision AS older_revision, older.created_revision AS older_created,
        older.deleted AS older_deleted, {newer} AS newer_revision,
        current.revision AS indexed_revision, current.created_revision AS indexed_created
    FROM ({batch}) AS row
    LEFT JOIN revisions AS older ON older.revision = {older}
    LEFT JOIN current ON current.resource = row.resource AND current.namespace = row.namespace
        AND current.name = row.name
    ORDER BY row.revision
    """
_NEIGHBOUR = """(
        SELECT {which}(one.revision) FROM revisions AS one
        WHERE one.resource = row.resource AND one.namespace = row.namespace AND one.name = row.name
          AND one.revision {than} row.revision
    )"""
_OLDER, _NEWER = _NEIGHBOUR.format(which="max", than="<"), _NEIGHBOUR.format(which="min", than=">")
PLACES_AFTER = Query("moving_places_after", _PLACES_AFTER.format(newer=_NEWER, batch=_BATCH, older=_OLDER))
STRAYS = Query(
    "moving_strays",
    """
    SELECT resource, namespace, name FROM current
    WHERE NOT EXISTS (
        SELECT FROM revisions AS row
        WHERE row.resource = current.resource AND row.namespace = current.namespace AND row.name = current.name
    ) LIMIT $1
    """,
)

CLEAR = "TRUNCATE revisions, current, writers"
ADD = """
    INSERT INTO revisions
    SELECT revision, resource, namespace, name, created_revision, previous_revision, value IS NULL, value
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[])
        AS added (revision, resource, namespace, name, created_revision, previous_revision, value)
    """
UNSET_CURRENT = """
    DELETE FROM current USING unnest($1::text[], $2::text[], $3::text[]) AS gone (resource, namespace, name)
    WHERE current.resource = gone.resource AND current.namespace = gone.namespace AND current.name = gone.name
    """
SET_CURRENT = """
    INSERT INTO current (resource, namespace, name, revision, created_revision)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    """
SET_COMPACTION = "UPDATE compaction SET compacted_revision = $1, swept_revision = $2"

ARTIFACTS = Query("moving_artifacts", "SELECT name FROM blobs ORDER BY name")
SET_ARTIFACT_SIZE = Query("moving_set_artifact_size", "UPDATE blobs SET size_bytes = $2 WHERE name = $1")

# $1 and $2 the last entry that was seen, $3 most of them, $4 bytes of values after which to cut.
KEY_VALUES_AFTER = Query(
    "moving_key_values_after",
    """
    SELECT namespace, key, value, metadata, expires FROM (
        SELECT row.*, sum(octet_length(row.value)) OVER (
            ORDER BY row.namespace, row.key ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS bytes_before
        FROM (
            SELECT * FROM kv_entries WHERE (namespace, key) > ($1, $2) ORDER BY namespace, key LIMIT $3
        ) AS row
    ) AS batch WHERE coalesce(bytes_before, 0) <= $4 ORDER BY namespace, key
    """,
)
ADD_NAMESPACES = (
    "INSERT INTO kv_namespaces SELECT DISTINCT name, 0 FROM unnest($1::text[]) AS name ON CONFLICT DO NOTHING"
)
ADD_KEY_VALUES = """
    INSERT INTO kv_entries (namespace, key, value, metadata, expires)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[], $5::double precision[])
    """
COUNT_NAMESPACES = """
    UPDATE kv_namespaces SET held_bytes = (
        SELECT sum(kv_bytes(kv_entries)) FROM kv_entries WHERE kv_entries.namespace = kv_namespaces.namespace
    )
    """
