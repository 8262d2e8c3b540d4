"""The passage from replay to live, with the database answering as late as it can."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from skerry.store.driver import Wake
from skerry.store.errors import Overloaded, Undecryptable
from skerry.store.log import Event, Key, LogSettings, Progress, RevisionLog, Watch, open_log
from skerry.store.memory import MemoryDriver
from skerry.store.records import Batch, Scope

SETTINGS = LogSettings(poll_seconds=3_600, progress_seconds=0.001, recent_events_max=5)


class LateDriver(MemoryDriver):
    """Reads at once, and answers the readers of one resource only when told to."""

    def __init__(self, late_resource: str | None) -> None:
        super().__init__()
        self.late_resource = late_resource
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        batch = await super().events_after(revision, scope, limit=limit)
        if scope.resource == self.late_resource:
            self.has_read.set()
            await self.may_answer.wait()
        return batch


#: Of the event loop, within which what reads from memory has been done.
TURNS = 20


class CountingDriver(MemoryDriver):
    """Counts the event reads, and those of single objects."""

    reads = reads_of_one = 0

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        self.reads += 1
        self.reads_of_one += scope.name is not None
        return await super().events_after(revision, scope, limit=limit)


async def put(log: RevisionLog, count: int) -> int:
    revision = await log.revision()
    for number in range(count):
        key = Key("secrets", "", f"{revision}-{number}")
        await log.put(key, b"v", expected_revision=0)
    return revision + count


async def events_until(watch: Watch, revision: int) -> list[int]:
    found: list[Event] = []
    async for item in watch:
        if not isinstance(item, Progress):
            found += item
        elif item.revision >= revision:
            break
    return [event.revision for event in found]


@pytest.mark.parametrize("meanwhile", [3, 30], ids=["within reach of the hub", "beyond its reach"])
async def test_a_replay_answered_late_joins_without_gap_or_double(meanwhile: int) -> None:
    driver = LateDriver("secrets")
    async with (
        open_log(driver, SETTINGS) as log,
        log.watch("others", after_revision=0) as live,
        log.watch("secrets", after_revision=0) as late,
        asyncio.TaskGroup() as group,
    ):
        await events_until(live, 0)
        await events_until(live, await put(log, 6))  # more than the hub has at hand, so the late one has to read
        last = await log.revision() + meanwhile
        found = group.create_task(events_until(late, last))
        await driver.has_read.wait()
        await put(log, meanwhile)
        await events_until(live, last)
        driver.may_answer.set()
        assert await found == list(range(1, last + 1))


async def test_a_commit_just_before_the_only_watch_joined_is_not_left_to_the_poll() -> None:
    driver = LateDriver("secrets")
    async with (
        open_log(driver, SETTINGS) as log,
        log.watch("secrets", after_revision=0) as watch,
        asyncio.TaskGroup() as group,
    ):
        found = group.create_task(events_until(watch, 1))
        await driver.has_read.wait()
        await put(log, 1)
        while log._hub.wakeup._event.is_set():  # noqa: ASYNC110 - a turn without effect tells no event
            await asyncio.sleep(0)  # the hub's turn, which finds nobody to read for
        driver.may_answer.set()
        assert await found == [1]


async def test_a_batch_of_the_hub_answered_late_repeats_nothing_to_who_joined_meanwhile() -> None:
    driver = LateDriver(None)
    async with open_log(driver, SETTINGS) as log:
        async with log.watch("others", after_revision=0) as first:
            await events_until(first, 0)
            await put(log, 3)
            await driver.has_read.wait()
        start = await put(log, 2)
        async with log.watch("secrets", after_revision=1) as second:
            found = await events_until(second, start)
            driver.may_answer.set()
            last = await put(log, 2)
            found += await events_until(second, last)
        assert found == list(range(2, last + 1))


async def test_a_batch_larger_than_the_window_is_read_from_the_driver_instead() -> None:
    settings = LogSettings(poll_seconds=3_600, progress_seconds=0.001, recent_bytes_max=10)
    async with open_log(MemoryDriver(), settings) as log, log.watch(None, after_revision=0) as watch:
        assert await anext(watch) == Progress(0)
        await log.put(Key("secrets", "", "large"), bytes(100), expected_revision=0)
        assert await events_until(watch, 1) == [1]


async def test_one_watcher_too_many_is_refused_by_the_limits_name() -> None:
    async with (
        open_log(MemoryDriver(), LogSettings(watchers_max=1)) as log,
        log.watch(None, after_revision=0),
    ):
        with pytest.raises(Overloaded, match="watchers_max=1"):
            async with log.watch(None, after_revision=0):
                pass


async def test_watches_end_when_the_log_closes() -> None:
    driver = MemoryDriver()
    async with asyncio.TaskGroup() as group:
        async with open_log(driver, SETTINGS) as log:
            watching = asyncio.Event()

            async def follow() -> str:
                async with log.watch(None, after_revision=0) as watch:
                    async for _ in watch:
                        watching.set()
                return "ended"

            task = group.create_task(follow())
            await watching.wait()
        assert await task == "ended"


async def test_a_change_wakes_those_whose_scope_holds_it_and_nobody_else() -> None:
    async with open_log(MemoryDriver(), SETTINGS) as log, AsyncExitStack() as stack:
        scopes = [(None, None, None), ("secrets", None, None), ("secrets", "a", None), ("secrets", "a", "x")]
        others = [("pods", None, None), ("secrets", "b", None), ("secrets", "a", "y"), ("secrets", None, "y")]
        watches: list[Watch] = []
        for resource, namespace, name in (*scopes, ("secrets", None, "x"), *others):
            opening = log.watch(resource, namespace=namespace, name=name, after_revision=0, progress_seconds=3_600)
            watches.append(await stack.enter_async_context(opening))
            assert await anext(watches[-1]) == Progress(0)
        await log.put(Key("secrets", "a", "x"), b"v", expected_revision=0)
        for watch in watches[:5]:
            item = await anext(watch)
            assert not isinstance(item, Progress)
            assert [event.revision for event in item] == [1]
        assert [watch._wakeup._event.is_set() for watch in watches[5:]] == [False] * len(others)


async def test_a_quiet_watcher_needs_no_database_however_far_the_window_has_moved() -> None:
    driver = CountingDriver()
    async with (
        open_log(driver, SETTINGS) as log,
        log.watch("secrets", name="quiet", after_revision=0) as quiet,
        log.watch(None, after_revision=0) as busy,
    ):
        await events_until(quiet, 0)
        last = await put(log, 20)
        assert len(await events_until(busy, last)) == 20
        reads = driver.reads_of_one
        await log.put(Key("secrets", "", "quiet"), b"v", expected_revision=0)
        assert await events_until(quiet, last + 1) == [last + 1]
        assert driver.reads_of_one == reads


async def test_ten_thousand_watchers_that_never_read_hold_no_event() -> None:
    settings = LogSettings(poll_seconds=3_600, progress_seconds=0.001, recent_events_max=5)
    async with open_log(MemoryDriver(), settings) as log, AsyncExitStack() as stack:
        watches = [
            await stack.enter_async_context(log.watch("secrets", after_revision=0))
            for _ in range(settings.watchers_max - 1)
        ]
        for watch in watches:
            assert await anext(watch) == Progress(0)
        last = await put(log, 50)
        async with log.watch("secrets", after_revision=0) as reader:
            assert len(await events_until(reader, last)) == 50
        figures = log.statistics()
        assert (figures["recent_events"], figures["recent_bytes"]) == (5, 5)
        assert figures["watchers_replaying"] == settings.watchers_max - 1
        assert len(await events_until(watches[0], last)) == 50


async def test_what_a_commit_brought_is_handed_out_without_a_read() -> None:
    driver = CountingDriver()
    async with open_log(driver, SETTINGS) as log, log.watch("secrets", after_revision=0) as watch:
        assert await events_until(watch, await put(log, 1)) == [1]
        for _ in range(TURNS):  # what joining had the log look for
            await asyncio.sleep(0)
        reads = driver.reads
        for revision in range(2, 8):
            await put(log, 1)
            assert await events_until(watch, revision) == [revision]
        assert driver.reads == reads


async def test_what_another_process_committed_between_two_commits_that_are_told_together_is_not_missed() -> None:
    class Tried(MemoryDriver):
        """Tells of its first and its third change at once, as if the second one were another process'."""

        def call_after_commit(self, wake: Wake) -> None:
            def tell(events: Sequence[Event]) -> None:
                if events[0].revision == 3:
                    wake([self._events[0], self._events[2]])

            super().call_after_commit(tell)

    async with open_log(Tried(), SETTINGS) as log, log.watch("secrets", after_revision=0) as watch:
        assert await anext(watch) == Progress(0)
        revision = await put(log, 3)
        async with asyncio.timeout(60):
            assert await events_until(watch, revision) == [1, 2, 3]


