"""What of a node's files nobody needs any more: those that were in no use for a while.

Pure, but for its clock. Owns since when each is idle. Does not own the files.
"""

from collections.abc import Collection

from skerry.kit.clock import Clock

#: How long a file outlives its last use: requests in flight, and their retries, still name a revision; Envoy reads code
#: again when a listener that names it changes.
GRACE_SECONDS = 60.0


class Idle:
    """Since when names are in no use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_seconds: dict[str, float] = {}

    def expired(self, present: Collection[str], in_use: Collection[str]) -> list[str]:
        """Return those of what is there that were in no use, at each look, for `GRACE_SECONDS`."""
        now = self._clock.monotonic_seconds()
        idle = set(present) - set(in_use)
        self._since_seconds = {name: self._since_seconds.get(name, now) for name in idle}
        return [name for name, since in self._since_seconds.items() if now - since >= GRACE_SECONDS]
