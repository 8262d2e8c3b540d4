"""Every statement of moving a log out of a SQLite file, and into it."""

from skerry.store.moving.databases import FAULTS_TOLD_MAX
from skerry.store.queries import Query

COUNT = Query("moving_count", "SELECT count(*) FROM revisions")
_CHANGES_AFTER = """
    SELECT row.revision, row.resource, row.namespace, row.name, row.created_revision, row.previous_revision,
        row.deleted, row.value{more}
    FROM revisions AS row{joined}
    WHERE row.revision > :after ORDER BY row.revision LIMIT :limit
    """
CHANGES_AFTER = Query("moving_changes_after", _CHANGES_AFTER.format(more="", joined=""))
_NEIGHBOUR = """(
            SELECT {which}(one.revision) FROM revisions AS one
            WHERE one.resource = row.resource AND one.namespace = row.namespace AND one.name = row.name
              AND one.revision {than} row.revision
        )"""
_OLDER, _NEWER = _NEIGHBOUR.format(which="max", than="<"), _NEIGHBOUR.format(which="min", than=">")
PLACES_AFTER = Query(
    "moving_places_after",
    _CHANGES_AFTER.format(
        more=f""",
        older.revision, older.created_revision, older.deleted, {_NEWER},
        current.revision, current.created_revision""",
        joined=f"""
    LEFT JOIN revisions AS older ON older.revision = {_OLDER}
    LEFT JOIN current USING (resource, namespace, name)""",
    ),
)
STRAYS = Query(
    "moving_strays",
    """
    SELECT resource, namespace, name FROM current
    WHERE NOT EXISTS (
        SELECT 1 FROM revisions AS row
        WHERE row.resource = current.resource AND row.namespace = current.namespace AND row.name = current.name
    ) LIMIT :limit
    """,
)
INTEGRITY = Query("moving_integrity", f"PRAGMA integrity_check({FAULTS_TOLD_MAX})")

CLEAR = ("DELETE FROM revisions", "DELETE FROM current")
ADD = "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
UNSET_CURRENT = "DELETE FROM current WHERE resource = ? AND namespace = ? AND name = ?"
SET_CURRENT = "INSERT INTO current (resource, namespace, name, revision, created_revision) VALUES (?, ?, ?, ?, ?)"
SET_REVISION = "UPDATE state SET revision = ?"
SET_SPAN = "UPDATE state SET revision = ?, compacted_revision = ?, swept_revision = ?"
