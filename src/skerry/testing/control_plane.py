"""A control plane in memory: the real verbs on a memory log, a client of them, and the controllers of deletion."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from skerry.api.registry import KINDS
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.garbage import GarbageCollector
from skerry.controllers.namespaces import NamespaceController
from skerry.kit.clock import SystemClock
from skerry.server.local import LocalTransport
from skerry.testing.api_server import open_verbs

#: How long a test waits for a state.
STATE_SECONDS_MAX = 20.0


@asynccontextmanager
async def memory_control_plane() -> AsyncIterator[Client]:
    """Yield a client of an empty control plane."""
    async with open_verbs() as (verbs, _):
        yield Client(LocalTransport(verbs, manager="test"))


@dataclass
class Collectors:
    """One life of the controllers that finish what deletes begin.

    Attributes:
        informers: their caches.
        garbage: collects dependents.
        changed: is set at every change of any kind.
    """

    informers: Informers
    garbage: GarbageCollector
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something holds, asked at every change."""
        async with asyncio.timeout(STATE_SECONDS_MAX):
            while True:
                self.changed.clear()
                if await holds():
                    return
                await self.changed.wait()


@asynccontextmanager
async def collecting(client: Client) -> AsyncIterator[Collectors]:
    """Run the controllers of deletion for the length of the block."""
    informers = Informers(client)
    garbage = GarbageCollector(client.transport, informers, KINDS)
    namespaces = NamespaceController(client, informers, KINDS, SystemClock())
    collectors = Collectors(informers, garbage)
    async with garbage.running(), namespaces.running():
        for kind in KINDS:
            informers.partial_of(kind).on_change(lambda _: collectors.changed.set())
        async with informers.running():
            yield collectors
