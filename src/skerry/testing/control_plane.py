"""A control plane in memory: the real verbs on a memory log, a client of them, and the controllers of deletion."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from skerry.api.catalogue import Catalogue
from skerry.api.registry import KINDS
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.controllers.definitions import DefinitionController
from skerry.controllers.garbage import GarbageCollector
from skerry.controllers.kind_caches import KindCaches
from skerry.controllers.namespaces import NamespaceController
from skerry.kit.clock import SystemClock
from skerry.kit.deadlines import within
from skerry.server.local import LocalTransport
from skerry.testing.api_server import open_verbs

#: How long a test waits for a state.
STATE_SECONDS_MAX = 60.0


@asynccontextmanager
async def memory_control_plane() -> AsyncIterator[Client]:
    """Yield a client of an empty control plane."""
    async with open_verbs() as (verbs, _):
        yield Client(LocalTransport(verbs, manager="test"))


def catalogue_of(client: Client) -> Catalogue:
    """Return the kinds that the control plane of a client serves; through a stranger's transport, our own."""
    transport = client.transport
    return transport.kinds if isinstance(transport, LocalTransport) else Catalogue(KINDS)


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
        with within(STATE_SECONDS_MAX):
            while True:
                self.changed.clear()
                if await holds():
                    return
                await self.changed.wait()


@asynccontextmanager
async def collecting(client: Client) -> AsyncIterator[Collectors]:
    """Run the controllers of deletion for the length of the block."""
    informers, kinds = Informers(client), catalogue_of(client)
    caches = KindCaches(informers, kinds)
    garbage = GarbageCollector(client.transport, caches)
    namespaces = NamespaceController(client, caches, SystemClock())
    definitions = DefinitionController(client, caches, kinds, SystemClock())
    collectors = Collectors(informers, garbage)
    async with garbage.running(), namespaces.running(), definitions.running():
        caches.on_objects(lambda _, __: collectors.changed.set())
        caches.on_kinds(lambda _: collectors.changed.set())
        async with informers.running():
            yield collectors
