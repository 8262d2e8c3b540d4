"""A statement with a name, and how long those of a name take: what all drivers on SQL share."""

import time
from dataclasses import dataclass
from functools import cache

from prometheus_client import Histogram

QUERY_SECONDS = Histogram(
    "skerry_store_query_seconds",
    "Time of one named statement of the store.",
    ["driver", "query"],
    buckets=(0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
)


@dataclass(frozen=True, slots=True)
class Query:
    """A named statement; the name labels its metric."""

    name: str
    sql: str


class timed:  # noqa: N801 - read as a verb
    """Observe how long a block takes, a statement of a driver's that succeeds.

    A class, since a context manager that is a generator takes longer than a short statement.
    """

    __slots__ = ("_seconds", "_started")

    def __init__(self, driver: str, query: Query) -> None:
        self._seconds = _seconds_of(driver, query.name)

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            self._seconds.observe(time.perf_counter() - self._started)


@cache
def _seconds_of(driver: str, query_name: str) -> Histogram:
    """Return the times of a statement; their names are a closed set."""
    return QUERY_SECONDS.labels(driver, query_name)
