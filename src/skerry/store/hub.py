"""Watches: new events are read once, kept in one window, and every watcher is told when some are for it.

Owns: the reading position of the process (`Hub`), each watcher's own (`Watch`), and the passage between
them. Does not own the events: a watcher that is behind the window reads them from the driver by itself.

A watch is in one of two states. *Replaying*, it reads batches from the driver after its own position. *Live*, it
takes events from the window (`Recent`), and the hub tells it when to look: by an index of scopes, so a change costs
what the watchers of that object, namespace or resource cost, not what all watchers do. It becomes live when the
window reaches back to its position, and replays again when the window has moved past what it has not taken. So a
watcher holds a position and no events: a slow one costs nothing and slows down nobody; only when compaction
overtakes it does it end, with `Compacted`.

The invariant: the events of one watch rise strictly, none missing, none twice. It holds because the hub's
position never falls, and because joining, handing out and taking happen between two awaits.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

from skerry.kit.clock import Clock
from skerry.kit.tasks import Wakeup
from skerry.store.driver import Driver
from skerry.store.errors import Compacted, Overloaded, Undecryptable
from skerry.store.recent import Recent
from skerry.store.records import EVERYTHING, Batch, Event, Key, Place, Progress, Scope, Statistics
from skerry.store.settings import LogSettings

#: Tells of an event whether a watcher is to be woken for it.
Wants = Callable[[Event], bool]


class Watch:
    """One watcher's place in the log: an async iterator, for one task at a time.

    It yields tuples of events (never empty), and `Progress`: once as soon as it has caught up with the log,
    then every `progress_seconds` in which it is up to date. It ends when the log is closed, or it is told to.

    Args:
        hub: tells it of what is new.
        scope: which events it yields.
        after_revision: it begins with the first event after this one.
        progress_seconds: how often to tell progress; infinite for never.
        wants: tells of an event of the scope whether it is worth a wake-up, which costs more than most answers to this;
            asked on the event loop. What is not wanted may be yielded all the same, with what is. None for all.
    """

    def __init__(
        self, hub: "Hub", scope: Scope, *, after_revision: int, progress_seconds: float, wants: Wants | None = None
    ) -> None:
        self.scope = scope
        self._wants = wants
        self._hub = hub
        #: Every event of the scope up to here was handed out.
        self._position = after_revision
        self._live = False
        self._ended = False
        #: Whether the window holds (or held) events of the scope after `_position`; of live watches only.
        self._behind = False
        self._wakeup = Wakeup()
        self._progress_seconds = progress_seconds
        self._progress_due = 0.0

    @property
    def position(self) -> int:
        """Every event of the scope up to this revision was handed out; never falls."""
        if self._live and not self._behind and self._hub.through > self._position:
            self._position = self._hub.through
        return self._position

    @property
    def is_replaying(self) -> bool:
        """Whether what comes next is read from the driver."""
        return not self._live or (self._behind and self._position < self._hub.window_start)

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Sequence[Event] | Progress:
        """Return what comes next.

        Raises:
            Compacted: this watcher was away for so long that events it has not seen are gone.
        """
        while not (self._ended or self._hub.closed):
            if self.is_replaying and not self._join():
                if events := await self._replay():
                    return events
            elif self._behind:
                if events := self._take():
                    return events
            else:
                quiet_seconds = self._progress_due - self._hub.clock.monotonic_seconds()
                if quiet_seconds <= 0:
                    self._progress_due = self._hub.clock.monotonic_seconds() + self._progress_seconds
                    return Progress(self.position)
                await self._wakeup.wait(None if quiet_seconds == inf else quiet_seconds)
        raise StopAsyncIteration

    def _join(self) -> bool:
        """Go on from the window, where the hub is at work and it reaches back that far."""
        return self._hub.is_working and self._hub.join(self, self._position)

    async def _replay(self) -> Sequence[Event]:
        self._hub.part(self)
        batch = await self._hub.read(self._position, self.scope)
        self._position = batch.through
        if not batch.more:
            self._hub.join(self, batch.through)
        return batch.events

    def _take(self) -> Sequence[Event]:
        """Take from the window what is new, at most `LogSettings.batch_events`."""
        events = self._hub.events_after(self._position, self.scope)
        most = self._hub.settings.batch_events
        taken = tuple(events[:most])
        self._behind = len(events) > most
        self._position = taken[-1].revision if self._behind else self._hub.through
        return taken

    def tell(self, events: Sequence[Event], *, after_revision: int) -> None:
        """Take note that the events that follow `after_revision` in the window have these of the scope.

        Args:
            events: in their order, never empty.
            after_revision: every earlier event was told of.
        """
        if self._behind or events[-1].revision <= self._position or not self._wants_some(events):
            return
        self._position = max(self._position, after_revision)
        self._behind = True
        self._wakeup.set()

    def _wants_some(self, events: Sequence[Event]) -> bool:
        try:
            return self._wants is None or any(map(self._wants, events))
        except Exception:  # noqa: BLE001 - the watcher meets it, in its own task; nobody else is to lose the events
            return True

    def end(self) -> None:
        """Yield nothing more, whoever waits for it."""
        self._ended = True
        self._wakeup.set()

    def set_live(self, *, live: bool) -> None:
        """Take note of joining or leaving the hub."""
        self._position = self.position  # as far as it is while it was live, or a quiet one would go back to long ago
        self._behind = live and self._hub.through > self._position
        self._live = live
        if not live:
            self._wakeup.set()


class Hub:
    """The one reader of new events in this process."""

    def __init__(self, driver: Driver, settings: LogSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.closed = False
        #: Set when there may be something new to read.
        self.wakeup = Wakeup()
        #: Every event up to here was added to the window, and every live watch of it told. Never falls.
        self.through = 0
        self._driver = driver
        self._recent = Recent(settings, after_revision=0)
        self._watches: set[Watch] = set()
        #: The live watches by their scope; no empty sets.
        self._live: defaultdict[Place, set[Watch]] = defaultdict(set)
        self._after_turn: Callable[[], None] = lambda: None
        driver.call_after_commit(self._take)

    @property
    def window_start(self) -> int:
        """Every event after this revision, up to `through`, is at hand."""
        return self._recent.after_revision

    @property
    def is_working(self) -> bool:
        """Whether there are live watches, for which the hub reads on."""
        return bool(self._live)

    def reaches(self, revision: int) -> bool:
        """Tell whether a watch after this revision would begin with what is at hand."""
        return self.is_working and self.window_start <= revision <= self.through

    @contextmanager
    def watch(
        self, scope: Scope, *, after_revision: int, progress_seconds: float, wants: Wants | None = None
    ) -> Iterator[Watch]:
        """Hold a watch for the length of the block; see `Watch`."""
        if len(self._watches) >= self.settings.watchers_max:
            raise Overloaded("watchers_max", self.settings.watchers_max)
        watch = Watch(self, scope, after_revision=after_revision, progress_seconds=progress_seconds, wants=wants)
        with self._held(watch):
            self._watches.add(watch)
            try:
                yield watch
            finally:
                self._watches.discard(watch)

    @contextmanager
    def follow(self, scope: Scope, *, after_revision: int) -> Iterator[Watch]:
        """Hold a watch of the store itself, which does not count among the watchers."""
        with self._held(Watch(self, scope, after_revision=after_revision, progress_seconds=inf)) as watch:
            yield watch

    @contextmanager
    def _held(self, watch: Watch) -> Iterator[Watch]:
        try:
            yield watch
        finally:
            self.part(watch)

    async def read(self, after_revision: int, scope: Scope) -> Batch:
        """Read the next batch of a scope from the driver."""
        return await self._driver.events_after(after_revision, scope, limit=self.settings.batch_events)

    def events_after(self, revision: int, scope: Scope) -> Sequence[Event]:
        """Return the events of a scope that are at hand, after a revision not below `window_start`."""
        return self._recent.events_after(revision, scope)

    def join(self, watch: Watch, position: int) -> bool:
        """Make a watch live that has seen everything up to `position`; False where that is too far back."""
        if not self._live and position > self.through:
            # Nobody needs what lies between: the hub stood still while it had no live watch.
            self._recent = Recent(self.settings, after_revision=position)
            self.through = position
        if position < self.window_start:
            return False
        self._live[watch.scope].add(watch)
        watch.set_live(live=True)
        # A commit after the watch's last read may have woken a hub that had nobody to read for.
        self.wakeup.set()
        return True

    def part(self, watch: Watch) -> None:
        """Let a watch go back to replaying."""
        watches = self._live.get(watch.scope, set())
        if watch in watches:
            watches.discard(watch)
            watch.set_live(live=False)
        if not watches:
            self._live.pop(watch.scope, None)

    def call_after_turn(self, tell: Callable[[], None]) -> None:
        """Have `tell` called each time that `through` may have risen."""
        self._after_turn = tell

    async def turn(self) -> None:
        """Read what is new and tell whom it concerns, until nothing is new; without live watches do nothing."""
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

    def _take(self, events: Sequence[Event]) -> None:
        """Hand out what this process committed, where nothing lies before or between; else have it read."""
        revisions = [event.revision for event in events]
        follows = revisions == list(range(self.through + 1, self.through + 1 + len(revisions)))
        if events and self._live and follows:
            self._hand_out(Batch(tuple(events), through=revisions[-1], more=False))
        else:
            self.wakeup.set()

    def _hand_out(self, batch: Batch) -> None:
        # While the batch was read, a first watch may have joined further on and moved the hub there.
        events = [event for event in batch.events if event.revision > self.through]
        self._recent.add(events)
        before, self.through = self.through, max(self.through, batch.through)
        told: defaultdict[Place, list[Event]] = defaultdict(list)
        for event in events:
            for scope in scopes_of(event.key):
                if scope in self._live:
                    told[scope].append(event)
        for scope, of_scope in told.items():
            for watch in self._live[scope]:
                watch.tell(of_scope, after_revision=before)
        self._after_turn()

    def _let_all_go(self) -> None:
        for watch in tuple(watch for watches in self._live.values() for watch in watches):
            self.part(watch)

    def close(self) -> None:
        """End every watch."""
        self.closed = True
        self._let_all_go()

    def statistics(self) -> Statistics:
        """Return how many watches there are, how many of them replay, what is at hand, and how far it reaches."""
        return {
            "watchers": len(self._watches),
            "watchers_replaying": sum(watch.is_replaying for watch in self._watches),
            "delivered_revision": self.through,
            **self._recent.statistics(),
        }


def scopes_of(key: Key) -> tuple[Place, ...]:
    """Return every scope that an entry can be watched in: plain tuples, which every change is looked up by."""
    resource, namespace, name = key
    return EVERYTHING, (resource, None, None), (resource, namespace, None), key, (resource, None, name)
