"""A control plane in memory: the real verbs on a memory log, and a client of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.registry import KINDS
from skerry.client.client import Client
from skerry.kit.clock import SystemClock
from skerry.kit.ids import RandomIds
from skerry.server.local import LocalTransport
from skerry.server.verbs.verbs import Verbs
from skerry.store.log import open_log
from skerry.store.memory import open_memory


@asynccontextmanager
async def memory_control_plane() -> AsyncIterator[Client]:
    """Yield a client of an empty, bootstrapped control plane."""
    async with open_memory() as driver, open_log(driver) as log:
        verbs = Verbs(log, KINDS, SystemClock(), RandomIds())
        await verbs.bootstrap()
        yield Client(LocalTransport(verbs, manager="test"))
