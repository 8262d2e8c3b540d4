"""Every statement of the SQLite driver, by name; the name labels its metric.

Tables (see sqlite_schema.py): `revisions` holds each change once; `current` points from every living key to
its newest revision, so the present is read without a look at history; `state` is one row of counters.
"""

from skerry.store.queries import Query

STATE = Query("state", "SELECT revision, compacted_revision, swept_revision FROM state")
SET_COMPACTED = Query("set_compacted", "UPDATE state SET compacted_revision = :revision")
SET_SWEPT = Query("set_swept", "UPDATE state SET swept_revision = :revision")

GET = Query(
    "get",
    """
    SELECT revisions.revision, revisions.created_revision, revisions.value
    FROM current JOIN revisions USING (revision)
    WHERE current.resource = :resource AND current.namespace = :namespace AND current.name = :name
    """,
)
# Writes of a group are made together: what a statement needs of all of them comes as rows of a JSON array. Python's
# lock is let go for each step of a statement, and for each parameter that has a name; under load, another thread takes
# it, and to get it back takes longer than the statement. So there is one statement to find what is there, and one to
# write, which a trigger parts into the tables. Values are bytes, which JSON can't hold: they come in one piece, and
# each row says where its own lies.
GET_PLACES = Query(
    "get_places",
    """
    SELECT asked.key, current.revision, current.created_revision, revisions.value
    FROM json_each(?) AS asked
        CROSS JOIN current ON current.resource = asked.value ->> 0
            AND current.namespace = asked.value ->> 1 AND current.name = asked.value ->> 2
        CROSS JOIN revisions USING (revision)
    """,
)
ADD = Query("add", "INSERT INTO additions (revision, entries, bytes) VALUES (?, ?, ?)")
#: What `ADD` needs on its connection.
ADDITIONS = (
    "CREATE TEMP VIEW additions (revision, entries, bytes) AS SELECT 0, '[]', X''",
    """
    CREATE TEMP TRIGGER add_all INSTEAD OF INSERT ON additions BEGIN
        INSERT INTO revisions
            (resource, namespace, name, revision, created_revision, previous_revision, deleted, value)
        SELECT row.value ->> 0, row.value ->> 1, row.value ->> 2, row.value ->> 3, row.value ->> 4, row.value ->> 5,
            row.value ->> 6,
            iif(row.value ->> 6, NULL, coalesce(substr(NEW.bytes, row.value ->> 7, row.value ->> 8), X''))
        FROM json_each(NEW.entries) AS row;
        INSERT INTO current (resource, namespace, name, revision, created_revision)
        SELECT row.value ->> 0, row.value ->> 1, row.value ->> 2, row.value ->> 3, row.value ->> 4
        FROM json_each(NEW.entries) AS row WHERE NOT row.value ->> 6
        ON CONFLICT DO UPDATE SET revision = excluded.revision;
        DELETE FROM current WHERE (resource, namespace, name) IN (
            SELECT row.value ->> 0, row.value ->> 1, row.value ->> 2
            FROM json_each(NEW.entries) AS row WHERE row.value ->> 6
        );
        UPDATE state SET revision = NEW.revision;
    END
    """,
)

# Scopes of a list, over a table called `row`. The plus signs keep SQLite from seeking by the pair where the
# single name narrows more; the pair is checked too, as `after` may be of another namespace.
_AFTER = "(:after_namespace, :after_name)"
_IN_ALL = f"row.resource = :resource AND (row.namespace, row.name) > {_AFTER}"
_IN_ONE = f"""
    row.resource = :resource AND row.namespace = :namespace AND row.name > :after_name
      AND (+row.namespace, +row.name) > {_AFTER}
    """

# CROSS JOIN: read `row` in the order of the list, and fetch each value from `revisions`.
_LIST_CURRENT = """
    SELECT row.namespace, row.name, revisions.revision, revisions.created_revision, revisions.value
    FROM current AS row CROSS JOIN revisions USING (revision) WHERE {scope}
    ORDER BY row.namespace, row.name LIMIT :limit
    """
