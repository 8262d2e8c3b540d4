"""What workers count of functions, and how the counts are added up."""

from typing import Any

import pytest

from skerry.engine import measures
from skerry.engine.errors import FailureKind
from skerry.engine.function_metrics import FunctionSums
from skerry.engine.measures import LIMITS, Use, WorkerMeasures


def use(function: str, status: int = 200, *, cpu_ns: int = 0, subrequests: int = 0) -> Use:
    made = Use(f"{function}-1", function)
    made.status, made.cpu_ns, made.subrequests = status, cpu_ns, subrequests
    return made


def told(worker: WorkerMeasures, **present: dict[str, int]) -> dict[str, Any]:
    counts = {name: {"counts": counts} for name, counts in worker.by_function().items()}
    return {name: {**counts.get(name, {}), "present": present.get(name, {})} for name in counts | present}


def test_requests_are_counted_by_function_revision_and_status_class():
    worker = WorkerMeasures()
    worker.answered(use("a", 200, cpu_ns=5, subrequests=2), 0.002)
    worker.answered(use("a", 503), 40.0)
    worker.answered(use("b", 404), 0.0)
    counted = worker.by_function()
    assert counted["a"]["requests"] == {"a-1": [0, 1, 0, 0, 1]}
    assert counted["a"]["durations"][1] == counted["a"]["durations"][-1] == 1
    assert (counted["a"]["cpuSeconds"], counted["a"]["subrequests"]) == (5e-9, 2)
    assert counted["b"]["requests"] == {"b-1": [0, 0, 0, 1, 0]}
    assert "skerry_engine_requests_total 3\n" in worker.exposition({})


def test_every_failure_that_is_a_limit_is_counted_as_that_limit():
    worker = WorkerMeasures()
    for kind in FailureKind:
        worker.failed(kind, "a")
    worker.failed(FailureKind.MEMORY)
    assert worker.by_function()["a"]["limits"] == dict.fromkeys(LIMITS.values(), 1)
    assert worker.statistics()["failures_memory_total"] == 2


def test_functions_and_revisions_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measures, "FUNCTIONS_MAX", 2)
    monkeypatch.setattr(measures, "REVISIONS_MAX", 2)
    worker = WorkerMeasures()
    for name in ("a", "b", "a", "c"):
        worker.answered(use(name), 0.0)
    assert set(worker.by_function()) == {"a", "c"}
    for number in range(5):
        made = Use(f"a-{number}", "a")
        made.status = 200
        worker.answered(made, 0.0)
    assert set(worker.by_function()["a"]["requests"]) == {"a-3", "a-4"}


def test_sums_are_over_all_workers_and_outlive_one_that_begins_anew():
    sums, first, second = FunctionSums(), WorkerMeasures(), WorkerMeasures()
    first.answered(use("a", cpu_ns=10**9), 0.002)
    second.answered(use("a"), 0.002)
    for _ in range(2):  # what was told is not counted again
        sums.add(0, 1, told(first, a={"instances": 2}))
        sums.add(1, 1, told(second, a={"instances": 1}))
    assert sums.parts("a", "requests")[("a-1", 1)] == 2
    assert sums.present("a", "instances") == 3
    reborn = WorkerMeasures()
    reborn.answered(use("a"), 0.002)
    sums.add(0, 2, told(reborn))
    assert sums.parts("a", "requests")[("a-1", 1)] == 3
    assert sums.total("a", "cpuSeconds") == 1
    assert sums.durations("a")[-1] == ("+Inf", 3)
    assert sums.present("a", "instances") == 1


def test_what_ended_is_forgotten_and_begins_at_nothing_when_it_comes_again():
    sums, worker = FunctionSums(), WorkerMeasures()
    worker.answered(use("a"), 0.0)
    worker.answered(use("b"), 0.0)
    sums.add(0, 1, told(worker))
    sums.retain({"b": {"b-2"}})
    assert sums.functions == ("b",)
    assert sums.parts("b", "requests") == {}
    worker.answered(use("a"), 0.0)
    sums.add(0, 1, told(worker))
    assert sums.parts("a", "requests")[("a-1", 1)] == 1
