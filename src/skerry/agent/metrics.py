"""The metrics of a node's functions, for Prometheus: what its workers count, added up when somebody asks.

Owns the names of the metrics. Cardinality is bounded by what exists: a function's series end with the function, those
of a revision with the revision.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from skerry.engine.function_metrics import FunctionSums
from skerry.engine.workers import Workers
from skerry.kit.logs import get_logger

log = get_logger(__name__)

#: What exists: the names of functions, and of the revisions of each.
Known = Callable[[], Mapping[str, Collection[str]]]

_COUNTERS = (
    ("skerry_function_cpu_seconds", "cpuSeconds", "Processor time that calls took."),
    ("skerry_function_cold_starts", "coldStarts", "Instances that were started."),
    ("skerry_function_subrequests", "subrequests", "Requests that functions sent with fetch."),
)
_GAUGES = (
    ("skerry_function_instances", "instances", "Instances that exist, in use or idle."),
    ("skerry_function_memory_bytes", "memoryBytes", "Memory that they take, about."),
    ("skerry_function_requests_running", "running", "Requests that run now."),
    ("skerry_function_requests_waiting", "waiting", "Requests that wait for their turn."),
)


class FunctionMetrics(Collector):
    """Asks the workers, and tells Prometheus' registry.

    Args:
        workers: of this node.
        known: tells what exists.
    """

    def __init__(self, workers: Workers, known: Known) -> None:
        self._workers = workers
        self._known = known
        self._sums = FunctionSums()
        #: An answer that another one overtook would count as that of a worker that began at zero.
        self._asking = asyncio.Lock()

    async def refresh(self) -> None:
        """Ask every worker; of one that is away stays what it said last."""
        async with self._asking, asyncio.TaskGroup() as group:
            for index in range(len(self._workers.socket_paths)):
                group.create_task(self._ask(index))
        self._sums.retain(self._known())

    async def _ask(self, index: int) -> None:
        try:
            self._sums.add(index, *await self._workers.by_function(index))
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("an engine worker does not tell what it counts", worker=index, error=str(error))

    async def exposition(self) -> bytes:
        """Return these metrics alone, as they are now, as text for Prometheus."""
        await self.refresh()
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they were at the last `refresh`."""
        sums = self._sums
        requests = CounterMetricFamily(
            "skerry_function_requests", "Answered requests.", labels=["function", "revision", "code_class"]
        )
        limits = CounterMetricFamily(
            "skerry_function_limit_hits", "Limits that requests met.", labels=["function", "limit"]
        )
        durations = HistogramMetricFamily(
            "skerry_function_request_duration_seconds", "Time to an answer, in the worker.", labels=["function"]
        )
        for name in sums.functions:
            for (revision, code_class), count in sums.parts(name, "requests").items():
                if count:
                    requests.add_metric([name, revision, f"{code_class + 1}xx"], count)
            for (limit,), count in sums.parts(name, "limits").items():
                limits.add_metric([name, limit], count)
            durations.add_metric([name], sums.durations(name), sums.total(name, "durationSeconds"))
        yield from (requests, limits, durations)
        for metric, place, text in _COUNTERS:
            counter = CounterMetricFamily(metric, text, labels=["function"])
            for name in sums.functions:
                counter.add_metric([name], sums.total(name, place))
            yield counter
        for metric, place, text in _GAUGES:
            gauge = GaugeMetricFamily(metric, text, labels=["function"])
            for name in sums.functions:
                gauge.add_metric([name], sums.present(name, place))
            yield gauge
