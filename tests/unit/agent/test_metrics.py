"""The metrics of a node's functions: what its workers count, as text for Prometheus."""

import asyncio
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from skerry.agent.metrics import FunctionMetrics


class CountingWorker:
    """The one worker of a node: it counts a start whenever it is asked; `Workers`, as far as it matters here."""

    socket_paths = (Path("worker.sock"),)

    def __init__(self) -> None:
        self.starts = 0
        #: Whose answer waits, by its number.
        self.held: dict[int, asyncio.Event] = {}
        self.asked = asyncio.Event()

    async def by_function(self, _: int) -> tuple[int, dict[str, dict[str, Any]]]:
        self.starts += 1
        self.asked.set()
        told = {"hello": {"counts": {"coldStarts": self.starts, "requests": {"hello-1": [0, self.starts]}}}}
        if (event := self.held.get(self.starts)) is not None:
            await event.wait()
        return 1, told


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Return what is not zero, by name and labels."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.value:
                found[sample.name, *sorted(sample.labels.values())] = sample.value
    return found


async def test_functions_are_told_as_they_are_now_and_nothing_else() -> None:
    workers: Any = CountingWorker()
    metrics = FunctionMetrics(workers, lambda: {"hello": ["hello-1"]})
    await metrics.exposition()
    assert samples(await metrics.exposition()) == {
        ("skerry_function_requests_total", "2xx", "hello", "hello-1"): 2,
        ("skerry_function_cold_starts_total", "hello"): 2,
    }


async def test_what_two_ask_for_at_once_is_counted_once() -> None:
    workers: Any = CountingWorker()
    first = workers.held[1] = asyncio.Event()
    metrics = FunctionMetrics(workers, lambda: {"hello": ["hello-1"]})
    async with asyncio.TaskGroup() as group:
        early = group.create_task(metrics.exposition())
        await workers.asked.wait()
        late = group.create_task(metrics.exposition())
        for _ in range(10):  # as far as it comes by itself
            await asyncio.sleep(0)
        first.set()
    assert samples(late.result())["skerry_function_cold_starts_total", "hello"] == 2
    assert samples(early.result())["skerry_function_cold_starts_total", "hello"] == 1
