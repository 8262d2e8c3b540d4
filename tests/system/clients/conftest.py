"""A running API server with the controllers of deletion, for the client libraries that our users have.

It runs on a loop and thread of its own, so that blocking clients are called as their users call them.
"""

import gc
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from skerry.client.client import Client
from skerry.server.local import LocalTransport
from skerry.testing.api_server import ApiServer, run_api_server
from skerry.testing.control_plane import collecting
from skerry.testing.manifests import edge_function


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Some clients leave their connections to the garbage collector: it comes here, where no one else pays for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@asynccontextmanager
async def run_server(directory: Path) -> AsyncIterator[ApiServer]:
    async with run_api_server(directory) as running:
        client = Client(LocalTransport(running.verbs, manager="controllers"))
        async with collecting(client):
            yield running


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path, portal: BlockingPortal) -> Iterator[ApiServer]:
    with portal.wrap_async_context_manager(run_server(tmp_path / "server")) as running:
        yield running


@pytest.fixture
def forget_history(server: ApiServer, portal: BlockingPortal) -> Callable[[], None]:
    """Compact the log up to now, when called."""

    async def compact() -> None:
        await server.log.compact(await server.log.revision())

    return lambda: portal.call(compact)


@pytest.fixture
def function() -> dict[str, Any]:
    """A small edge function."""
    document: dict[str, Any] = json.loads(edge_function("hello", "export default {}"))
    return document
