"""What is counted and measured of the runs of each function.

Owns the metrics and their series: those of a function are there from its first run to its end, so that as many series
exist as functions do. Runs of functions that there are none of share the function "".
"""

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import Run
from skerry.functions import FunctionError, InputError, InvocationError, SystemError  # noqa: A004 - theirs
from skerry.functions.messages import CallStart
from skerry.kit.metrics import Counter, Histogram

_FUNCTION = ("namespace", "function")
#: Labels of what has no error.
_SUCCESS, _NO_ERROR = "success", ""

RUNS = Counter("skerry_function_runs_total", "Runs that are over.", [*_FUNCTION, "status", "error_type"])
ATTEMPTS = Counter("skerry_function_run_attempts_total", "Attempts of runs that ended.", [*_FUNCTION, "result"])
COLD_STARTS = Counter("skerry_function_run_cold_starts_total", "Instances that runs had to wait for.", _FUNCTION)
RUN_SECONDS = Histogram("skerry_function_run_seconds", "How long an attempt took, once it had its turn.", _FUNCTION)
QUEUE_SECONDS = Histogram("skerry_function_queue_seconds", "From the request to the first turn.", _FUNCTION)
_ALL = (RUNS, ATTEMPTS, COLD_STARTS, RUN_SECONDS, QUEUE_SECONDS)

#: Who is to blame, by the type of the error.
_ERRORS = (InputError.type, FunctionError.type, SystemError.type)


class FunctionMetrics:
    """The series of one function, all at hand: finding one by its labels costs more than counting does."""

    def __init__(self, namespace: str, function: str) -> None:
        name = (namespace, function)
        self._seconds, self._queue_seconds = RUN_SECONDS.labels(*name), QUEUE_SECONDS.labels(*name)
        self._cold_starts = COLD_STARTS.labels(*name)
        self._attempts = {result: ATTEMPTS.labels(*name, result) for result in (_SUCCESS, *_ERRORS)}
        ends = ((api.READY, _NO_ERROR), (api.ERROR, _NO_ERROR), *((api.ERROR, error) for error in _ERRORS))
        self._runs = {end: RUNS.labels(*name, *end) for end in ends}

    def waited(self, seconds: float) -> None:
        """Count the turn of a run's first attempt, so long after its request."""
        self._queue_seconds.observe(seconds)

    def attempted(self, start: CallStart, seconds: float, error: InvocationError | None) -> None:
        """Count an attempt that ended.

        Args:
            start: how it came to an instance.
            seconds: that it took, without those that it waited.
            error: how it failed.
        """
        self._seconds.observe(seconds)
        self._attempts[error.type if error else _SUCCESS].inc()
        if start.cold_starts:
            self._cold_starts.inc(start.cold_starts)

    def ended(self, run: Run) -> None:
        """Count a run that is over."""
        status = run.status
        self._runs[status.state or api.ERROR, status.error.type if status.error else _NO_ERROR].inc()


class RunMetrics:
    """The metrics of all functions."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], FunctionMetrics] = {}

    def of(self, namespace: str, function: str) -> FunctionMetrics:
        """Return those of a function that is there; hold on to them for a run that may outlive it."""
        key = namespace, function
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = FunctionMetrics(*key)
        return found

    def forget(self, namespace: str, function: str) -> None:
        """End the series of a function that is gone."""
        self._known.pop((namespace, function), None)
        for metric in _ALL:
            metric.remove_by_labels({"namespace": namespace, "function": function})
