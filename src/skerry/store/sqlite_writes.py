"""What the SQLite writer does: groups of jobs in one transaction.

A job is a call with the `Group` that it is part of. One that raises a `StoreError` has found its condition
unmet before it changed anything, so the others go on. Any other error rolls the whole group back; then each
job is tried alone, so that one impossible value does not fail its neighbours.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from skerry.kit.logs import get_logger
from skerry.store import sqlite_queries as queries
from skerry.store.errors import Conflict, FutureRevision, OutOfSpace, StoreError, Unavailable
from skerry.store.lane import Outcome
from skerry.store.records import Entry, Event, Key, Rewrite, Write
from skerry.store.sqlite_connection import Connection

log = get_logger(__name__)

#: Revisions swept in one transaction: some milliseconds, so that compaction never holds writers up for long.
SWEEP_REVISIONS = 500
#: Values that are appended together, before the last of them.
BATCH_BYTES_MAX = 8 * 1024 * 1024
#: The second one is of the file beside the log that tells readers what is in it.
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


#: The newest revision, the oldest one that can be read, and how far what is below it is deleted.
State = tuple[int, int, int]


class Heads:
    """The newest revision of each resource, as far as this process wrote it, and of the whole log.

    Written by the writer's thread, read by the event loop: each step is one operation on a dict.

    Args:
        sole_writer: nobody else writes to the file.
    """

    def __init__(self, *, sole_writer: bool = False) -> None:
        #: For what was not written since.
        self.latest_at_start = 0
        self._newest: dict[str, int] = {}
        self._sole_writer = sole_writer
        #: Of what the present group changes, as it was before.
        self._before: dict[str, int] = {}
        #: The counters after the last group; None where the file has to be asked.
        self.state: State | None = None

    def of(self, resource: str) -> int:
        """Return a revision above which nobody can have seen a change of the resource."""
        return self._newest.get(resource, self.latest_at_start)

    def rise(self, newest: dict[str, int]) -> None:
        """Take note of changes that are about to be committed; `settle` or `fall_back` follows."""
        for resource in newest:
            self._before.setdefault(resource, self.of(resource))
        self._newest.update(newest)

    def settle(self, state: State) -> None:
        """Take note that a group was committed, and of the counters after it."""
        self._before = {}
        self.state = state if self._sole_writer else None

    def fall_back(self) -> None:
        """Take note that a group was not committed: nobody is to wait for its changes."""
        self._newest.update(self._before)
        self._before = {}
        self.state = None


class Group:
    """The transaction that a group of jobs shares."""

    def __init__(self, connection: Connection, heads: Heads) -> None:
        self.connection = connection
        self._heads = heads
        #: The newest revision that this group gave each resource.
        self._newest: dict[str, int] = {}
        state: State = heads.state or connection.row(queries.STATE)
        self.revision, self.compacted_revision, self.swept_revision = state

    def next_revision(self, resource: str) -> int:
        """Take a new revision for a change of a resource."""
        self.revision += 1
        self._newest[resource] = self.revision
        return self.revision

    def add(self, rows: Sequence[Sequence[str | int]], values: Sequence[bytes]) -> None:
        """Write changes that were given their revisions. A reader may see them as soon as this returns."""
        self._heads.rise(self._newest)
        self.connection.run(queries.ADD, self.revision, orjson.dumps(rows).decode(), b"".join(values))

    @property
    def state(self) -> State:
        """The counters as they are now."""
        return self.revision, self.compacted_revision, self.swept_revision


def run_group(connection: Connection, jobs: Sequence[Callable[[Group], Any]], *, heads: Heads) -> Sequence[Outcome]:
    """Run jobs in one transaction; their outcomes are durable when this returns.

    Args:
        connection: the writer's.
        jobs: what is done, in order.
        heads: brought up to date before the commit, so that no reader can see a change that they do not tell of.
    """
    batches = list(_batches(jobs))
    # Where nobody else writes, changes are made by one statement, which is a transaction of its own.
    is_one_statement = heads.state is not None and len(batches) == 1 and isinstance(batches[0][0], Append)
    try:
        with nullcontext() if is_one_statement else connection.transaction(write=True):
            group = Group(connection, heads)
            outcomes = [outcome for batch in batches for outcome in _attempt(batch, group)]
        heads.settle(group.state)
        return outcomes  # noqa: TRY300 - an else would separate it from the commit that it promises
    except sqlite3.OperationalError as error:
        # The disk is full, the file locked or gone: the same for every job.
        heads.fall_back()
        return [Outcome(error=_unavailable(error)) for _ in jobs]
    except Exception as error:  # noqa: BLE001 - told to the caller whose job it is
        heads.fall_back()
        if len(jobs) > 1:
            return [outcome for job in jobs for outcome in run_group(connection, [job], heads=heads)]
        return [Outcome(error=error)]


def _batches(jobs: Sequence[Callable[[Group], Any]]) -> Iterator[Sequence[Callable[[Group], Any]]]:
    """Part jobs, in their order, into those done together: appends of different keys, and of others each alone."""
    batch: list[Append] = []
    keys: set[Key] = set()
    size = 0
    for job in jobs:
        if not isinstance(job, Append) or job.write.key in keys or size > BATCH_BYTES_MAX:
            if batch:
                yield batch
            batch, keys, size = [], set(), 0
        if isinstance(job, Append):
            batch.append(job)
            keys.add(job.write.key)
            size += len(job.write.value or b"")
        else:
            yield [job]
    if batch:
        yield batch


def _attempt(batch: Sequence[Callable[[Group], Any]], group: Group) -> Sequence[Outcome]:
    writes = [job.write for job in batch if isinstance(job, Append)]
    if writes:
        return append(group, writes)
    try:
        return [Outcome(result=job(group)) for job in batch]
    except StoreError as error:
        return [Outcome(error=error)] * len(batch)


def _unavailable(cause: sqlite3.OperationalError) -> Unavailable:
    log.error("the database cannot be written", reason=str(cause))
    error = Unavailable(f"the database cannot be written: {cause}", detail=str(cause))
    if cause.sqlite_errorcode in _NO_ROOM:
        error = OutOfSpace.told_by(cause)
    error.__cause__ = cause
    return error


@dataclass(frozen=True, slots=True)
class Append:
    """The job of one conditional change; its result is the event."""

    write: Write

    def __call__(self, group: Group) -> Event:
        """Make the change; `run_group` makes those that come one after the other together."""
        (outcome,) = append(group, [self.write])
        if outcome.error:
            raise outcome.error
        event: Event = outcome.result
        return event


def append(group: Group, writes: Sequence[Write]) -> Sequence[Outcome]:
    """Apply conditional changes of different keys; each outcome is an event, or the Conflict of its change alone."""
    keys = orjson.dumps([(key.resource, key.namespace, key.name) for key in (write.key for write in writes)])
    places = {place: state for place, *state in group.connection.rows(queries.GET_PLACES, keys.decode())}
    rows: list[tuple[str | int, ...]] = []
    values: list[bytes] = []
    outcomes: list[Outcome] = []
    offset = 1
    for place, write in enumerate(writes):
        key, value = write.key, write.value
        previous_revision, created_revision, previous = places.get(place, (0, 0, None))
        if previous_revision != write.expected_revision:
            current = Entry(key, previous_revision, created_revision, previous) if previous_revision else None
            conflict = Conflict(key, expected_revision=write.expected_revision, current=current)
            outcomes.append(Outcome(error=conflict))
            continue
        revision = group.next_revision(key.resource)
        size = len(value or b"")
        names = key.resource, key.namespace, key.name
        revisions = revision, created_revision or revision, previous_revision
        rows.append((*names, *revisions, int(value is None), offset, size))
        values.append(value or b"")
        offset += size
        kind: Literal["put", "delete"] = "delete" if value is None else "put"
        outcomes.append(Outcome(result=Event(kind, key, revision, not previous_revision, value, previous)))
    if rows:
        group.add(rows, values)
    return outcomes


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
