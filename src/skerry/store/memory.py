"""The log in memory: for tests and for control planes that may forget.

Owns nothing durable. Every method runs without a pause on the event loop, so each is atomic; that is the
whole of its concurrency control. Memory is bounded by compaction, as disk is for the other drivers.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from skerry.store.driver import Wake, check_revision
from skerry.store.errors import Compacted, Conflict, FutureRevision
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


@asynccontextmanager
async def open_memory() -> AsyncIterator["MemoryDriver"]:
    """Open an empty log that ends with the block."""
    yield MemoryDriver()


class MemoryDriver:
    """A `Driver` over Python's own containers."""

    def __init__(self) -> None:
        self._compacted = 0
        self._latest = 0
        #: The newest revision of each resource.
        self._heads: dict[str, int] = {}
        self._wake: Wake = lambda _: None
        #: Every event above `_compacted`, rising.
        self._events: list[Event] = []
        #: The states of a key, rising by revision; (revision, None) is a tombstone.
        self._states: dict[Key, list[tuple[int, Entry | None]]] = {}
        #: The sorted keys of a resource that have states.
        self._keys: dict[str, list[Key]] = {}

    async def append(self, write: Write) -> int:
        """Apply one conditional change; see `Driver`."""
        current = self._current(write.key)
        if (current.revision if current else 0) != write.expected_revision:
            raise Conflict(write.key, expected_revision=write.expected_revision, current=current)
        self._latest += 1
        self._heads[write.key.resource] = self._latest
        self._record(write, current)
        self._wake(self._events[-1:])
        return self._latest

    def _record(self, write: Write, current: Entry | None) -> None:
        key, revision = write.key, self._latest
        if key not in self._states:
            self._states[key] = []
            insort(self._keys.setdefault(key.resource, []), key)
        entry = None
        if write.value is not None:
            entry = Entry(key, revision, current.created_revision if current else revision, write.value)
        self._states[key].append((revision, entry))
        self._events.append(
            Event(
                kind="put" if entry else "delete",
                key=key,
                revision=revision,
                created=current is None,
                value=write.value,
                previous=current.value if current else None,
            )
        )

    async def get(self, key: Key) -> Entry | None:
        """Return the present state of a key."""
        return self._current(key)

    def _current(self, key: Key) -> Entry | None:
        states = self._states.get(key)
        return states[-1][1] if states else None

    async def page(self, query: ListQuery) -> Page:
        """Return a part of a snapshot; see `Driver`."""
        revision = self._latest if query.revision is None else query.revision
        check_revision(revision, Bounds(self._compacted, self._latest))
        keys = self._keys.get(query.resource, [])
        first = bisect_right(keys, Key(query.resource, *query.after)) if query.after else 0
        entries = tuple(
            entry
            for key in islice(keys, first, None)
            if query.namespace in {None, key.namespace} and (entry := self._at(key, revision))
        )
        page = entries[: query.limit]
        remaining = len(entries) - len(page)
        return Page(page, revision, more=remaining > 0, remaining=remaining if query.counts else None)

    def _at(self, key: Key, revision: int) -> Entry | None:
        states = self._states[key]
        place = bisect_right(states, revision, key=lambda state: state[0])
        return states[place - 1][1] if place else None

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        """Return the first events after `revision`; see `Driver`."""
        if revision < self._compacted:
            raise Compacted(self._compacted)
        first = bisect_right(self._events, revision, key=lambda event: event.revision)
        matching = (event for event in islice(self._events, first, None) if scope.covers(event.key))
        events = tuple(islice(matching, limit))
        if len(events) < limit:
            return Batch(events, through=max(revision, self._latest), more=False)
        return Batch(events, through=events[-1].revision, more=True)

    async def bounds(self) -> Bounds:
        """Return the oldest and the newest revision."""
        return Bounds(self._compacted, self._latest)

    async def compact(self, revision: int) -> None:
        """Forget superseded states and tombstones at or below `revision`; see `Driver`."""
        if revision > self._latest:
            raise FutureRevision(self._latest)
        if revision <= self._compacted:
            return
        end = bisect_right(self._events, revision, key=lambda event: event.revision)
        for key in {event.key for event in self._events[:end]}:
            self._forget(key, revision)
        del self._events[:end]
        self._compacted = revision

    def _forget(self, key: Key, revision: int) -> None:
        states = self._states[key]
        newest = bisect_right(states, revision, key=lambda state: state[0]) - 1
        keep_from = newest if states[newest][1] else newest + 1
        del states[:keep_from]
        if not states:
            del self._states[key]
            keys = self._keys[key.resource]
            del keys[bisect_left(keys, key)]

    async def values_after(self, revision: int, *, limit: int) -> Sequence[HeldValue]:
        """Return the first values written after `revision`; see `HeldValues`."""
        held = [
            HeldValue(entry.revision, entry.key, entry.value, current=entry is states[-1][1])
            for states in self._states.values()
            for _, entry in states
            if entry is not None and entry.revision > revision
        ]
        return sorted(held, key=lambda value: value.revision)[:limit]

    async def rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        """Replace values that are still as they were read; see `HeldValues`."""
        # By key and bytes, not by revision, because an event does not say which revision its `previous` is of.
        forms = {(rewrite.held.key, rewrite.held.value): rewrite.value for rewrite in rewrites}

        def form(key: Key, value: bytes | None) -> bytes | None:
            return None if value is None else forms.get((key, value), value)

        for key in {key for key, _ in forms} & self._states.keys():
            self._states[key] = [
                (revision, entry and entry._replace(value=forms.get((key, entry.value), entry.value)))
                for revision, entry in self._states[key]
            ]
        self._events[:] = [
            event._replace(value=form(event.key, event.value), previous=form(event.key, event.previous))
            for event in self._events
        ]

    def head(self, resource: str) -> int | None:
        """Return the newest revision of a resource, forgotten ones included; see `Driver`."""
        return self._heads.get(resource, 0)

    def call_after_commit(self, wake: Wake) -> None:
        """Have `wake` called after each commit."""
        self._wake = wake

    def statistics(self) -> Statistics:
        """Return how much is held."""
        return {"events": len(self._events), "keys": len(self._states)}
