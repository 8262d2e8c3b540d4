"""The newest events, kept at hand: what is new is read once, and every watcher takes its share from here.

One window serves all watchers, so what they wait for is held once, however many they are and however slow. A
watcher that falls out of it reads the database. The invariant: all events after `after_revision`, up to the last
one added, are here.
"""

from collections import deque
from collections.abc import Sequence

from skerry.store.records import Event, Scope
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
        self._held_bytes += sum([event.held_bytes for event in events])
        while (
            len(self._events) > self._settings.recent_events_max or self._held_bytes > self._settings.recent_bytes_max
        ):
            oldest = self._events.popleft()
            self._held_bytes -= oldest.held_bytes
            self.after_revision = oldest.revision

    def events_after(self, revision: int, scope: Scope) -> Sequence[Event]:
        """Return the events of a scope after a revision, which is not below `after_revision`.

        From the end backwards: whoever keeps up asks for the last few.
        """
        found = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            if scope.covers(event.key):
                found.append(event)
        found.reverse()
        return found

    def statistics(self) -> dict[str, int]:
        """Return how much is held."""
        return {"recent_events": len(self._events), "recent_bytes": self._held_bytes}
