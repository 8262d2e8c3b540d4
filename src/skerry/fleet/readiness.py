"""Who has fallen silent, told without looking at everyone: deadlines that keep moving. Pure.

Every report moves its node's deadline further away, 250 times a second in a fleet of 5,000. So a report only notes the
new deadline; the heap keeps the old one, and corrects itself when that comes: work is done once a window for each
node, not once a report.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Keys with the moment, in seconds, at which each is due. Memory grows with the number of keys alone."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._looked_at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._pushed = 0

    def set(self, key: K, due: float) -> None:
        """Have a key be due at a moment, instead of any other."""
        self._due[key] = due
        looked_at = self._looked_at.get(key)
        if looked_at is None or due < looked_at:
            self._push(key, due)

    def remove(self, key: K) -> None:
        """Have a key never be due."""
        self._due.pop(key, None)
        self._looked_at.pop(key, None)

    def take(self, now: float) -> list[K]:
        """Return the keys that are due, earliest first, and forget them."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            moment, _, key = heapq.heappop(self._heap)
            if self._looked_at.get(key) != moment:
                continue  # removed, or to be looked at earlier: another entry is its own
            due = self._due[key]
            if due <= now:
                taken.append(key)
                self.remove(key)
            else:
                self._push(key, due)
        return taken

    def next_due(self) -> float | None:
        """Return a moment before which no key is due; None where there are none."""
        return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._due)

    def _push(self, key: K, due: float) -> None:
        self._looked_at[key] = due
        self._pushed += 1
        heapq.heappush(self._heap, (due, self._pushed, key))
