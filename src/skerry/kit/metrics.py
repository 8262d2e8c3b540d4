"""Counters and histograms that the event loop alone counts with: prometheus_client's own, less its locks.

A run counts nine values. prometheus_client takes a lock for each, since any thread may count, and looks through a
histogram's buckets one by one. Owns how a value is held and raised; names, labels and exposition are those of
prometheus_client.

Invariant: only the event loop's thread counts, and only it asks for the exposition. Whatever is counted elsewhere too
is counted by prometheus_client's classes.
"""

from bisect import bisect_left

import prometheus_client


class _Number:
    """A value, as prometheus_client reads it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def get(self) -> float:
        return self.value

    def get_exemplar(self) -> None:
        """Return none: nothing is counted with an exemplar."""


class Counter(prometheus_client.Counter):
    """A counter of the event loop."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._number = self._value = _Number()

    def inc(self, amount: float = 1.0, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002 - as it is there
        """Count so many more; above zero."""
        self._number.value += amount


class Histogram(prometheus_client.Histogram):
    """A histogram of the event loop."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._total = self._sum = _Number()
        self._numbers = self._buckets = [_Number() for _ in self._upper_bounds]

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:  # noqa: ARG002 - as it is there
        """Count a value."""
        self._total.value += amount
        self._numbers[bisect_left(self._upper_bounds, amount)].value += 1
