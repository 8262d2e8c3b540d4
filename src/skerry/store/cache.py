"""Present states at hand: a copy of every resource that is read, each following the log as any watcher does.

Owns the copies (`Replica`), who gets one, the bound on their memory, and the wait until one has come far enough
(`Cache.reaches`). Does not own the decision how far that is: the log knows what the reader asked for.

A resource is copied from its first read on. Beyond `LogSettings.cache_bytes_max` the largest copy is dropped, and its
readers go to the driver again, for `CACHE_REFUSAL_SECONDS`: small resources keep theirs, and nothing is copied in a
circle.

The invariant: a copy is the resource exactly as it was at the copy's position, which never falls.
"""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers
from skerry.store.driver import Driver
from skerry.store.errors import Compacted
from skerry.store.hub import Hub, Watch
from skerry.store.records import Entry, Event, Key, ListQuery, Page, Progress, Scope, Statistics
from skerry.store.settings import LogSettings

log = get_logger(__name__)

#: What an entry takes besides its value: key, entry, names and their places; measured on CPython 3.11.
ENTRY_BYTES = 600
#: Resources copied at once; the registered kinds are a tenth of it.
RESOURCES_MAX = 512
#: Entries read from the driver at once, so that no copy holds a long transaction.
PAGE_ENTRIES = 500
#: How long a resource that was too large is left to the driver.
CACHE_REFUSAL_SECONDS = 600.0


