"""Tells of each Subscription and Endpoint whether the function is there that it calls.

Owns their condition ResolvedRefs. Does not own their state: as in Dispatch, one whose function is not there is READY,
since it takes events and requests, which fail until the function is made. So the two say together what a user is to
expect, in whatever order they are made.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from skerry.api.dispatch_endpoints import Endpoint
from skerry.api.dispatch_events import Subscription
from skerry.api.dispatch_v1 import FUNCTION_NOT_FOUND, RESOLVED_REFS, Function
from skerry.api.errors import NotFound
from skerry.api.model import Condition, with_condition
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.client.informers import Informers
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.tasks import KeyedWorkers, resynced

#: Callers worked on at once.
CONCURRENCY = 4
#: Every caller is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0

Caller: TypeAlias = Subscription | Endpoint


class CallerController:
    """Keeps the condition of callers true; `running()` is its life.

    Args:
        client: writes it.
        informers: where the caches of functions and of those that call them come from.
        clock: stamps conditions.
    """

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._functions = informers.of(Function)
        self._callers: Mapping[str, Informer[Subscription] | Informer[Endpoint]] = {
            "subscription": informers.of(Subscription),
            "endpoint": informers.of(Endpoint),
        }
        self._there: set[Key] = set()
        self._clock = clock
        self._workers = KeyedWorkers[tuple[str, Key]]("dispatch-callers", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reconcile for the length of the block."""
        for kind, callers in self._callers.items():
            callers.on_change(partial(self._look_at, kind))
        self._functions.on_changes(self._look_at_callers)
        async with resynced("dispatch-callers", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    async def _resync(self) -> None:
        for kind, callers in self._callers.items():
            await callers.synced()
            for key in callers.objects:
                self._look_at(kind, key)

    def _look_at(self, kind: str, key: Key) -> None:
        self._workers.add((kind, key))

    def _look_at_callers(self, changed: Collection[Key]) -> None:
        """Ask for a turn of those whose function came or went: of one that is there already, nothing else matters."""
        there = {key for key in changed if self._functions.get(key[1], key[0]) is not None}
        moved = there ^ (self._there & set(changed))
        self._there = (self._there - set(changed)) | there
        if not moved:
            return
        for kind, callers in self._callers.items():
            for key, caller in callers.objects.items():
                if (key[0], caller.spec.function) in moved:
                    self._look_at(kind, key)

    async def reconcile(self, caller: tuple[str, Key]) -> None:
        """Bring the condition of one to what there is."""
        kind, (namespace, name) = caller
        callers = self._callers[kind]
        await callers.synced()
        await self._functions.synced()
        found = callers.get(name, namespace)
        if found is None:
            return
        try:
            await self._client.change_status(found, self._tell)
        except NotFound:
            return  # deleted meanwhile

    def _tell(self, caller: Caller) -> None:
        name = caller.spec.function
        is_there = self._functions.get(name, caller.namespace) is not None
        condition = Condition(
            type=RESOLVED_REFS,
            status="True" if is_there else "False",
            observed_generation=caller.metadata.generation,
            last_transition_time=rfc3339(self._clock.now()),
            reason=RESOLVED_REFS if is_there else FUNCTION_NOT_FOUND,
            message="" if is_there else f"function {name} not found",
        )
        caller.status.conditions = with_condition(caller.status.conditions, condition)
