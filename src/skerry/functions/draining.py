"""The calls of one deployment that go on: who removes it lets them end first."""

import asyncio
from contextlib import suppress

from skerry.kit.deadlines import within

#: How long the calls of a deployment that is removed may still take.
DRAIN_SECONDS_MAX = 30.0


class GoingOn:
    """Counts calls; each `begin` is followed by one `end`."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """Count a call that begins."""
        if not self._count:
            self._none.clear()
        self._count += 1

    def end(self) -> None:
        """Count a call that ended."""
        self._count -= 1
        if not self._count:
            self._none.set()

    def __len__(self) -> int:
        """Return how many calls go on."""
        return self._count

    async def drained(self) -> None:
        """Wait until none goes on, or for `DRAIN_SECONDS_MAX`."""
        with suppress(TimeoutError), within(DRAIN_SECONDS_MAX):
            await self._none.wait()
