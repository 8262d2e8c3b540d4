"""The revision log: every resource of Skerry, as one strictly rising sequence of changes.

    async with open_sqlite(path) as driver, open_log(driver) as log:
        revision = await log.put(key, b"...", expected_revision=0)

Owns: the verbs on the log, watches, the freshness of what is read from a copy at hand, the compaction policy. Does
not own storage (a `Driver` does) and does not know what a value means. The invariant: what a verb returned is
durable, every watcher sees it once, in its place, and a reader sees it from then on. Several processes may share one
database; the core never assumes that it is the only writer, but a driver may know it (`Driver.head`).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.kit.clock import Clock, SystemClock
from skerry.kit.tasks import Wakeup, background, keep_running
from skerry.store.cache import Cache, Replica
from skerry.store.compaction import Compactor
from skerry.store.driver import Driver, check_revision
from skerry.store.errors import Compacted, ValueTooLarge
from skerry.store.hub import Hub, Wants, Watch
from skerry.store.records import (
    Bounds,
    Entry,
    Event,
    Key,
    ListQuery,
    Page,
    Progress,
    Scope,
    Statistics,
    Write,
)
from skerry.store.settings import CompactionPolicy, LogSettings

__all__ = [
    "CompactionPolicy",
    "Entry",
    "Event",
    "Key",
    "LogSettings",
    "Page",
    "Progress",
    "RevisionLog",
    "Watch",
    "open_log",
]


#: Sorts after every character of a name.
_LAST_CHARACTER = "\U0010ffff"


@asynccontextmanager
async def open_log(
    driver: Driver, settings: LogSettings | None = None, *, clock: Clock | None = None
) -> AsyncIterator["RevisionLog"]:
    """Run a log over an open driver for the length of the block; its watches end with it."""
    log = RevisionLog(driver, settings or LogSettings(), clock or SystemClock())
    loops = (("store.hub", log.deliver), ("store.compaction", log.compact_by_policy))
    async with background(*loops):
        try:
            yield log
        finally:
            await log.close()


class RevisionLog:
    """The log, as `open_log` yields it."""

    def __init__(self, driver: Driver, settings: LogSettings, clock: Clock) -> None:
        self._driver = driver
        self._settings = settings
        self._clock = clock
        self._hub = Hub(driver, settings, clock)
        self._cache = Cache(driver, self._hub, settings, clock)
        #: As far as this process knows; others compact as well.
        self._compacted = 0
        self._compactor = Compactor(settings.compaction)

    async def put(self, key: Key, value: bytes, *, expected_revision: int) -> int:
        """Create an entry (`expected_revision` 0) or replace the one at that revision.

        Returns:
            The revision of the change, once it is durable.

        Raises:
            Conflict: the entry is not at the expected revision.
            ValueTooLarge: the value exceeds `LogSettings.value_bytes_max`.
            Overloaded: too many writes are waiting.
        """
        if not (key.resource and key.name):
            raise ValueError(f"a key needs a resource and a name: {key!r}")
        if len(value) > self._settings.value_bytes_max:
            raise ValueTooLarge(key, value_bytes=len(value), value_bytes_max=self._settings.value_bytes_max)
        return await self._driver.append(Write(key, value, expected_revision))

    async def delete(self, key: Key, *, expected_revision: int) -> int:
        """Delete the entry that is at `expected_revision` (above 0).

        Returns:
            The revision of the change, once it is durable.

        Raises:
            Conflict: the entry is not at the expected revision, or absent.
            Overloaded: too many writes are waiting.
        """
        if expected_revision <= 0:
            raise ValueError("a delete needs the revision of the entry, which is above 0")
        return await self._driver.append(Write(key, None, expected_revision))

    async def get(self, key: Key, *, not_older_than: int | None = None) -> Entry | None:
        """Return the present entry.

        Args:
            key: of the entry.
            not_older_than: a revision: any state of that age or younger will do, 0 for any at all. None: the answer
                holds every change that was acknowledged before the call.

        Raises:
            FutureRevision: `not_older_than` is not written yet.
        """
        if replica := self._young(key.resource, not_older_than) or await self._at_hand(key.resource, not_older_than):
            return replica.get(key)
        entry = await self._driver.get(key)
        if not_older_than and (entry is None or entry.revision < not_older_than):
            check_revision(not_older_than, Bounds(0, await self.revision()))
        return entry

    async def get_at(self, key: Key, revision: int) -> Entry | None:
        """Return the entry as it was at a revision; None where there was none.

        Raises:
            Compacted: `revision` is older than the history that is kept.
            FutureRevision: `revision` is not written yet.
        """
        before = (key.namespace, key.name[:-1] + chr(ord(key.name[-1]) - 1) + _LAST_CHARACTER)
        page = await self.list(key.resource, namespace=key.namespace, revision=revision, after=before, limit=1)
        return next((entry for entry in page.entries if entry.key == key), None)

    async def find(self, key: Key, *, not_older_than: int | None = None) -> tuple[Entry | None, int]:
        """Return what `get` does, and a revision from which a watch of the key misses nothing."""
        if replica := await self._at_hand(key.resource, not_older_than):
            return replica.get(key), replica.position
        # Read first, a revision may be too old: then a change is seen twice, rather than one not at all.
        revision = await self.revision()
        check_revision(not_older_than or 0, Bounds(0, revision))
        entry = await self._driver.get(key)
        return entry, max(revision, entry.revision if entry else 0)

    def _young(self, resource: str, not_older_than: int | None) -> Replica | None:
        """Return the copy of a resource where it is known to be young enough already, as it nearly always is."""
        replica = self._cache.find(resource)
        if replica is None:
            return None
        needed = self._driver.head(resource) if not_older_than is None else not_older_than
        return replica if needed is not None and needed <= replica.position else None

    async def _at_hand(self, resource: str, not_older_than: int | None) -> Replica | None:
        """Return the copy of a resource, if there is one that is young enough.

        A copy is waited for until it holds all that the log does: under writes it is a commit behind, and reading the
        database instead would cost more than that commit. A sole writer knows how far the log reaches. Where others
        write as well, the database is asked: that question is small, and one serves all who ask at once (the "read
        index" of Raft, chapter 6.4 of Ongaro's dissertation).
        """
        replica = self._cache.find(resource)
        position = -1 if replica is None else replica.position
        if replica is None or position < 0:
            return None
        if not_older_than is not None:
            return replica if not_older_than <= position else None
        head = self._driver.head(resource)
        if head is None:
            young = await self._cache.reaches(replica, await self.revision())
        else:
            young = await self._cache.reaches_own(replica, head)
        return replica if young else None

    async def list(
        self,
        resource: str,
        *,
        namespace: str | None = None,
        revision: int | None = None,
        not_older_than: int | None = None,
        after: tuple[str, str] | None = None,
        limit: int | None,
    ) -> Page:
        """Return the entries of a resource, in the order of (namespace, name), as a snapshot.

        Args:
            resource: as in `Key`.
            namespace: None lists all namespaces.
            revision: the snapshot to list; None for the newest. Pages of one list share one revision.
            not_older_than: of the newest snapshot, as in `get`.
            after: (namespace, name) of the last entry of the page before.
            limit: most entries on the page; None for all.

        Raises:
            Compacted: `revision` is older than the history that is kept.
            FutureRevision: `revision` or `not_older_than` is not written yet.
        """
        if limit is not None and limit <= 0:
            raise ValueError("the limit of a page is above 0; None for all")
        query = ListQuery(resource, namespace, revision, after, limit)
        if revision is None:
            replica = await self._at_hand(resource, not_older_than)
        elif revision < self._compacted:
            raise Compacted(self._compacted)
        else:
            replica = self._cache.find(resource)
            replica = replica if replica and replica.is_at(revision) else None
        if replica:
            return replica.page(query)
        page = await self._driver.page(query)
        check_revision(not_older_than or 0, Bounds(0, page.revision))
        return page

    @asynccontextmanager
    async def watch(
        self,
        resource: str | None,
        *,
        namespace: str | None = None,
        name: str | None = None,
        after_revision: int,
        progress_seconds: float | None = None,
        wants: Wants | None = None,
    ) -> AsyncIterator[Watch]:
        """Follow the events after a revision for the length of the block; see `Watch` for what it yields.

        Args:
            resource: None follows all.
            namespace: None follows all.
            name: None follows all.
            after_revision: such as that of a `Page`: the first event is the first one after it.
            progress_seconds: how often to tell progress; None for `LogSettings.progress_seconds`.
            wants: which events are worth a wake-up; None for all. See `Watch`.

        Raises:
            Compacted: events after `after_revision` are gone; also later, while iterating, where compaction
                overtook a watcher that was slow.
            FutureRevision: `after_revision` is not written yet.
            Overloaded: `LogSettings.watchers_max` watches are open.
        """
        if not self._hub.reaches(after_revision) or after_revision < self._compacted:
            check_revision(after_revision, await self._driver.bounds())
        progress_seconds = progress_seconds or self._settings.progress_seconds
        scope = Scope(resource, namespace, name)
        with self._hub.watch(
            scope, after_revision=after_revision, progress_seconds=progress_seconds, wants=wants
        ) as watch:
            yield watch

    async def compact(self, revision: int) -> None:
        """Forget the history below `revision`; the list at `revision` and all later events stay.

        Raises:
            FutureRevision: `revision` is not written yet.
        """
        await self._driver.compact(revision)
        self._compacted = max(self._compacted, revision)

    async def revision(self) -> int:
        """Return the newest revision; 0 in an empty log."""
        return (await self._driver.bounds()).latest

    async def compacted_revision(self) -> int:
        """Return the oldest revision that can be listed, or watched from; 0 before any compaction."""
        return (await self._driver.bounds()).compacted

    def statistics(self) -> Statistics:
        """Return the depth of every queue, the number of watches, and how far they have been served."""
        return {**self._hub.statistics(), **self._cache.statistics(), **self._driver.statistics()}

    async def deliver(self) -> None:
        """Hand new events to the watches, for ever; `open_log` runs it."""
        await keep_running(
            "store.hub",
            self._hub.turn,
            wakeup=self._hub.wakeup,
            resync_seconds=self._settings.poll_seconds,
        )

    async def compact_by_policy(self) -> None:
        """Apply `LogSettings.compaction`, for ever; `open_log` runs it."""
        await keep_running(
            "store.compaction",
            self._compact_once,
            wakeup=Wakeup(),
            resync_seconds=self._settings.compaction.interval_seconds,
        )

    async def _compact_once(self) -> None:
        target = self._compactor.look(revision=await self.revision(), now_seconds=self._clock.monotonic_seconds())
        if target:
            await self.compact(target)

    async def close(self) -> None:
        """End every watch, and drop what is at hand."""
        self._hub.close()
        await self._cache.stop()
