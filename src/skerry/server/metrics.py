"""The server's metrics, and their text for Prometheus. Label values come from closed sets only."""

from functools import lru_cache
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from skerry.kit.metrics import Counter, Histogram
from skerry.server.http import Response

#: Combinations of labels; verbs, kinds and codes together make fewer.
_REMEMBERED = 4096

REQUESTS = Counter("skerry_api_requests_total", "Answered requests.", ["verb", "resource", "code"])
DURATIONS = Histogram(
    "skerry_api_request_duration_seconds",
    "Time to an answer; streams are not counted.",
    ["verb", "resource"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
WATCHERS = Gauge("skerry_api_watchers", "Open watches.", ["resource"])
ENCODINGS = Counter("skerry_api_watch_encodings_total", "Watch events made into bytes, for all watchers of a form.")


@lru_cache(_REMEMBERED)
def answered(verb: str, resource: str, code: int) -> Counter:
    """Return the counter of such answers: finding one by its labels costs more than counting does."""
    return REQUESTS.labels(verb, resource, code)


@lru_cache(_REMEMBERED)
def duration(verb: str, resource: str) -> Histogram:
    """Return the times of such answers."""
    return DURATIONS.labels(verb, resource)


class Measured(Protocol):
    """Whose metrics are made when somebody asks for them."""

    async def refresh(self) -> None:
        """Bring them to the present."""
        ...


async def exposition(measured: Measured | None) -> Response:
    """Answer `/metrics`."""
    if measured is not None:
        await measured.refresh()
    return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)
