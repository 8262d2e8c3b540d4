"""Callers' jobs, gathered into batches: as in `store.lane`, for a database that is talked to on the event loop.

While one batch is under way, all that comes in gathers; so the more callers wait, the more of them share one trip to
the server, and one sync of its disk. The invariant: every accepted job gets exactly one outcome, also while the lane
closes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from skerry.kit.tasks import background
from skerry.store.errors import Overloaded, Unavailable
from skerry.store.lane import Outcome

J = TypeVar("J")

#: Runs jobs; one outcome a job.
RunBatch = Callable[[Sequence[J]], Awaitable[Sequence[Outcome]]]


def _weightless(_: Any) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class LaneSettings(Generic[J]):
    """What makes a lane.

    Attributes:
        name: for tasks and statistics.
        waiting_limit: the name and the value of the bound on jobs accepted and not finished.
        batch_max: most jobs in one batch.
        bytes_of: what a job weighs.
        batch_bytes_max: a batch that weighs this much takes no more jobs.
    """

    name: str
    waiting_limit: tuple[str, int]
    batch_max: int
    bytes_of: Callable[[J], int] = _weightless
    batch_bytes_max: int = 1


class Lane(Generic[J]):
    """A running lane, which works within `open_lane`."""

    def __init__(self, settings: LaneSettings[J]) -> None:
        self.name = settings.name
        self._settings = settings
        self._inbox: asyncio.Queue[tuple[asyncio.Future[Any], J]] = asyncio.Queue()
        self._waiting = 0
        self._closed = False

    async def call(self, job: J) -> Any:
        """Have a job done and return its result; a cancelled caller leaves it in the lane.

        Raises:
            Overloaded: too many wait; the job was not accepted.
            Unavailable: the lane is closed.
        """
        if self._closed:
            raise Unavailable("the store is closed")
        limit_name, limit = self._settings.waiting_limit
        if self._waiting >= limit:
            raise Overloaded(limit_name, limit)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        self._inbox.put_nowait((future, job))
        return await future

    async def serve(self, run_batch: RunBatch[J]) -> None:
        """Work for ever."""
        while True:
            tasks = await self._take()
            try:
                outcomes = await run_batch([job for _, job in tasks])
            except Exception as error:  # noqa: BLE001 - each caller is told
                outcomes = [Outcome(error=error)] * len(tasks)
            self._tell([future for future, _ in tasks], outcomes)

    async def _take(self) -> list[tuple[asyncio.Future[Any], J]]:
        tasks = [await self._inbox.get()]
        weight = self._settings.bytes_of(tasks[0][1])
        while (
            not self._inbox.empty()
            and len(tasks) < self._settings.batch_max
            and weight < self._settings.batch_bytes_max
        ):
            tasks.append(self._inbox.get_nowait())
            weight += self._settings.bytes_of(tasks[-1][1])
        return tasks

    def _tell(self, futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[Outcome]) -> None:
        self._waiting -= len(futures)
        for future, outcome in zip(futures, outcomes, strict=True):
            self._inbox.task_done()
            if future.cancelled():
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)

    async def close(self) -> None:
        """Accept no more jobs, and wait until the accepted ones are done."""
        self._closed = True
        await self._inbox.join()

    def statistics(self) -> dict[str, int]:
        """Return how many jobs are accepted and not finished."""
        return {f"{self._settings.name}_waiting": self._waiting}


@asynccontextmanager
async def open_lane(lane: Lane[J], *servers: RunBatch[J]) -> AsyncIterator[None]:
    """Run a lane for the length of the block, with as many batches at once as there are servers."""

    def loop(run_batch: RunBatch[J]) -> Callable[[], Awaitable[None]]:
        return lambda: lane.serve(run_batch)

    async with background(*((f"store.{lane.name}", loop(server)) for server in servers)):
        try:
            yield
        finally:
            await lane.close()