class Replica:
    """The copy of one resource.

    Attributes:
        held_bytes: about how much memory it takes.
    """

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self.held_bytes = 0
        #: No change of the resource lies between here and the position. Begins where the copy was made: what was
        #: deleted before has left no trace in it.
        self._changed_revision = 0
        self._watch: Watch | None = None
        self._entries: dict[tuple[str, str], Entry] = {}
        #: The keys of `_entries`, sorted.
        self._places: list[tuple[str, str]] = []

    @property
    def entries_held(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    @property
    def position(self) -> int:
        """The revision that this is a copy of; -1 while it is being filled."""
        return self._watch.position if self._watch else -1

    def follow(self, watch: Watch) -> None:
        """Take the place of a watch for its own; its events must be given to `apply` as they come."""
        self._watch = watch
        self._changed_revision = watch.position

    def give_up(self) -> None:
        """End the watch, so that whoever keeps the copy lets go of it, though nothing of the resource changes."""
        if self._watch:
            self._watch.end()

    def is_at(self, revision: int) -> bool:
        """Tell whether the resource was at that revision what it is here."""
        return self._changed_revision <= revision <= self.position

    def fill(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow those that are here, in the order of a list."""
        for entry in entries:
            place = (entry.key.namespace, entry.key.name)
            self._entries[place] = entry
            self._places.append(place)
            self.held_bytes += len(entry.value) + ENTRY_BYTES

    def apply(self, events: Sequence[Event]) -> None:
        """Make the changes that events tell of."""
        for event in events:
            place = (event.key.namespace, event.key.name)
            known = self._entries.pop(place, None)
            if known:
                self.held_bytes -= len(known.value) + ENTRY_BYTES
            if event.value is not None:
                created = known.created_revision if known and not event.created else event.revision
                self._entries[place] = Entry(event.key, event.revision, created, event.value)
                self.held_bytes += len(event.value) + ENTRY_BYTES
                if not known:
                    insort(self._places, place)
            elif known:
                del self._places[bisect_left(self._places, place)]
        self._changed_revision = events[-1].revision

    def get(self, key: Key) -> Entry | None:
        """Return the entry of a key of this resource."""
        return self._entries.get((key.namespace, key.name))

    def page(self, query: ListQuery) -> Page:
        """Return a part of the resource, as `Driver.page` does."""
        places, first, end = self._places, 0, len(self._places)
        if query.namespace is not None:
            first = bisect_left(places, (query.namespace, ""))
            end = bisect_left(places, (query.namespace + "\0", ""))
        if query.after:
            first = max(first, bisect_right(places, query.after))
        last = end if query.limit is None else min(end, first + query.limit)
        entries = tuple([self._entries[place] for place in places[first:last]])
        remaining = max(0, end - last)
        revision = self.position if query.revision is None else query.revision
        return Page(entries, revision, more=remaining > 0, remaining=remaining if query.counts else None)


class Cache:
    """The copies of one process.

    Args:
        driver: where they are read from at first.
        hub: where they are followed.
        settings: how much they may hold.
        clock: for `CACHE_REFUSAL_SECONDS`.
    """

    def __init__(self, driver: Driver, hub: Hub, settings: LogSettings, clock: Clock) -> None:
        self._driver = driver
        self._hub = hub
        self._settings = settings
        self._clock = clock
        self._replicas: dict[str, Replica] = {}
        #: Until when a resource that was too large is not tried again.
        self._refused: dict[str, float] = {}
        self._workers = KeyedWorkers("store.cache", self._follow, concurrency=RESOURCES_MAX)
        #: Pulses when copies have moved; who waits for one looks again.
        self._moved = asyncio.Event()
        hub.call_after_turn(self._tell_readers)

    def find(self, resource: str) -> Replica | None:
        """Return the copy of a resource; where there is none, have one made for the readers to come."""
        replica = self._replicas.get(resource)
        if replica is None:
            self._want(resource)
        return replica

    async def reaches(self, replica: Replica, revision: int) -> bool:
        """Wait until a copy holds every change up to a revision that is written, by whomever.

        Returns:
            False where it does not within `LogSettings.copy_wait_seconds_max`, or is given up: the database knows.
        """
        if replica.position < revision:
            self._hub.wakeup.set()  # no need to wait until news of that revision come by themselves
        return await self._until(replica, revision, self._settings.copy_wait_seconds_max)

    async def reaches_own(self, replica: Replica, revision: int) -> bool:
        """Do as `reaches`, where this process alone writes: the revision may be one that is just being committed.

        The hub is told of that commit by itself. It waits for `LogSettings.commit_wait_seconds_max` at most.
        """
        return await self._until(replica, revision, self._settings.commit_wait_seconds_max)

    async def _until(self, replica: Replica, revision: int, seconds_max: float) -> bool:
        if replica.position >= revision:
            return True
        try:
            with within(seconds_max):
                while replica.position < revision and self._keeps(replica):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return replica.position >= revision

    def _tell_readers(self) -> None:
        self._moved.set()
        self._moved.clear()

    def _want(self, resource: str) -> None:
        if self._hub.closed or len(self._replicas) >= RESOURCES_MAX:
            return
        if self._refused.get(resource, 0.0) > self._clock.monotonic_seconds():
            return
        self._replicas[resource] = Replica(resource)
        self._workers.add(resource)

    async def _follow(self, resource: str) -> None:
        """Copy a resource and keep the copy, until the log closes or there is no room for it."""
        replica = self._replicas[resource] = Replica(resource)
        try:
            revision = await self._fill(replica)
            with self._hub.follow(Scope(resource), after_revision=revision) as watch:
                replica.follow(watch)
                async for change in watch:
                    if not isinstance(change, Progress):
                        replica.apply(change)
                        self._make_room()
                        self._tell_readers()
                    if not self._keeps(replica):
                        return
        except Compacted:
            log.info("copy fell behind the history that is kept, made anew", resource=resource)
            self._workers.add(resource)
        finally:
            if self._keeps(replica):
                del self._replicas[resource]
            self._tell_readers()

    def _keeps(self, replica: Replica) -> bool:
        return self._replicas.get(replica.resource) is replica

    async def _fill(self, replica: Replica) -> int:
        """Copy the present state; return its revision."""
        revision, after, more = None, None, True
        while more and self._keeps(replica):
            page = await self._driver.page(ListQuery(replica.resource, None, revision, after, PAGE_ENTRIES))
            replica.fill(page.entries)
            self._make_room()
            revision, more = page.revision, page.more
            if more:
                after = (page.entries[-1].key.namespace, page.entries[-1].key.name)
        return revision or 0

    def _make_room(self) -> None:
        """Drop the largest copy while all of them take too much."""
        while sum([replica.held_bytes for replica in self._replicas.values()]) > self._settings.cache_bytes_max:
            largest = max(self._replicas.values(), key=lambda replica: replica.held_bytes)
            del self._replicas[largest.resource]
            largest.give_up()
            self._refused[largest.resource] = self._clock.monotonic_seconds() + CACHE_REFUSAL_SECONDS
            log.warning(
                "no room to keep a resource at hand, it is read from the database",
                resource=largest.resource,
                held_bytes=largest.held_bytes,
                cache_bytes_max=self._settings.cache_bytes_max,
            )

    async def stop(self) -> None:
        """Drop every copy."""
        await self._workers.stop()

    def statistics(self) -> Statistics:
        """Return how many resources and entries are at hand, and about how much memory they take."""
        replicas = self._replicas.values()
        return {
            "cached_resources": len(replicas),
            "cached_entries": sum(replica.entries_held for replica in replicas),
            "cached_bytes": sum(replica.held_bytes for replica in replicas),
        }
