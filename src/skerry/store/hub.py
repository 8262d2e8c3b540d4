"""Watches: new events are read once and handed to every watcher.

Owns: the reading position of the process (`Hub`), each watcher's own (`Watch`), and the passage between
them. Does not own the events: a watcher that is behind reads them from the driver by itself.

A watch is in one of two states. *Replaying*, it reads batches from the driver after its own position.
*Live*, the hub hands it what is new. It becomes live when the events that the hub still has at hand reach
back to its position, and goes back to replaying when more than `watcher_events_max` events wait for it. So a
slow reader costs bounded memory and slows down nobody; only when compaction overtakes it does it end, with
`Compacted`.

The invariant: the events of one watch rise strictly, none missing, none twice. It holds because the hub's
position never falls, and because joining, handing out and leaving happen between two awaits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from skerry.kit.clock import Clock
from skerry.kit.tasks import Wakeup
from skerry.store.driver import Driver
from skerry.store.errors import Compacted, Overloaded, Undecryptable
from skerry.store.recent import Recent
from skerry.store.records import Batch, Event, Progress, Scope, Statistics
from skerry.store.settings import LogSettings

EVERYTHING = Scope(resource=None, namespace=None)


class Watch:
    """One watcher's place in the log: an async iterator, for one task at a time.

    It yields tuples of events (never empty), and `Progress`: once as soon as it has caught up with the log,
    then every `progress_seconds` in which it is up to date. It ends when the log is closed.
    """

    def __init__(self, hub: "Hub", scope: Scope, *, after_revision: int, progress_seconds: float) -> None:
        self.scope = scope
        self._hub = hub
        self._position = after_revision
        #: Every event of the scope up to here was handed out or is waiting.
        self._offered = after_revision
        self._live = False
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._wakeup = Wakeup()
        self._progress_seconds = progress_seconds
        self._progress_due = 0.0

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Sequence[Event] | Progress:
        """Return what comes next.

        Raises:
            Compacted: this watcher was away for so long that events it has not seen are gone.
        """
        while not self._hub.closed:
            if self._waiting:
                return self._take()
            if not self._live:
                if events := await self._replay():
                    return events
                continue
            self._position = max(self._position, self._hub.through)
            quiet_seconds = self._progress_due - self._hub.clock.monotonic_seconds()
            if quiet_seconds <= 0:
                self._progress_due = self._hub.clock.monotonic_seconds() + self._progress_seconds
                return Progress(self._position)
            await self._wakeup.wait(quiet_seconds)
        raise StopAsyncIteration

    def _take(self) -> Sequence[Event]:
        events, self._waiting, self._waiting_bytes = tuple(self._waiting), [], 0
        self._position = events[-1].revision
        return events

    async def _replay(self) -> Sequence[Event]:
        position = max(self._position, self._offered)
        batch = await self._hub.read(position, self.scope)
        self._position = self._offered = batch.through
        if not batch.more:
            self._live = self._hub.join(self, batch.through)
        return batch.events

    def offer(self, events: Iterable[Event]) -> bool:
        """Take new events of the hub; returns False where that is too much, and the hub lets go."""
        fresh = [event for event in events if event.revision > self._offered and event.key in self.scope]
        held_bytes = self._waiting_bytes + sum(event.held_bytes for event in fresh)
        settings = self._hub.settings
        too_many = len(self._waiting) + len(fresh) > settings.watcher_events_max
        if fresh and (too_many or held_bytes > settings.watcher_bytes_max):
            return False
        if fresh:
            self._waiting += fresh
            self._waiting_bytes = held_bytes
            self._wakeup.set()
        return True

    def leave(self) -> None:
        """Go back to replaying, after what is waiting already."""
        self._live = False
        self._offered = max(self._offered, self._hub.through)
        self._wakeup.set()


class Hub:
    """The one reader of new events in this process."""

    def __init__(self, driver: Driver, settings: LogSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.closed = False
        #: Set when there may be something new to read.
        self.wakeup = Wakeup()
        #: Every live watch has been offered every event up to here. Never falls.
        self.through = 0
        self._driver = driver
        self._recent = Recent(settings, after_revision=0)
        self._watches: set[Watch] = set()
        #: The live watches by the resource of their scope; no empty sets.
        self._live: defaultdict[str | None, set[Watch]] = defaultdict(set)
        driver.call_after_commit(self.wakeup.set)

    @contextmanager
    def watch(self, scope: Scope, *, after_revision: int, progress_seconds: float) -> Iterator[Watch]:
        """Hold a watch for the length of the block."""
        if len(self._watches) >= self.settings.watchers_max:
            raise Overloaded("watchers_max", self.settings.watchers_max)
        watch = Watch(self, scope, after_revision=after_revision, progress_seconds=progress_seconds)
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)
            self._part(watch)

    async def read(self, after_revision: int, scope: Scope) -> Batch:
        """Read the next batch of a scope from the driver."""
        return await self._driver.events_after(after_revision, scope, limit=self.settings.batch_events)

    def join(self, watch: Watch, position: int) -> bool:
        """Make a watch live that has seen everything up to `position`; False where that is too far back."""
        if not self._live and position > self.through:
            # Nobody needs what lies between: the hub stood still while it had no live watch.
            self._recent = Recent(self.settings, after_revision=position)
            self.through = position
        if position < self._recent.after_revision or not watch.offer(self._recent.events_after(position)):
            return False
        self._live[watch.scope.resource].add(watch)
        # A commit after the watch's last read may have woken a hub that had nobody to read for.
        self.wakeup.set()
        return True

    def _part(self, watch: Watch) -> None:
        watches = self._live[watch.scope.resource]
        watches.discard(watch)
        if not watches:
            del self._live[watch.scope.resource]

    async def turn(self) -> None:
        """Read what is new and hand it out, until nothing is new; without live watches do nothing."""
        more = True
        while more and self._live:
            try:
                batch = await self.read(self.through, EVERYTHING)
            except (Compacted, Undecryptable):
                # This process was away for longer than history is kept, or one value is damaged; each watch finds
                # out by replaying whether that concerns it.
                self._let_all_go()
                return
            self._hand_out(batch)
            more = batch.more

    def _hand_out(self, batch: Batch) -> None:
        # While the batch was read, a first watch may have joined further on and moved the hub there.
        events = [event for event in batch.events if event.revision > self.through]
        by_resource: defaultdict[str | None, list[Event]] = defaultdict(list)
        by_resource[None] = events
        for event in events:
            by_resource[event.key.resource].append(event)
        for resource, of_resource in by_resource.items():
            for watch in tuple(self._live.get(resource, ())):
                if not watch.offer(of_resource):
                    self._part(watch)
                    watch.leave()
        self._recent.add(events)
        self.through = max(self.through, batch.through)

    def _let_all_go(self) -> None:
        for watch in tuple(watch for watches in self._live.values() for watch in watches):
            self._part(watch)
            watch.leave()

    def close(self) -> None:
        """End every watch."""
        self.closed = True
        self._let_all_go()

    def statistics(self) -> Statistics:
        """Return how many watches there are, how many of them replay, and how far the hub has read."""
        live = sum(len(watches) for watches in self._live.values())
        return {
            "watchers": len(self._watches),
            "watchers_replaying": len(self._watches) - live,
            "delivered_revision": self.through,
        }
