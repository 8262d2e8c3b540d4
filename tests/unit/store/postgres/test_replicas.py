"""What several control planes on one database promise to their clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skerry.store.errors import Compacted, Conflict
from skerry.store.log import Event, Key, LogSettings, Progress, RevisionLog, Watch, open_log
from skerry.store.postgres.driver import open_postgres
from skerry.testing.postgres_process import PostgresProcess

#: No test waits for a poll: what another replica wrote is told of.
SETTINGS = LogSettings(poll_seconds=3_600.0, progress_seconds=0.05, recent_events_max=10, batch_events=7)


def key(name: str) -> Key:
    return Key("secrets", "default", name)


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[RevisionLog]:
    async with open_postgres(url) as driver, open_log(driver, SETTINGS) as log:
        yield log


@pytest.fixture
async def replicas(postgres: PostgresProcess) -> AsyncIterator[tuple[RevisionLog, RevisionLog]]:
    """Two logs on one new database."""
    url = postgres.create_schema()
    async with replica(url) as one, replica(url) as other:
        yield one, other


async def events_until(watch: Watch, revision: int) -> list[Event]:
    found: list[Event] = []
    async for item in watch:
        if not isinstance(item, Progress):
            found += item
        elif item.revision >= revision:
            return found
    raise AssertionError("the watch ended early")


async def test_sixteen_writers_on_two_replicas_make_one_gapless_order_that_all_watchers_see(
    replicas: tuple[RevisionLog, RevisionLog],
):
    written: list[int] = []

    async def write(writer: int) -> None:
        for number in range(25):
            revision = await replicas[writer % 2].put(key(f"{writer}-{number}"), b"1", expected_revision=0)
            written.append(revision)
            if number % 5 == 0:
                written.append(await replicas[number % 2].delete(key(f"{writer}-{number}"), expected_revision=revision))

    async def follow(log: RevisionLog) -> list[Event]:
        async with log.watch("secrets", after_revision=0) as watch:
            return await events_until(watch, 16 * 30)

    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(follow(log)) for log in replicas for _ in range(4)]
        for writer in range(16):
            group.create_task(write(writer))
    first = watchers[0].result()
    assert [event.revision for event in first] == sorted(written) == list(range(1, 16 * 30 + 1))
    assert all(watcher.result() == first for watcher in watchers)


async def test_one_of_two_replicas_wins_a_compare_and_swap(replicas: tuple[RevisionLog, RevisionLog]):
    revision = await replicas[0].put(key("lease"), b"nobody", expected_revision=0)
    async with asyncio.TaskGroup() as group:
        takers = [
            group.create_task(_takes(log, value, revision)) for log, value in zip(replicas, (b"1", b"2"), strict=True)
        ]
    assert sorted(taker.result() for taker in takers) == [False, True]


async def _takes(log: RevisionLog, value: bytes, revision: int) -> bool:
    try:
        await log.put(key("lease"), value, expected_revision=revision)
    except Conflict:
        return False
    return True


async def test_what_one_replica_acknowledged_every_other_one_reads(replicas: tuple[RevisionLog, RevisionLog]):
    one, other = replicas
    await other.list("secrets", limit=None)  # it has a copy at hand from now on
    for number in range(50):
        revision = await one.put(key(f"n-{number}"), b"1", expected_revision=0)
        entry = await other.get(key(f"n-{number}"))
        assert entry is not None
        assert entry.revision == revision
        page = await other.list("secrets", limit=None)
        assert page.revision >= revision
        assert len(page.entries) == number + 1


async def test_a_slow_watcher_holds_up_nobody_and_misses_nothing(replicas: tuple[RevisionLog, RevisionLog]):
    one, other = replicas
    async with other.watch(None, after_revision=0) as slow, other.watch(None, after_revision=0) as quick:
        assert await anext(slow) == await anext(quick) == Progress(0)
        for number in range(100):
            last = await one.put(key(f"n-{number}"), b"1", expected_revision=0)
        seen = await events_until(quick, last)
        assert await events_until(slow, last) == seen
    assert [event.revision for event in seen] == list(range(1, last + 1))


async def test_two_replicas_that_compact_at_once_leave_what_one_would(replicas: tuple[RevisionLog, RevisionLog]):
    revision = 0
    for number in range(1_200):
        revision = await replicas[0].put(key("a"), str(number).encode(), expected_revision=revision)
    async with asyncio.TaskGroup() as group:
        for log in replicas:
            group.create_task(log.compact(revision - 1))
    for log in replicas:
        assert await log.compacted_revision() == revision - 1
        assert [e.value for e in (await log.list("secrets", revision=revision - 1, limit=None)).entries] == [b"1198"]
        with pytest.raises(Compacted):
            await log.list("secrets", revision=revision - 2, limit=None)
