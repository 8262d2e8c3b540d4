"""What the SQLite writer does: groups of jobs in one transaction.

A job is a call with the `Group` that it is part of. One that raises a `StoreError` has found its condition
unmet before it changed anything, so the others go on. Any other error rolls the whole group back; then each
job is tried alone, so that one impossible value does not fail its neighbours.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from skerry.kit.logs import get_logger
from skerry.store import sqlite_queries as queries
from skerry.store.errors import Conflict, FutureRevision, StoreError, Unavailable
from skerry.store.lane import Outcome
from skerry.store.records import Rewrite, Write
from skerry.store.sqlite_connection import Connection
from skerry.store.sqlite_reads import get

log = get_logger(__name__)

#: Revisions swept in one transaction: some milliseconds, so that compaction never holds writers up for long.
SWEEP_REVISIONS = 500


class Heads:
    """The newest revision of each resource, as far as this process wrote it.

    Written by the writer's thread, read by the event loop: each step is one operation on a dict.
    """

    def __init__(self) -> None:
        #: For what was not written since.
        self.latest_at_start = 0
        self._newest: dict[str, int] = {}

    def of(self, resource: str) -> int:
        """Return a revision above which nobody can have seen a change of the resource."""
        return self._newest.get(resource, self.latest_at_start)

    def rise(self, newest: dict[str, int]) -> None:
        """Take note of a group that is about to be committed."""
        self._newest.update(newest)


class Group:
    """The transaction that a group of jobs shares."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        #: The newest revision that this group gave each resource.
        self.heads: dict[str, int] = {}
        self.revision: int
        self.compacted_revision: int
        self.swept_revision: int
        self.revision, self.compacted_revision, self.swept_revision = connection.row(queries.STATE)
        self._begun_at = self.revision

    def next_revision(self, resource: str) -> int:
        """Take a new revision for a change of a resource."""
        self.revision += 1
        self.heads[resource] = self.revision
        return self.revision

    def finish(self) -> None:
        """Keep the newest revision: once a group, not once a write."""
        if self.revision > self._begun_at:
            self.connection.run(queries.SET_REVISION, revision=self.revision)


def run_group(connection: Connection, jobs: Sequence[Callable[[Group], Any]], *, heads: Heads) -> Sequence[Outcome]:
    """Run jobs in one transaction; their outcomes are durable when this returns.

    Args:
        connection: the writer's.
        jobs: what is done, in order.
        heads: brought up to date before the commit, so that no reader can see a change that they do not tell of.
            Should the commit fail, they tell of too much until the next one, which gives the same revisions again.
    """
    try:
        with connection.transaction(write=True):
            group = Group(connection)
            outcomes = [_attempt(job, group) for job in jobs]
            group.finish()
            heads.rise(group.heads)
        return outcomes  # noqa: TRY300 - an else would separate it from the commit that it promises
    except sqlite3.OperationalError as error:
        # The disk is full, the file locked or gone: the same for every job.
        return [Outcome(error=_unavailable(error)) for _ in jobs]
    except Exception as error:  # noqa: BLE001 - told to the caller whose job it is
        if len(jobs) > 1:
            return [outcome for job in jobs for outcome in run_group(connection, [job], heads=heads)]
        return [Outcome(error=error)]


def _attempt(job: Callable[[Group], Any], group: Group) -> Outcome:
    try:
        return Outcome(result=job(group))
    except StoreError as error:
        return Outcome(error=error)


def _unavailable(cause: sqlite3.OperationalError) -> Unavailable:
    log.error("the database cannot be written", reason=str(cause))
    error = Unavailable(f"the database cannot be written: {cause}", detail=str(cause))
    error.__cause__ = cause
    return error


def append(group: Group, *, write: Write) -> int:
    """Apply one conditional change and return its revision."""
    key = write.key
    names = {"resource": key.resource, "namespace": key.namespace, "name": key.name}
    place = group.connection.row(queries.GET_PLACE, **names)
    previous_revision, created_revision = place or (0, 0)
    if previous_revision != write.expected_revision:
        raise Conflict(key, expected_revision=write.expected_revision, current=get(group.connection, key=key))
    revision = group.next_revision(key.resource)
    created_revision = created_revision or revision
    group.connection.run(
        queries.ADD_REVISION,
        **names,
        revision=revision,
        created_revision=created_revision,
        previous_revision=previous_revision,
        deleted=write.value is None,
        value=write.value,
    )
    if write.value is None:
        group.connection.run(queries.UNSET_CURRENT, **names)
    else:
        group.connection.run(queries.SET_CURRENT, **names, revision=revision, created_revision=created_revision)
    return revision


def rewrite(group: Group, *, rewrites: Sequence[Rewrite]) -> None:
    """Replace values that are still as they were read, and overwrite what they were with zeros."""
    group.connection.run(queries.ERASE_FREED)
    for one in rewrites:
        group.connection.run(queries.REWRITE, revision=one.held.revision, old=one.held.value, new=one.value)
    group.connection.run(queries.KEEP_FREED)


def mark_compacted(group: Group, *, revision: int) -> None:
    """Let readers ask for nothing below `revision` from now on."""
    if revision > group.revision:
        raise FutureRevision(group.revision)
    if revision > group.compacted_revision:
        group.compacted_revision = revision
        group.connection.run(queries.SET_COMPACTED, revision=revision)


def sweep(group: Group) -> bool:
    """Delete some of what compaction made unreachable; returns whether there is more."""
    above = group.swept_revision
    up_to = min(above + SWEEP_REVISIONS, group.compacted_revision)
    if up_to > above:
        group.connection.run(queries.SWEEP_SUPERSEDED, above=above, up_to=up_to)
        group.connection.run(queries.SWEEP_TOMBSTONES, above=above, up_to=up_to)
        group.connection.run(queries.SET_SWEPT, revision=up_to)
        group.swept_revision = up_to
    return up_to < group.compacted_revision
