"""One suite for every driver: a test asks for `log` or `open_driver` and runs once for each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from skerry.kit.clock import SystemClock
from skerry.store.driver import Driver, RewritableDriver
from skerry.store.log import LogSettings, RevisionLog, open_log
from skerry.store.memory import open_memory
from skerry.store.postgres.driver import open_postgres
from skerry.store.sealing.keys import LocalKeys
from skerry.store.sealing.sealed import open_sealed
from skerry.store.sqlite import SqliteSettings, open_sqlite

OpenDriver = Callable[[], AbstractAsyncContextManager[Driver]]
OpenHeld = Callable[[], AbstractAsyncContextManager[RewritableDriver]]

#: No test waits for a poll: wake-ups alone must do, and a lost one hangs the test.
NEVER_SECONDS = 3_600.0


def raw_opener(request: pytest.FixtureRequest, name: str) -> OpenHeld:
    """Return how to open a database of a kind, the same one again where it is a durable one."""
    match name:
        case "memory":
            return open_memory
        case "postgres":
            url = request.getfixturevalue("postgres").create_schema()
            return lambda: open_postgres(url)
        case _:
            path: Path = request.getfixturevalue("tmp_path") / "skerry.db"
            settings = SqliteSettings(sole_writer=name == "sole-writer-sqlite")
            return lambda: open_sqlite(path, settings)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def open_held(request: pytest.FixtureRequest) -> OpenHeld:
    """How to open a driver of each kind that keeps values itself."""
    return raw_opener(request, request.param)


@pytest.fixture(
    params=["memory", "sqlite", "sole-writer-sqlite", "postgres", "sealed memory", "sealed sqlite", "sealed postgres"]
)
def open_driver(request: pytest.FixtureRequest, tmp_path: Path) -> OpenDriver:
    """How to open a driver of each kind."""
    variant, _, name = request.param.rpartition(" ")
    open_raw = raw_opener(request, name)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Driver]:
        async with open_raw() as driver:
            if variant != "sealed":
                yield driver
                return
            keys = LocalKeys(tmp_path / "keys.json", SystemClock())
            yield (await open_sealed(driver, keys, lambda _: True)).driver

    return opened


@pytest.fixture
async def log(open_driver: OpenDriver) -> AsyncIterator[RevisionLog]:
    """An empty log."""
    settings = LogSettings(poll_seconds=NEVER_SECONDS, progress_seconds=0.01, recent_events_max=10, batch_events=7)
    async with open_driver() as driver, open_log(driver, settings) as opened:
        yield opened
