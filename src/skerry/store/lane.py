"""Threads that own a database connection each and take jobs in batches from one bounded inbox.

A blocking database must not run on the event loop, and a hop to a thread and back costs more than a point
query does. So a lane takes everything that waits (up to `batch_max`) in one go, runs it as one batch, and
reports back with a single wake-up of the loop: under load the hop is shared, and what makes one batch can
share a transaction. What one turn of the loop asks for is handed over at its end, all together, for one wake-up.

Owns: threads, inbox, the way back. Does not own the connections' life, nor what running a batch means.
The invariant: every accepted job gets exactly one outcome, also while the lane closes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from skerry.store.errors import Overloaded, Unavailable

C = TypeVar("C")
X = TypeVar("X")
T = TypeVar("T")


class Outcome(NamedTuple):
    """What became of one job: its result, or the error to raise at its caller."""

    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class LaneSettings(Generic[C, X]):
    """What makes a lane.

    Attributes:
        name: for the threads' names and the statistics.
        run_batch: runs jobs on a connection, handing each what it works with (an X); one outcome a job.
        waiting_limit: the name and the value of the bound on jobs accepted and not finished.
        batch_max: most jobs in one batch.
    """

    name: str
    run_batch: Callable[[C, Sequence[Callable[[X], Any]]], Sequence[Outcome]]
    waiting_limit: tuple[str, int]
    batch_max: int


class Lane(Generic[C, X]):
    """A running lane, as `open_lane` yields it."""

    def __init__(self, settings: LaneSettings[C, X]) -> None:
        #: Called on the event loop after the outcomes of a batch were told, with them.
        self.after_batch: Callable[[Sequence[Outcome]], None] = lambda _: None
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        #: Bounded by `_waiting`, which only the event loop touches; None ends a thread.
        self._inbox: SimpleQueue[tuple[asyncio.Future[Any], Callable[[X], Any]] | None] = SimpleQueue()
        #: Accepted in this turn of the event loop.
        self._held: list[tuple[asyncio.Future[Any], Callable[[X], Any]]] = []
        self._waiting = 0
        self._closed = False

    async def call(self, job: Callable[[X], T]) -> T:
        """Run a job in the lane and return its result.

        A cancelled caller leaves its job in the lane: it will still run.

        Raises:
            Overloaded: the inbox is full; the job was not accepted.
            Unavailable: the lane is closed.
        """
        if self._closed:
            raise Unavailable("the store is closed")
        limit_name, limit = self._settings.waiting_limit
        if self._waiting >= limit:
            raise Overloaded(limit_name, limit)
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        if not self._held:
            self._loop.call_soon(self._hand_over)
        self._held.append((future, job))
        return await future

    def _hand_over(self) -> None:
        held, self._held = self._held, []
        for task in held:
            self._inbox.put(task)

    def serve(self, connection: C) -> None:
        """Work until the lane is closed; runs in a thread of its own."""
        while tasks := self._take():
            try:
                outcomes = self._settings.run_batch(connection, [job for _, job in tasks])
            except Exception as error:  # noqa: BLE001 - the thread's edge: each caller is told
                outcomes = [Outcome(error=error)] * len(tasks)
            futures = [future for future, _ in tasks]
            self._loop.call_soon_threadsafe(self._tell, futures, outcomes)

    def _take(self) -> list[tuple[asyncio.Future[Any], Callable[[X], Any]]]:
        tasks = []
        task = self._inbox.get()
        while task is not None:
            tasks.append(task)
            if len(tasks) == self._settings.batch_max:
                return tasks
            try:
                task = self._inbox.get_nowait()
            except Empty:
                return tasks
        if tasks:
            # The end was met behind the last jobs: it is for the next look.
            self._inbox.put(None)
        return tasks

    def _tell(self, futures: Sequence[asyncio.Future[Any]], outcomes: Sequence[Outcome]) -> None:
        self._waiting -= len(futures)
        for future, outcome in zip(futures, outcomes, strict=True):
            if future.cancelled():
                continue
            if outcome.error is None:
                future.set_result(outcome.result)
            else:
                future.set_exception(outcome.error)
        self.after_batch(outcomes)

    def close(self, threads: int) -> None:
        """Accept no more jobs, and let the threads end behind the accepted ones."""
        self._closed = True
        self._hand_over()
        for _ in range(threads):
            self._inbox.put(None)

    def statistics(self) -> dict[str, int]:
        """Return how many jobs are accepted and not finished."""
        return {f"{self._settings.name}_waiting": self._waiting}


@asynccontextmanager
async def open_lane(connections: Sequence[C], settings: LaneSettings[C, X]) -> AsyncIterator[Lane[C, X]]:
    """Run a lane with one thread a connection for the length of the block; accepted jobs are finished."""
    lane: Lane[C, X] = Lane(settings)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(connections), f"store-{settings.name}") as executor:
        ends = [loop.run_in_executor(executor, lane.serve, connection) for connection in connections]
        try:
            yield lane
        finally:
            lane.close(len(connections))
            await asyncio.wait(ends)
