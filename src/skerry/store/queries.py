"""A statement with a name, and how long those of a name take: what all drivers on SQL share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def timed(driver: str, query: Query) -> Iterator[None]:
    """Observe how long a statement takes that succeeds."""
    started = time.perf_counter()
    yield
    _seconds_of(driver, query.name).observe(time.perf_counter() - started)


@cache
def _seconds_of(driver: str, query_name: str) -> Histogram:
    """Return the times of a statement; their names are a closed set."""
    return QUERY_SECONDS.labels(driver, query_name)
