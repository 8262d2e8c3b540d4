"""What the PostgreSQL driver writes: groups of changes, each applied once whatever becomes of the connection.

**The order of revisions.** Transactions that run at once commit in another order than they began. Were revisions
handed out by a sequence, a watcher could be shown 7 while the transaction of 6 is still open, and would never see 6.
So every group takes the lock on the one row of `state` before it reads the newest revision, and the lock falls with
the commit: the next group gets its numbers, and reads what is there, after the one before is visible. There are no
gaps, at any moment, for any reader. What that costs is parallel commits; what it leaves is one sync of the disk for
all writes that waited in a replica. The other way, to hide what is above the oldest open transaction
(`pg_snapshot_xmin`), lets any long transaction of the whole server stop every watcher. (ADR 0022.)

**Acknowledged or not.** When a connection breaks, nobody knows whether its transaction was committed, or still will
be. So a group has a number, and the database remembers the last one of each writer with its outcome. The same group
is sent again on the next connection until there is an answer: applied already, it is only answered. Should the first
attempt come to life after that, it finds its number taken and changes nothing.
"""

import uuid
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal, TypeAlias

from skerry.kit.logs import get_logger
from skerry.store.driver import Wake
from skerry.store.errors import Conflict, FutureRevision, Unavailable
from skerry.store.lane import Outcome
from skerry.store.postgres import queries, reads
from skerry.store.postgres.session import Connection, Session
from skerry.store.records import Entry, Event, Rewrite, Write

log = get_logger(__name__)

#: Revisions swept in one transaction: some milliseconds.
SWEEP_REVISIONS = 500

#: A change, or other forms of values, which keep their place among the changes.
Job: TypeAlias = Write | Sequence[Rewrite]


def bytes_of(job: Job) -> int:
    """Return how many bytes of values a job carries."""
    if isinstance(job, Write):
        return len(job.value or b"")
    return sum(len(rewrite.value) + len(rewrite.held.value) for rewrite in job)


class Writer:
    """Writes through one session, one group after the other.

    Args:
        session: whose connection it uses.
        wake: called after each group, before its callers are told, as `Driver.call_after_commit` says.
    """

    def __init__(self, session: Session, wake: Wake) -> None:
        self._session = session
        self._wake = wake
        self._id = uuid.uuid4()
        self._number = 0

    async def run_batch(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        """Do jobs in order; neighbouring changes share a transaction."""
        outcomes: list[Outcome] = []
        for is_write, group in groupby(jobs, key=lambda job: isinstance(job, Write)):
            if is_write:
                outcomes += await self._append([job for job in group if isinstance(job, Write)])
            else:
                outcomes += [await self._rewrite(job) for job in group if not isinstance(job, Write)]
        return outcomes

    async def _append(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self._number += 1
        number = self._number

        async def call(connection: Connection) -> list[Any]:
            return await connection.rows(queries.APPEND_GROUP, self._id, number, *_columns(writes))

        rows: list[Any] = []
        try:
            rows = await self._session.run(call)
        except Unavailable as error:
            log.error("the database cannot be written", reason=error.public)  # noqa: TRY400 - its cause is the reason
            return [Outcome(error=type(error)(error.public, detail=error.detail)) for _ in writes]
        except Exception as error:  # noqa: BLE001 - told to the caller whose write it is
            if len(writes) > 1:
                return [outcome for write in writes for outcome in await self._append([write])]
            return [Outcome(error=error)]
        finally:
            self._wake(_events(writes, rows))
        return [_outcome(write, *row) for write, row in zip(writes, rows, strict=True)]

    async def _rewrite(self, rewrites: Sequence[Rewrite]) -> Outcome:
        async def call(connection: Connection) -> None:
            await connection.rows(
                queries.REWRITE,
                [rewrite.held.revision for rewrite in rewrites],
                [rewrite.held.value for rewrite in rewrites],
                [rewrite.value for rewrite in rewrites],
            )

        try:
            await self._session.run(call)
        except Exception as error:  # noqa: BLE001 - told to the caller
            return Outcome(error=error)
        return Outcome()


def _columns(writes: Sequence[Write]) -> tuple[list[Any], ...]:
    return (
        [write.key.resource for write in writes],
        [write.key.namespace for write in writes],
        [write.key.name for write in writes],
        [write.expected_revision for write in writes],
        [write.value for write in writes],
    )


def _outcome(write: Write, revision: int, *found: Any) -> Outcome:
    if revision:
        return Outcome(result=revision)
    current = None if found[0] is None else Entry(write.key, *found)
    return Outcome(error=Conflict(write.key, expected_revision=write.expected_revision, current=current))


def _events(writes: Sequence[Write], rows: Sequence[Any]) -> Sequence[Event]:
    """Return what a group has changed; nothing where that has to be read, as of one that was applied before."""
    events = []
    for write, (revision, found_revision, _, found_value) in zip(writes, rows, strict=False):
        if not revision:
            continue
        if write.expected_revision != (found_revision or 0):
            return ()
        kind: Literal["put", "delete"] = "delete" if write.value is None else "put"
        created = write.expected_revision == 0
        events.append(Event(kind, write.key, revision, created=created, value=write.value, previous=found_value))
    return events


async def mark_compacted(connection: Connection, revision: int) -> None:
    """Let readers ask for nothing below `revision` from now on."""
    latest = (await reads.bounds(connection)).latest
    if revision > latest:
        raise FutureRevision(latest)
    await connection.rows(queries.MARK_COMPACTED, revision)


async def sweep(connection: Connection) -> bool:
    """Delete some of what compaction made unreachable; returns whether there is more that no other replica sweeps."""
    async with connection.raw.transaction():
        row = await connection.row(queries.SWEEP_FROM)
        if row is None:
            return False
        compacted, above = row
        up_to = min(above + SWEEP_REVISIONS, compacted)
        if up_to > above:
            await connection.rows(queries.SWEEP_SUPERSEDED, above, up_to)
            await connection.rows(queries.SWEEP_TOMBSTONES, above, up_to)
            await connection.rows(queries.SET_SWEPT, up_to)
        return bool(up_to < compacted)
