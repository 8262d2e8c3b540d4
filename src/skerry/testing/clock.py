"""Clocks of a test's own: one that stands still until it is told to go on, and that of the event loop, put forward."""

import asyncio
import datetime as dt

#: Where every fake clock starts.
START = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


class FakeClock:
    """A `kit.clock.Clock` of the test's own."""

    def __init__(self) -> None:
        self._elapsed_seconds = 0.0

    def now(self) -> dt.datetime:
        """Return `START` and what has passed since."""
        return START + dt.timedelta(seconds=self._elapsed_seconds)

    def monotonic_seconds(self) -> float:
        """Return the seconds that have passed since the start."""
        return self._elapsed_seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed_seconds += seconds


class LoopClock:
    """The clock of the running event loop, which a test can put forward for as long as the loop lives.

    So a limit of an hour strikes when the test says so, and never since a busy machine stood still.
    """

    def __init__(self) -> None:
        self._ahead_seconds = 0.0
        loop = asyncio.get_running_loop()
        passed = loop.time
        loop.time = lambda: passed() + self._ahead_seconds  # type: ignore[method-assign]

    def advance(self, seconds: float) -> None:
        """Have what is due within so many seconds be due at the loop's next turn."""
        self._ahead_seconds += seconds
