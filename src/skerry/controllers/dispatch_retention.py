"""Ends the life of finished runs: by their age, and beyond so many of one function.

Owns which go. It sees runs by their metadata alone, so that what they hold is not in memory a second time: how old a
run is counts from its creation, and whether it is over is asked of those who know what goes on.
"""

import asyncio
import datetime as dt
from collections import defaultdict
from typing import Protocol

from skerry.api.dispatch_v1 import RUN
from skerry.api.errors import Conflict, NotFound
from skerry.client.client import Client
from skerry.client.informer import Key, PartialInformer
from skerry.client.partial import PartialObject
from skerry.client.transport import DeleteConditions, Target
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.tasks import Wakeup, keep_running

#: How long runs are kept, and how many finished ones of one function.
KEPT_SECONDS = 7 * 86400.0
KEPT_RUNS_MAX = 1000
TRIM_SECONDS = 60.0
#: Deletes on their way at once: they share a sync of the disk, and leave room for everybody else's writes.
DELETES_AT_ONCE = 4
#: Where many are to go there is one more for each so many, so that those who make runs faster than they go are slowed
#: down by what they leave. The API takes 200 writes at once: more deletes than that are half of what is done.
RUNS_PER_DELETE_AT_ONCE = 500
DELETES_AT_ONCE_MAX = 256


class UnfinishedRuns(Protocol):
    """Knows which runs are not over."""

    async def synced(self) -> None:
        """Wait until it knows of all."""
        ...

    def goes_on(self, key: Key) -> bool:
        """Tell whether a run waits or goes on."""
        ...


class RunRetention:
    """Deletes finished runs that are too old, or too many; `run` is its life.

    Args:
        client: deletes.
        runs: the cache of runs' metadata.
        unfinished: tells which of them are not over, and stay.
        clock: tells how old runs are.
    """

    def __init__(self, client: Client, runs: PartialInformer, unfinished: UnfinishedRuns, clock: Clock) -> None:
        self._client = client
        self._runs = runs
        self._unfinished = unfinished
        self._clock = clock

    async def run(self) -> None:
        """Trim now and every `TRIM_SECONDS`, for ever."""
        await keep_running("dispatch-runs:trim", self.trim, wakeup=Wakeup(), resync_seconds=TRIM_SECONDS)

    async def trim(self) -> None:
        """Delete what is not to be kept."""
        await self._runs.synced()
        await self._unfinished.synced()
        excess = self._excess()
        waiting = iter(excess)

        async def delete() -> None:
            for run in waiting:
                await self._delete(run)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(DELETES_AT_ONCE + len(excess) // RUNS_PER_DELETE_AT_ONCE, DELETES_AT_ONCE_MAX)):
                group.create_task(delete())

    def _excess(self) -> list[PartialObject]:
        before = rfc3339(self._clock.now() - dt.timedelta(seconds=KEPT_SECONDS))
        of_function: dict[Key, list[PartialObject]] = defaultdict(list)
        for key, run in self._runs.objects.items():
            if not self._unfinished.goes_on(key):
                owners = run.metadata.owner_references
                of_function[(run.namespace, owners[0].uid if owners else "")].append(run)
        found = []
        for runs in of_function.values():
            runs.sort(key=lambda run: run.metadata.creation_timestamp, reverse=True)
            found += [r for n, r in enumerate(runs) if n >= KEPT_RUNS_MAX or r.metadata.creation_timestamp < before]
        return found

    async def _delete(self, run: PartialObject) -> None:
        target = Target(RUN, run.namespace, run.name)
        try:
            await self._client.transport.delete(target, DeleteConditions(uid=run.metadata.uid))
        except (NotFound, Conflict):
            return  # it is gone, and maybe another one has its name
