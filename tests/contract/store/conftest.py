"""One suite for every driver: a test asks for `log` or `open_driver` and runs once for each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from skerry.store.driver import Driver
from skerry.store.log import LogSettings, RevisionLog, open_log
from skerry.store.memory import open_memory
from skerry.store.sqlite import open_sqlite

OpenDriver = Callable[[], AbstractAsyncContextManager[Driver]]

#: No test waits for a poll: wake-ups alone must do, and a lost one hangs the test.
NEVER_SECONDS = 3_600.0


@pytest.fixture(params=["memory", "sqlite"])
def open_driver(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDriver:
    """How to open a driver of each kind; those that are durable open the same database again."""
    return open_memory if request.param == "memory" else lambda: open_sqlite(tmp_path / "skerry.db")


@pytest.fixture
async def log(open_driver: OpenDriver) -> AsyncIterator[RevisionLog]:
    """An empty log."""
    settings = LogSettings(
        poll_seconds=NEVER_SECONDS, progress_seconds=0.01, watcher_events_max=20, recent_events_max=10, batch_events=7
    )
    async with open_driver() as driver, open_log(driver, settings) as opened:
        yield opened
