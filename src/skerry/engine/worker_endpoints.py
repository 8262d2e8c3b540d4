"""What a worker tells of itself over its own socket, to requests that name no revision: the node and its agent ask.

`/__skerry/health` and `/__skerry/functions` are JSON, `/__skerry/metrics` is Prometheus' text format.
"""

import os
from collections.abc import Callable
from typing import Any

import orjson

from skerry.engine.errors import FailureKind
from skerry.engine.http1 import Request, error_bytes, response_bytes
from skerry.engine.measures import WorkerMeasures
from skerry.engine.pool import InstancePool

_HEALTH, _METRICS, _FUNCTIONS = b"/__skerry/health", b"/__skerry/metrics", b"/__skerry/functions"
_JSON, _TEXT = b"content-type: application/json\r\n", b"content-type: text/plain; version=0.0.4\r\n"


class WorkerEndpoints:
    """See above.

    Args:
        measures: of the worker.
        pool: likewise.
        gauges: returns what else is counted at present, by name.
    """

    def __init__(self, measures: WorkerMeasures, pool: InstancePool, gauges: Callable[[], dict[str, int]]) -> None:
        self._measures = measures
        self._pool = pool
        self._gauges = gauges

    def answer(self, request: Request) -> bytes:
        """Answer a request that names no revision."""
        if request.target == _HEALTH:
            return response_bytes(request, 200, _JSON, orjson.dumps({"status": "ok", **self.statistics()}))
        if request.target == _FUNCTIONS:
            told = {"life": os.getpid(), "functions": self._by_function()}
            return response_bytes(request, 200, _JSON, orjson.dumps(told))
        if request.target == _METRICS:
            return response_bytes(request, 200, _TEXT, self._measures.exposition(self._gauged()).encode())
        message = "the request names no revision (header x-skerry-revision)"
        return error_bytes(request, 404, FailureKind.UNKNOWN_REVISION, message)

    def statistics(self) -> dict[str, int]:
        """Return the counts of this worker."""
        return {**self._measures.statistics(), **self._gauged()}

    def _gauged(self) -> dict[str, int]:
        return {**self._pool.statistics(), **self._gauges()}

    def _by_function(self) -> dict[str, dict[str, Any]]:
        """Return what was counted of each function, and what it has at present (see `function_metrics`)."""
        told: dict[str, dict[str, Any]] = {
            name: {"counts": counts} for name, counts in self._measures.by_function().items()
        }
        for name, present in self._pool.by_function().items():
            told.setdefault(name, {})["present"] = present
        return told
