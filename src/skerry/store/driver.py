"""What the log core asks of a database.

A driver owns durability, atomicity and the order of revisions. It does not own watches, fan-out, polling or
the policy of compaction: those are written once, in the core, for all drivers. `tests/contract/store` is the
suite that every driver passes.

The hard invariant: **an event is visible only when every event of a lower revision is final.** A watcher
that was given revision n never looks below n again, so an event that became visible later with a lower
revision would be lost for good. SQLite gets this from its single writer, PostgreSQL from a lock that every
group of writes takes before it is given its numbers (`postgres/writes.py`).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from skerry.store.errors import Compacted, FutureRevision
from skerry.store.records import (
    Batch,
    Bounds,
    Entry,
    Event,
    HeldValue,
    Key,
    ListQuery,
    Page,
    Rewrite,
    Scope,
    Statistics,
    Write,
)

#: Is given events of this process' commits in order, where they are at hand, and none where they have to be read. Where
#: they are of several commits (of jobs tried one by one), revisions of another process may lie between.
Wake = Callable[[Sequence[Event]], None]


class Driver(Protocol):
    """A database that keeps the log; open for the length of an async context manager of its module.

    Every method may raise `Unavailable` and, where a queue is full, `Overloaded`. Other processes may write
    to the same database at any time.
    """

    async def append(self, write: Write) -> int:
        """Apply one conditional change and return its revision, once it is durable.

        A cancelled caller does not know whether the change was made.

        Raises:
            Conflict: the entry is not at the expected revision; nothing was changed.
        """
        ...

    async def get(self, key: Key) -> Entry | None:
        """Return the present state of a key."""
        ...

    async def page(self, query: ListQuery) -> Page:
        """Return a part of a snapshot.

        Raises:
            Compacted: the asked revision is below `Bounds.compacted`.
            FutureRevision: it is above `Bounds.latest`.
        """
        ...

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        """Return the first events after `revision`, at most `limit`.

        Raises:
            Compacted: `revision` is below `Bounds.compacted`.
        """
        ...

    async def bounds(self) -> Bounds:
        """Return the oldest and the newest revision."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget superseded states and tombstones at or below `revision`; a lower one than before is ignored.

        The newest state of every key at `revision` stays, so the list at `revision` and the `previous` of
        every later event stay available.

        Raises:
            FutureRevision: `revision` is above `Bounds.latest`.
        """
        ...

    def head(self, resource: str) -> int | None:
        """Return a revision above which nobody can have seen a change of a resource; None where that has to be read.

        A driver knows it while this process is the only writer. It must rise before a change becomes visible, so
        that a copy of the resource which has come this far is as good as a read of the database.
        """
        ...

    def call_after_commit(self, wake: Wake) -> None:
        """Have `wake` called on the event loop after commits.

        It makes watches quick, not right: calls may be missing (another process wrote) or spurious, because
        the core polls as well.
        """
        ...

    def statistics(self) -> Statistics:
        """Return the present depth of every queue and pool of the driver."""
        ...


class HeldValues(Protocol):
    """The second face of a driver: its values as they lie there, which `sealing` changes the form of.

    A value's form at rest may change, what it means may not: no revision is made, no watcher hears of it.
    """

    async def values_after(self, revision: int, *, limit: int) -> Sequence[HeldValue]:
        """Return the first values written after `revision`, history among them; at most `limit`, empty at the end."""
        ...

    async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        """Replace values, in one transaction, that are still as they were read.

        It happens after every change that `append` was called for before, even with nothing to replace. What is
        replaced leaves no trace that the database lets us remove.
        """
        ...


class RewritableDriver(Driver, HeldValues, Protocol):
    """A driver with both faces, as all of ours are."""


def check_revision(revision: int, bounds: Bounds) -> None:
    """Raise `Compacted` or `FutureRevision` where `revision` lies outside of `bounds`."""
    if revision < bounds.compacted:
        raise Compacted(bounds.compacted)
    if revision > bounds.latest:
        raise FutureRevision(bounds.latest)
