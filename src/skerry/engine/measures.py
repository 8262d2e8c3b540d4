"""What one worker counts: requests, failures by kind, durations. Text in Prometheus' exposition format.

Written by hand instead of with prometheus-client: its import doubles a worker's start time, and a killed worker has
to be back within a second; the counters are on the hot path.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

#: Upper bounds of the duration histogram, in seconds.
DURATION_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class WorkerMeasures:
    """Counters of one worker; written by every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._failures: Counter[str] = Counter()
        self._buckets = [0] * (len(DURATION_BOUNDS_SECONDS) + 1)
        self._duration_seconds = 0.0

    def answered(self, duration_seconds: float) -> None:
        """Count a request that reached a function, whatever it answered."""
        with self._lock:
            self._requests += 1
            self._buckets[bisect_left(DURATION_BOUNDS_SECONDS, duration_seconds)] += 1
            self._duration_seconds += duration_seconds

    def failed(self, kind: str) -> None:
        """Count a request that we answered in a function's place."""
        with self._lock:
            self._failures[kind] += 1

    def statistics(self) -> dict[str, int]:
        """Return the counts: requests, and failures by kind."""
        with self._lock:
            failures = {f"failures_{kind}_total": count for kind, count in sorted(self._failures.items())}
            return {"requests_total": self._requests, **failures}

    def exposition(self, gauges: Mapping[str, int]) -> str:
        """Return all of it, and the given numbers, as Prometheus reads it."""
        with self._lock:
            lines = ["# TYPE skerry_engine_requests_total counter", f"skerry_engine_requests_total {self._requests}"]
            lines.append("# TYPE skerry_engine_failures_total counter")
            for kind, count in sorted(self._failures.items()):
                lines.append(f'skerry_engine_failures_total{{kind="{kind}"}} {count}')
            lines.append("# TYPE skerry_engine_request_duration_seconds histogram")
            below = 0
            for bound, count in zip((*map(str, DURATION_BOUNDS_SECONDS), "+Inf"), self._buckets, strict=True):
                below += count
                lines.append(f'skerry_engine_request_duration_seconds_bucket{{le="{bound}"}} {below}')
            lines.append(f"skerry_engine_request_duration_seconds_sum {self._duration_seconds:.6f}")
            lines.append(f"skerry_engine_request_duration_seconds_count {below}")
        for name, value in gauges.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# TYPE skerry_engine_{name} {kind}", f"skerry_engine_{name} {value}"]
        return "\n".join(lines) + "\n"
