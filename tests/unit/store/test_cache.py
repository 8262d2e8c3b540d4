"""What is answered from a copy at hand, what from the database, and what happens when copies grow too large."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skerry.store.cache import CACHE_REFUSAL_SECONDS, Replica
from skerry.store.driver import Wake
from skerry.store.errors import Compacted, FutureRevision
from skerry.store.log import Key, LogSettings, RevisionLog, open_log
from skerry.store.memory import MemoryDriver
from skerry.store.records import Batch, Bounds, Entry, ListQuery, Page, Scope, Write
from skerry.testing.clock import FakeClock

SETTINGS = LogSettings(poll_seconds=3_600, progress_seconds=0.001, copy_wait_seconds_max=3_600)
A = Key("secrets", "ns", "a")
#: Of who waits for a copy that is told to come no further.
SOON_SECONDS = 0.01


class CountingDriver(MemoryDriver):
    """Counts reads of the present; holds events back while told to; may have other writers."""

    def __init__(self, *, sole_writer: bool = True) -> None:
        super().__init__()
        self.reads = 0
        self.questions = 0
        self.sole_writer = sole_writer
        self.events_may_pass = asyncio.Event()
        self.events_may_pass.set()

    def head(self, resource: str) -> int | None:
        return super().head(resource) if self.sole_writer else None

    async def bounds(self) -> Bounds:
        self.questions += 1
        return await super().bounds()

    async def get(self, key: Key) -> Entry | None:
        self.reads += 1
        return await super().get(key)

    async def page(self, query: ListQuery) -> Page:
        self.reads += 1
        return await super().page(query)

    def call_after_commit(self, wake: Wake) -> None:
        super().call_after_commit(lambda _: wake(()))

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        await self.events_may_pass.wait()
        return await super().events_after(revision, scope, limit=limit)


@asynccontextmanager
async def opened(driver: MemoryDriver, settings: LogSettings = SETTINGS) -> AsyncIterator[RevisionLog]:
    async with open_log(driver, settings, clock=FakeClock()) as log:
        yield log


async def until(log: RevisionLog, resource: str) -> None:
    """Read a resource until it is at hand in the newest state."""
    while await log._at_hand(resource, await log.revision()) is None:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


async def until_dropped(log: RevisionLog, *, copies: int) -> None:
    """Wait until no more copies than these are held."""
    while log.statistics()["cached_resources"] > copies:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


async def test_what_was_read_once_is_read_from_the_database_no_more() -> None:
    driver = CountingDriver()
    async with opened(driver) as log:
        await log.put(A, b"1", expected_revision=0)
        await until(log, "secrets")
        reads = driver.reads
        entry = await log.get(A)
        assert entry
        assert entry.value == b"1"
        assert (await log.list("secrets", limit=None)).entries == (entry,)
        assert await log.find(A) == (entry, 1)
        assert driver.reads == reads


async def test_a_read_after_a_write_sees_it_even_while_the_copy_does_not() -> None:
    driver = CountingDriver()
    async with opened(driver) as log:
        await until(log, "secrets")
        driver.events_may_pass.clear()
        for revision in range(3):
            await log.put(A, b"%d" % revision, expected_revision=revision)
            entry = await log.get(A)
            assert entry
            assert entry.revision == revision + 1
            assert (await log.list("secrets", limit=None)).entries == (entry,)


async def test_who_asks_for_no_certain_age_is_answered_from_a_copy_that_is_behind() -> None:
    driver = CountingDriver()
    async with opened(driver) as log:
        revision = await log.put(A, b"1", expected_revision=0)
        await until(log, "secrets")
        driver.events_may_pass.clear()
        newest = await log.put(A, b"2", expected_revision=revision)
        for age, seen in ((0, b"1"), (revision, b"1"), (newest, b"2"), (None, b"2")):
            entry = await log.get(A, not_older_than=age)
            page = await log.list("secrets", limit=None, not_older_than=age)
            assert entry
            assert entry.value == page.entries[0].value == seen
            assert page.revision >= (age or 0)


async def test_where_others_write_too_a_read_asks_how_far_the_log_reaches_and_waits_for_the_copy() -> None:
    driver = CountingDriver(sole_writer=False)
    async with opened(driver) as log:
        revision = await log.put(A, b"1", expected_revision=0)
        await until(log, "secrets")
        reads = driver.reads
        driver.events_may_pass.clear()
        await MemoryDriver.append(driver, Write(A, b"2", revision))
        questions = driver.questions
        assert await log.get(A, not_older_than=1) == Entry(A, 1, 1, b"1")
        assert driver.questions == questions
        async with asyncio.TaskGroup() as group:
            got, found = group.create_task(log.get(A)), group.create_task(log.find(A))
            listed = group.create_task(log.list("secrets", limit=None))
            while driver.questions < questions + 3:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
            assert not any(reading.done() for reading in (got, found, listed))
            driver.events_may_pass.set()
        newest = Entry(A, 2, 1, b"2")
        assert got.result() == newest
        assert found.result() == (newest, 2)
        assert listed.result().entries == (newest,)
        assert driver.reads == reads


async def test_a_change_of_another_resource_does_not_keep_readers_from_the_copy() -> None:
    driver = CountingDriver(sole_writer=False)
    async with opened(driver) as log:
        await until(log, "secrets")
        reads = driver.reads
        for number in range(3):
            revision = await log.put(Key("pods", "", str(number)), b"1", expected_revision=0)
            assert (await log.list("secrets", limit=None)).revision >= revision
        assert driver.reads == reads


async def test_a_copy_that_does_not_come_in_time_leaves_its_readers_to_the_database() -> None:
    driver = CountingDriver(sole_writer=False)
    async with opened(driver, LogSettings(poll_seconds=3_600, copy_wait_seconds_max=SOON_SECONDS)) as log:
        await until(log, "secrets")
        driver.events_may_pass.clear()
        await log.put(A, b"1", expected_revision=0)
        assert await log.get(A) == Entry(A, 1, 1, b"1")
        assert [entry.value for entry in (await log.list("secrets", limit=None)).entries] == [b"1"]


async def test_a_copy_that_is_given_up_leaves_those_who_wait_for_it_to_the_database() -> None:
    driver = CountingDriver(sole_writer=False)
    settings = LogSettings(poll_seconds=3_600, copy_wait_seconds_max=3_600, cache_bytes_max=10_000)
    async with opened(driver, settings) as log:
        await until(log, "secrets")
        driver.events_may_pass.clear()
        revision = await log.put(A, bytes(11_000), expected_revision=0)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(log.get(A))
            await asyncio.sleep(0)
            driver.events_may_pass.set()
        assert reading.result() == Entry(A, revision, revision, bytes(11_000))


async def test_a_state_that_is_not_written_yet_is_asked_for_in_vain() -> None:
    async with opened(CountingDriver()) as log:
        await until(log, "secrets")
        for ask in (log.get(A, not_older_than=7), log.find(A, not_older_than=7)):
            with pytest.raises(FutureRevision):
                await ask
        with pytest.raises(FutureRevision):
            await log.list("secrets", limit=None, not_older_than=7)


async def test_pages_of_a_snapshot_come_from_the_copy_until_the_resource_changes() -> None:
    driver = CountingDriver()
    async with opened(driver) as log:
        for name in "abc":
            await log.put(Key("secrets", "ns", name), b"1", expected_revision=0)
        await until(log, "secrets")
        first = await log.list("secrets", limit=2)
        await log.put(Key("pods", "ns", "x"), b"1", expected_revision=0)
        reads = driver.reads

        async def rest() -> list[str]:
            page = await log.list("secrets", revision=first.revision, after=("ns", "b"), limit=2)
            return [entry.key.name for entry in page.entries]

        assert await rest() == ["c"]
        assert driver.reads == reads
        await log.delete(Key("secrets", "ns", "c"), expected_revision=3)
        await until(log, "secrets")
        reads = driver.reads
        assert await rest() == ["c"]
        assert driver.reads == reads + 1


async def test_a_snapshot_older_than_the_copy_shows_what_was_deleted_before_it_was_made() -> None:
    driver = CountingDriver()
    async with opened(driver) as log:
        for name in "ab":
            await log.put(Key("secrets", "ns", name), b"1", expected_revision=0)
        snapshot = await log.revision()
        await log.delete(Key("secrets", "ns", "b"), expected_revision=2)
        await until(log, "secrets")
        page = await log.list("secrets", revision=snapshot, limit=None)
        assert [entry.key.name for entry in page.entries] == ["a", "b"]


async def test_a_snapshot_that_was_compacted_is_gone_though_a_copy_has_it() -> None:
    async with opened(CountingDriver()) as log:
        await log.put(A, b"1", expected_revision=0)
        newest = await log.put(Key("pods", "", "x"), b"1", expected_revision=0)
        await until(log, "secrets")
        await log.compact(newest)
        with pytest.raises(Compacted):
            await log.list("secrets", revision=1, limit=None)


async def test_beyond_the_limit_the_largest_copy_is_dropped_and_left_alone_for_a_while() -> None:
    clock = FakeClock()
    settings = LogSettings(poll_seconds=3_600, cache_bytes_max=20_000)
    async with open_log(CountingDriver(), settings, clock=clock) as log:
        await log.put(Key("pods", "", "small"), b"1", expected_revision=0)
        await log.put(Key("secrets", "", "0"), bytes(9_000), expected_revision=0)
        for resource in ("pods", "secrets"):
            await until(log, resource)
        large = await log.put(Key("secrets", "", "1"), bytes(9_500), expected_revision=0)
        await until_dropped(log, copies=1)
        await until(log, "pods")
        assert log.statistics()["cached_entries"] == 1
        page = await log.list("secrets", limit=None)
        assert [len(entry.value) for entry in page.entries] == [9_000, 9_500]
        await log.delete(Key("secrets", "", "1"), expected_revision=large)
        assert await log._at_hand("secrets", 0) is None
        clock.advance(CACHE_REFUSAL_SECONDS)
        await until(log, "secrets")


def resources_in_memory() -> list[str]:
    gc.collect()
    return [copy.resource for copy in gc.get_objects() if isinstance(copy, Replica) and copy.entries_held]


async def test_a_copy_that_is_dropped_is_let_go_of_though_its_resource_does_not_change() -> None:
    clock = FakeClock()
    settings = LogSettings(poll_seconds=3_600, cache_bytes_max=20_000)
    async with open_log(CountingDriver(), settings, clock=clock) as log:
        await log.put(Key("quiet", "", "0"), bytes(12_000), expected_revision=0)
        await log.put(Key("pods", "", "0"), b"1", expected_revision=0)
        for resource in ("quiet", "pods"):
            await until(log, resource)
        grown = await log.put(Key("pods", "", "1"), bytes(9_000), expected_revision=0)
        await until_dropped(log, copies=1)
        await until(log, "pods")
        for _ in range(10):  # turns of the loop, in which the copy's own task ends
            await asyncio.sleep(0)
        assert resources_in_memory() == ["pods"]
        await log.delete(Key("pods", "", "1"), expected_revision=grown)
        await until(log, "pods")
        clock.advance(CACHE_REFUSAL_SECONDS)
        await until(log, "quiet")


async def test_a_resource_too_large_from_the_start_is_not_read_to_its_end() -> None:
    driver = CountingDriver()
    settings = LogSettings(poll_seconds=3_600, cache_bytes_max=1_000_000)
    async with opened(driver, settings) as log:
        for number in range(2_000):
            await log.put(Key("secrets", "", str(number)), bytes(10_000), expected_revision=0)
        await log.get(A)
        await until_dropped(log, copies=0)
        assert driver.reads == 2  # the get, and one page of the copy


async def test_a_copy_that_fell_behind_the_history_is_made_anew() -> None:
    driver = CountingDriver()
    async with opened(driver) as log:
        revision = await log.put(A, b"1", expected_revision=0)
        await until(log, "secrets")
        driver.events_may_pass.clear()
        for _ in range(3):
            revision = await log.put(A, b"2", expected_revision=revision)
        await log.compact(revision)
        driver.events_may_pass.set()
        await until(log, "secrets")
        assert await log.get(A, not_older_than=0) == Entry(A, revision, 1, b"2")