class DamagedDriver(MemoryDriver):
    """Tells of no commit by itself, and can't decrypt what `damaged` names where somebody asks for all."""

    damaged: str | None = None

    def call_after_commit(self, wake: Wake) -> None:
        super().call_after_commit(lambda _: wake(()))

    async def events_after(self, revision: int, scope: Scope, *, limit: int) -> Batch:
        batch = await super().events_after(revision, scope, limit=limit)
        if self.damaged is not None and scope.covers(Key(self.damaged, "", "a")):
            raise Undecryptable(Key(self.damaged, "", "a"), "it is damaged")
        return batch


async def test_a_quiet_watcher_does_not_go_back_to_what_is_compacted_where_a_value_is_damaged() -> None:
    driver = DamagedDriver()
    settings = LogSettings(poll_seconds=3_600, progress_seconds=3_600)
    async with open_log(driver, settings) as log, log.watch("quiet", after_revision=0) as quiet:
        assert await anext(quiet) == Progress(0)
        async with asyncio.TaskGroup() as group:
            change = group.create_task(anext(quiet))
            last = await put(log, 10)
            while log.statistics()["delivered_revision"] < last:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
            await log.compact(last)
            driver.damaged = "damaged"
            await log.put(Key("damaged", "", "a"), b"v", expected_revision=0)
            await log.put(Key("quiet", "", "a"), b"v", expected_revision=0)
        seen = change.result()
        assert not isinstance(seen, Progress)
        assert [event.key.resource for event in seen] == ["quiet"]
