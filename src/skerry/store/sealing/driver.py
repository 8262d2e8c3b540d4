"""A driver that seals: values of confidential resources are encrypted on their way into another driver.

Owns nothing but the passage. Above it (the log, watches, the verbs) values are plain; beneath it (a database, its
journal, its backups) those of confidential resources never are. Values that were written before a resource became
confidential are read as they are.
"""

from collections.abc import Callable

from skerry.store.driver import Driver, Wake
from skerry.store.errors import Conflict, Undecryptable
from skerry.store.records import Batch, Bounds, Entry, Event, Key, ListQuery, Page, Scope, Statistics, Write
from skerry.store.sealing.envelope import Sealer, is_plain

#: Tells of a resource, as in `Key`, whether its values are confidential.
IsConfidential = Callable[[str], bool]


class SealingDriver:
    """A `Driver` over another one. Reading raises `Undecryptable` besides what that one raises."""

    def __init__(self, driver: Driver, sealer: Sealer, is_confidential: IsConfidential) -> None:
        self._driver = driver
        self._sealer = sealer
        self._is_confidential = is_confidential
        #: See `Driver`; every read asks it.
        self.head = driver.head

    async def append(self, write: Write) -> int:
        """Apply one conditional change; see `Driver`."""
        if write.value is not None and self._is_confidential(write.key.resource):
            sealed = await self._sealer.seal(write.key, write.value)
            write = Write(write.key, sealed, write.expected_revision)
        try:
            return await self._driver.append(write)
        except Conflict as error:
            current = error.current and await self._opened(error.current)
            raise Conflict(write.key, expected_revision=write.expected_revision, current=current) from error

    async def get(self, key: Key) -> Entry | None:
        """Return the present state of a key."""
        entry = await self._driver.get(key)
        return entry and await self._opened(entry)

    async def page(self, query: ListQuery) -> Page:
        """Return a part of a snapshot; see `Driver`. One entry that can't be decrypted fails it.

        An entry left out would look deleted, and what depends on it would be collected.
        """
        page = await self._driver.page(query)
        if all(is_plain(entry.value) for entry in page.entries):
            return page
        entries = tuple([await self._opened(entry) for entry in page.entries])
        return Page(entries, page.revision, page.more, page.remaining)

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        """Return the first events after `revision`; see `Driver`. It stops short of one that can't be decrypted."""
        batch = await self._driver.events_after(revision, scope, limit=limit)
        if all(map(_is_plain, batch.events)):
            return batch
        events: list[Event] = []
        for event in batch.events:
            try:
                events.append(await self._opened_event(event))
            except Undecryptable:
                if not events:
                    raise
                return Batch(tuple(events), through=events[-1].revision, more=True)
        return Batch(tuple(events), batch.through, batch.more)

    async def _opened(self, entry: Entry) -> Entry:
        if is_plain(entry.value):
            return entry
        value = await self._sealer.open(entry.key, entry.value)
        return Entry(entry.key, entry.revision, entry.created_revision, value)

    async def _opened_event(self, event: Event) -> Event:
        return Event(
            kind=event.kind,
            key=event.key,
            revision=event.revision,
            created=event.created,
            value=None if event.value is None else await self._sealer.open(event.key, event.value),
            previous=None if event.previous is None else await self._sealer.open(event.key, event.previous),
        )

    async def bounds(self) -> Bounds:
        """Return the oldest and the newest revision."""
        return await self._driver.bounds()

    async def compact(self, revision: int) -> None:
        """Forget superseded states and tombstones at or below `revision`; see `Driver`."""
        await self._driver.compact(revision)

    def call_after_commit(self, wake: Wake) -> None:
        """Have `wake` called on the event loop after commits, with their events where they are plain; see `Driver`."""
        self._driver.call_after_commit(lambda events: wake(events if all(map(_is_plain, events)) else ()))

    def statistics(self) -> Statistics:
        """Return the present depth of every queue and pool of the driver."""
        return {**self._driver.statistics(), **self._sealer.statistics()}


def _is_plain(event: Event) -> bool:
    return is_plain(event.value or b"{") and is_plain(event.previous or b"{")
