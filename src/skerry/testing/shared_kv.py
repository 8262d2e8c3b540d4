"""The keys and values that nodes share, as each node serves them to its workers, beside a test without an event loop.

with shared_kv(postgres.create_schema(), tmp_path / "kv.sock"):
    store = SharedKeyValues(tmp_path / "kv.sock", clock)
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from skerry.engine.kv_server import serve_key_values
from skerry.kit.clock import SystemClock
from skerry.main.entries import DatabaseEntries
from skerry.store.postgres.driver import open_postgres
from skerry.store.postgres.entries import open_entries


@contextmanager
def shared_kv(url: str, socket: Path) -> Iterator[None]:
    """Serve what is in a database on a Unix socket for the length of the block, as one node does."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_node(url, socket)):
        yield


@asynccontextmanager
async def _node(url: str, socket: Path) -> AsyncIterator[None]:
    async with (
        open_postgres(url),
        open_entries(url) as entries,
        serve_key_values(DatabaseEntries(entries), socket, SystemClock()),
    ):
        yield
