"""What one worker counts of each function: requests, durations, processor time, limits that were met.

The agent asks for it (`/__skerry/functions`, JSON) and adds the workers up (`function_metrics`); `exposition` is the
same of one worker, in Prometheus' text format, for whoever looks at its socket.

Written by hand instead of with prometheus-client: its import doubles a worker's start time, and a killed worker has
to be back within a second; the counters are on the hot path. Bounded: a function that was asked for least recently is
forgotten over `FUNCTIONS_MAX`.
"""

import threading
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from skerry.engine.errors import FailureKind

#: Upper bounds of the duration histogram, in seconds.
DURATION_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FUNCTIONS_MAX = 10_000
#: Of one function; it has 10 by default, and few are asked for at once.
REVISIONS_MAX = 32

#: Which limit a failure met, as `runtime.limits` and its neighbours name it.
LIMITS: Mapping[str, str] = {
    FailureKind.MEMORY: "memory",
    FailureKind.CPU_TIME: "cpuTime",
    FailureKind.TIMEOUT: "timeout",
    FailureKind.BODY_TOO_LARGE: "requestBody",
    FailureKind.RESPONSE_TOO_LARGE: "responseBody",
    FailureKind.CONCURRENCY: "concurrency",
    FailureKind.TIMERS: "timers",
    FailureKind.OVERLOADED: "workerMemory",
}
SUBREQUESTS_LIMIT, LOG_LIMIT = "subrequests", "log"


class _Function:
    """The counts of one function."""

    __slots__ = ("buckets", "classes", "cold_starts", "cpu_ns", "duration_seconds", "limits", "subrequests")

    def __init__(self) -> None:
        self.classes: dict[str, list[int]] = {}  # by revision: answers of 1xx to 5xx
        self.buckets = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self.duration_seconds = 0.0
        self.cpu_ns = self.subrequests = self.cold_starts = 0
        self.limits: Counter[str] = Counter()

    def classes_of(self, revision: str) -> list[int]:
        counts = self.classes.get(revision)
        if counts is None:
            while len(self.classes) >= REVISIONS_MAX:
                del self.classes[next(iter(self.classes))]
            counts = self.classes[revision] = [0] * 5
        return counts

    def document(self) -> dict[str, Any]:
        return {
            "requests": {revision: list(counts) for revision, counts in self.classes.items()},
            "durations": list(self.buckets),
            "durationSeconds": self.duration_seconds,
            "cpuSeconds": self.cpu_ns / 1e9,
            "subrequests": self.subrequests,
            "coldStarts": self.cold_starts,
            "limits": dict(self.limits),
        }


class Use:
    """What one request used.

    Attributes:
        function: that it was for.
        revision: likewise.
        began: when, in seconds of the performance counter.
        status: of the answer.
        cpu_ns: computed so long.
        subrequests: sent so many.
    """

    __slots__ = ("began", "cpu_ns", "function", "revision", "status", "subrequests")

    def __init__(self, revision: str, function: str = "") -> None:
        self.revision = revision
        self.function = function
        self.began = 0.0
        self.status = self.cpu_ns = self.subrequests = 0


class WorkerMeasures:
    """Counters of one worker; written by every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._functions: OrderedDict[str, _Function] = OrderedDict()  # least recently used first
        self._requests = 0
        self._failures: Counter[str] = Counter()

    def answered(self, use: Use, duration_seconds: float) -> None:
        """Count a request to a function, whatever it was answered."""
        with self._lock:
            self._requests += 1
            counts = self._function(use.function)
            counts.classes_of(use.revision)[use.status // 100 - 1] += 1
            counts.buckets[bisect_left(DURATION_BOUNDS_SECONDS, duration_seconds)] += 1
            counts.duration_seconds += duration_seconds
            counts.cpu_ns += use.cpu_ns
            counts.subrequests += use.subrequests

    def settled(self, use: Use) -> None:
        """Count what was used after the answer."""
        with self._lock:
            counts = self._function(use.function)
            counts.cpu_ns += use.cpu_ns
            counts.subrequests += use.subrequests

    def started(self, function: str) -> None:
        """Count a cold start."""
        with self._lock:
            self._function(function).cold_starts += 1

    def failed(self, kind: str, function: str = "") -> None:
        """Count a request that we answered in a function's place, and the limit that it met."""
        with self._lock:
            self._failures[kind] += 1
            if function and kind in LIMITS:
                self._function(function).limits[LIMITS[kind]] += 1

    def met(self, function: str, limit: str) -> None:
        """Count a limit that was met without an end of the request."""
        with self._lock:
            self._function(function).limits[limit] += 1

    def _function(self, name: str) -> _Function:
        counts = self._functions.get(name)
        if counts is None:
            if len(self._functions) >= FUNCTIONS_MAX:
                self._functions.popitem(last=False)
            counts = self._functions[name] = _Function()
        else:
            self._functions.move_to_end(name)
        return counts

    def statistics(self) -> dict[str, int]:
        """Return the counts of all functions together: requests, and failures by kind."""
        with self._lock:
            failures = {f"failures_{kind}_total": count for kind, count in sorted(self._failures.items())}
            return {"requests_total": self._requests, **failures}

    def by_function(self) -> dict[str, dict[str, Any]]:
        """Return the counts of each function, as `function_metrics` reads them."""
        with self._lock:
            return {name: counts.document() for name, counts in self._functions.items()}

    def exposition(self, gauges: Mapping[str, int]) -> str:
        """Return the counts of all functions together, and the given numbers, as Prometheus reads them."""
        with self._lock:
            lines = ["# TYPE skerry_engine_requests_total counter", f"skerry_engine_requests_total {self._requests}"]
            lines.append("# TYPE skerry_engine_failures_total counter")
            for kind, count in sorted(self._failures.items()):
                lines.append(f'skerry_engine_failures_total{{kind="{kind}"}} {count}')
            lines += self._duration_lines()
        for name, value in gauges.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE skerry_engine_{name} {kind}", f"skerry_engine_{name} {value}"]
        return "\n".join(lines) + "\n"

    def _duration_lines(self) -> Iterator[str]:
        name = "skerry_engine_request_duration_seconds"
        yield f"# TYPE {name} histogram"
        below = 0
        for index, bound in enumerate((*map(str, DURATION_BOUNDS_SECONDS), "+Inf")):
            below += sum(counts.buckets[index] for counts in self._functions.values())
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {sum(counts.duration_seconds for counts in self._functions.values()):.6f}"
        yield f"{name}_count {below}"