_COUNT_CURRENT = "SELECT count(*) FROM current AS row WHERE {scope}"
LIST_CURRENT = Query("list_current", _LIST_CURRENT.format(scope=_IN_ALL))
LIST_CURRENT_NAMESPACE = Query("list_current_namespace", _LIST_CURRENT.format(scope=_IN_ONE))
COUNT_CURRENT = Query("count_current", _COUNT_CURRENT.format(scope=_IN_ALL))
COUNT_CURRENT_NAMESPACE = Query("count_current_namespace", _COUNT_CURRENT.format(scope=_IN_ONE))

# A key's state at a revision is its newest row up to there, unless that is a tombstone. The index
# `revisions_by_key` holds all that decides it, in the order of the list.
_SNAPSHOT = """
    FROM revisions AS row
    WHERE {scope} AND revision <= :revision AND NOT deleted AND NOT EXISTS (
        SELECT 1 FROM revisions AS newer
        WHERE newer.resource = row.resource AND newer.namespace = row.namespace AND newer.name = row.name
          AND newer.revision > row.revision AND newer.revision <= :revision
    )
    """
_LIST_SNAPSHOT = f"""
    SELECT namespace, name, revision, created_revision, value {_SNAPSHOT}
    ORDER BY namespace, name LIMIT :limit
    """
_COUNT_SNAPSHOT = f"SELECT count(*) {_SNAPSHOT}"
LIST_SNAPSHOT = Query("list_snapshot", _LIST_SNAPSHOT.format(scope=_IN_ALL))
LIST_SNAPSHOT_NAMESPACE = Query("list_snapshot_namespace", _LIST_SNAPSHOT.format(scope=_IN_ONE))
COUNT_SNAPSHOT = Query("count_snapshot", _COUNT_SNAPSHOT.format(scope=_IN_ALL))
COUNT_SNAPSHOT_NAMESPACE = Query("count_snapshot_namespace", _COUNT_SNAPSHOT.format(scope=_IN_ONE))

EVENTS_AFTER = Query(
    "events_after",
    """
    SELECT event.revision, event.resource, event.namespace, event.name,
           event.previous_revision, event.deleted, event.value, previous.value
    FROM revisions AS event LEFT JOIN revisions AS previous ON previous.revision = event.previous_revision
    WHERE event.revision > :revision
      AND (:resource IS NULL OR event.resource = :resource)
      AND (:namespace IS NULL OR event.namespace = :namespace)
      AND (:name IS NULL OR event.name = :name)
    ORDER BY event.revision LIMIT :limit
    """,
)

# What a change superseded is named by the change itself, so a sweep looks at the swept span only.
SWEEP_SUPERSEDED = Query(
    "sweep_superseded",
    """
    DELETE FROM revisions WHERE revision IN
        (SELECT previous_revision FROM revisions WHERE revision > :above AND revision <= :up_to)
    """,
)
SWEEP_TOMBSTONES = Query(
    "sweep_tombstones",
    "DELETE FROM revisions WHERE revision > :above AND revision <= :up_to AND deleted",
)

# Values as they lie here, for `sealing`.
VALUES_AFTER = Query(
    "values_after",
    """
    SELECT row.revision, row.resource, row.namespace, row.name, row.value, current.revision IS row.revision
    FROM revisions AS row LEFT JOIN current USING (resource, namespace, name)
    WHERE row.revision > :after AND NOT row.deleted
    ORDER BY row.revision LIMIT :limit
    """,
)
ERASE_FREED = Query("erase_freed", "PRAGMA secure_delete = ON")
KEEP_FREED = Query("keep_freed", "PRAGMA secure_delete = OFF")
REWRITE = Query("rewrite", "UPDATE revisions SET value = :new WHERE revision = :revision AND value = :old")
