"""A control plane in memory: the real verbs on a memory log, and a client of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.client.client import Client
from skerry.server.local import LocalTransport
from skerry.testing.api_server import open_verbs


@asynccontextmanager
async def memory_control_plane() -> AsyncIterator[Client]:
    """Yield a client of an empty control plane."""
    async with open_verbs() as (verbs, _):
        yield Client(LocalTransport(verbs, manager="test"))
