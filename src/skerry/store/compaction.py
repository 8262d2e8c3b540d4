"""Which revision to compact to. Decides only; `RevisionLog` acts.

Revisions carry no time of their own, so the compactor remembers how far the log was at each look.
"""

from collections import deque

from skerry.store.settings import CompactionPolicy


class Compactor:
    """Applies a `CompactionPolicy` to what it sees at each look."""

    def __init__(self, policy: CompactionPolicy) -> None:
        self._policy = policy
        looks_max = int(policy.keep_seconds / policy.interval_seconds) + 2
        #: (seconds, newest revision at that time); the oldest look first.
        self._looks: deque[tuple[float, int]] = deque(maxlen=looks_max)

    def look(self, *, revision: int, now_seconds: float) -> int:
        """Note the newest revision and return the one to compact to; 0 for none."""
        self._looks.append((now_seconds, revision))
        old_enough = [seen for seconds, seen in self._looks if seconds <= now_seconds - self._policy.keep_seconds]
        if not old_enough:
            return 0
        return max(0, min(old_enough[-1], revision - self._policy.keep_revisions))
