"""The newest events, kept at hand so that a watcher close behind the hub joins without one more read.

Without them a watcher under steady writes might never join: whenever its read is answered, the hub may have
moved on. The invariant: all events after `after_revision`, up to the last one added, are here.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import dropwhile

from skerry.store.records import Event
from skerry.store.settings import LogSettings


class Recent:
    """A window on the end of the log, bounded in events and in bytes."""

    def __init__(self, settings: LogSettings, *, after_revision: int) -> None:
        self.after_revision = after_revision
        self._settings = settings
        self._events: deque[Event] = deque()
        self._held_bytes = 0

    def add(self, events: Sequence[Event]) -> None:
        """Add the events that follow, and drop the oldest ones beyond the bounds."""
        self._events.extend(events)
        self._held_bytes += sum(event.held_bytes for event in events)
        while (
            len(self._events) > self._settings.recent_events_max or self._held_bytes > self._settings.recent_bytes_max
        ):
            oldest = self._events.popleft()
            self._held_bytes -= oldest.held_bytes
            self.after_revision = oldest.revision

    def events_after(self, revision: int) -> Iterator[Event]:
        """Yield the events after a revision, which is not below `after_revision`."""
        return dropwhile(lambda event: event.revision <= revision, self._events)
