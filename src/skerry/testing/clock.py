"""A clock that stands still until it is told to go on."""

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
