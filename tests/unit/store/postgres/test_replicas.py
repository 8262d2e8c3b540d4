"""What several control planes on one database promise to their clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skerry.store.errors import Compacted, Conflict
from skerry.store.log import Event, Key, LogSettings, Progress, RevisionLog, Watch, open_log
from skerry.store.postgres.driver import open_postgres
from skerry.store.queries import QUERY_SECONDS
from skerry.testing.postgres_process import PostgresProcess

#: No test waits for a poll: what another replica wrote is told of.
SETTINGS = LogSettings(
    poll_seconds=3_600.0, progress_seconds=0.05, copy_wait_seconds_max=3_600.0, recent_events_max=10, batch_events=7
)


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


def statements() -> dict[str, float]:
    """Return how often each statement ran on PostgreSQL in this process."""
    samples = [sample for metric in QUERY_SECONDS.collect() for sample in metric.samples]
    counts = [sample for sample in samples if sample.name.endswith("_count")]
    return {sample.labels["query"]: sample.value for sample in counts if sample.labels["driver"] == "postgres"}


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


async def test_reads_by_turns_at_two_replicas_never_go_back_in_time_nor_miss_ones_own_write(
    replicas: tuple[RevisionLog, RevisionLog],
):
    for log in replicas:
        await log.list("secrets", limit=None)  # each has a copy at hand from now on

    async def writer(number: int) -> None:
        """Write here, read there, and there again: each answer at least as new as the one before."""
        revision = seen = 0
        for turn in range(40):
            mine, others = replicas[turn % 2], replicas[(turn + 1) % 2]
            revision = await mine.put(key(f"n-{number}"), b"%d" % turn, expected_revision=revision)
            for log in (others, mine, others):
                entry = await log.get(key(f"n-{number}"))
                assert entry is not None
                assert entry.revision == revision
                page = await log.list("secrets", limit=None)
                assert page.revision >= max(seen, revision)
                seen = page.revision
                assert all(entry.revision <= seen for entry in page.entries)
                assert entry in page.entries

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(writer(number))


async def test_reads_of_what_does_not_change_ask_the_database_for_no_rows(replicas: tuple[RevisionLog, RevisionLog]):
    one, other = replicas
    revision = await one.put(key("a"), b"1", expected_revision=0)
    await other.list("secrets", limit=None)
    while other.statistics()["cached_entries"] == 0:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    before = statements()
    for _ in range(10):
        assert (await other.list("secrets", limit=None)).revision >= revision
        assert await other.get(key("a")) is not None
    asked = {name for name, count in statements().items() if count > before.get(name, 0.0)}
    assert "bounds" in asked
    assert not asked & {"get", "list_current"}


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
