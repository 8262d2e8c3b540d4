"""What every driver, under the hub, promises of watches."""

import asyncio
from collections.abc import Sequence

import pytest

from skerry.store.errors import Compacted, FutureRevision
from skerry.store.log import Event, Key, Progress, RevisionLog, Watch


def key(name: str, *, namespace: str = "default", resource: str = "secrets") -> Key:
    return Key(resource, namespace, name)


async def put(log: RevisionLog, *names: str) -> int:
    """Write each name once more, and return the last revision."""
    revision = 0
    for name in names:
        entry = await log.get(key(name))
        revision = await log.put(key(name), b"v", expected_revision=entry.revision if entry else 0)
    return revision


async def events_until(watch: Watch, revision: int) -> list[Event]:
    """Collect events until the watch has seen everything up to a revision."""
    found: list[Event] = []
    async for item in watch:
        if isinstance(item, Progress):
            if item.revision >= revision:
                return found
        else:
            assert item
            found += item
    return found


async def next_events(watch: Watch) -> Sequence[Event]:
    item = await anext(watch)
    assert not isinstance(item, Progress)
    return item


async def test_events_tell_the_change_and_the_state_before(log: RevisionLog) -> None:
    first = await log.put(key("a"), b"1", expected_revision=0)
    second = await log.put(key("a"), b"2", expected_revision=first)
    third = await log.delete(key("a"), expected_revision=second)
    async with log.watch("secrets", after_revision=0) as watch:
        assert await events_until(watch, third) == [
            Event("put", key("a"), first, created=True, value=b"1", previous=None),
            Event("put", key("a"), second, created=False, value=b"2", previous=b"1"),
            Event("delete", key("a"), third, created=False, value=None, previous=b"2"),
        ]


async def test_a_watch_goes_from_replay_to_live_without_gap_or_double(log: RevisionLog) -> None:
    await put(log, *(f"old-{number}" for number in range(30)))
    async with log.watch(None, after_revision=3) as watch:
        found = list(await next_events(watch))
        last = await put(log, *(f"new-{number}" for number in range(30)))
        found += await events_until(watch, last)
    assert [event.revision for event in found] == list(range(4, last + 1))


async def test_a_watch_keeps_to_its_resource_and_namespace(log: RevisionLog) -> None:
    async with log.watch("secrets", namespace="a", after_revision=0) as watch:
        assert await anext(watch) == Progress(0)
        await log.put(key("x", namespace="b"), b"", expected_revision=0)
        await log.put(key("x", namespace="a", resource="configmaps"), b"", expected_revision=0)
        last = await log.put(key("x", namespace="a"), b"", expected_revision=0)
        assert [event.revision for event in await events_until(watch, last)] == [last]


async def test_progress_passes_events_of_other_resources(log: RevisionLog) -> None:
    async with log.watch("configmaps", after_revision=0) as watch:
        last = await put(log, "a", "b")
        assert await events_until(watch, last) == []


async def test_a_watch_is_woken_for_what_it_wants_alone(log: RevisionLog) -> None:
    async with (
        log.watch("secrets", after_revision=0, wants=lambda event: event.key.name == "b") as watch,
        log.watch("secrets", after_revision=0) as other,
    ):
        assert await anext(watch) == Progress(0)
        await events_until(other, await put(log, "a", "a"))  # so that these have been handed out
        last = await put(log, "b")
        assert [event.key.name for event in await events_until(watch, last)] == ["b"]


async def test_what_nobody_wants_is_told_of_as_progress(log: RevisionLog) -> None:
    async with log.watch("secrets", after_revision=0, wants=lambda _: False) as watch:
        assert await anext(watch) == Progress(0)
        last = await put(log, "a", "b")
        assert await events_until(watch, last) == []


async def test_a_watcher_that_can_not_tell_what_it_wants_gets_all_and_hurts_no_other(log: RevisionLog) -> None:
    def fails(_: Event) -> bool:
        raise ValueError("this value is not what was expected")

    async with (
        log.watch("secrets", after_revision=0, wants=fails) as watch,
        log.watch("secrets", after_revision=0) as other,
    ):
        assert await anext(watch) == await anext(other) == Progress(0)
        last = await put(log, "a")
        for each in (watch, other):
            assert [event.revision for event in await events_until(each, last)] == [last]


async def test_many_writers_and_watchers_agree_on_one_gapless_order(log: RevisionLog) -> None:
    written: list[int] = []

    async def write(writer: int) -> None:
        for number in range(20):
            revision = await log.put(key(f"{writer}-{number}"), b"", expected_revision=0)
            written.append(revision)

    async def follow(start: int) -> list[Event]:
        async with log.watch("secrets", after_revision=start) as watch:
            found: list[Event] = []
            async for item in watch:
                if not isinstance(item, Progress):
                    found += item
                if found and found[-1].revision == 320:
                    return found
        raise AssertionError("the watch ended early")

    async with asyncio.TaskGroup() as group:
        watchers = [group.create_task(follow(0)) for _ in range(8)]
        for writer in range(16):
            group.create_task(write(writer))
    first = watchers[0].result()
    assert [event.revision for event in first] == sorted(written) == list(range(1, 321))
    assert all(watcher.result() == first for watcher in watchers)


async def test_a_slow_watcher_costs_bounded_memory_and_still_sees_everything(log: RevisionLog) -> None:
    async with log.watch(None, after_revision=0) as slow, log.watch(None, after_revision=0) as quick:
        assert await anext(slow) == await anext(quick) == Progress(0)
        last = await put(log, *(f"n-{number}" for number in range(100)))
        seen_by_quick = await events_until(quick, last)
        assert log.statistics()["watchers_replaying"] == 1
        seen_by_slow = await events_until(slow, last)
        assert log.statistics()["watchers_replaying"] == 0
    assert seen_by_slow == seen_by_quick
    assert [event.revision for event in seen_by_slow] == list(range(1, last + 1))


async def test_a_slow_watcher_that_compaction_overtook_is_told(log: RevisionLog) -> None:
    async with log.watch(None, after_revision=0) as slow, log.watch(None, after_revision=0) as quick:
        assert await anext(slow) == await anext(quick) == Progress(0)
        last = await put(log, *(f"n-{number}" for number in range(100)))
        await events_until(quick, last)
        await log.compact(last)
        with pytest.raises(Compacted):
            await events_until(slow, last)


async def test_watch_from_a_compacted_revision_is_refused_on_entry(log: RevisionLog) -> None:
    last = await put(log, "a", "b", "a")
    await log.compact(last)
    with pytest.raises(Compacted) as caught:
        async with log.watch("secrets", after_revision=last - 1):
            pass
    assert caught.value.oldest == last


async def test_watch_from_the_compacted_revision_itself_misses_nothing(log: RevisionLog) -> None:
    kept = await put(log, "a")
    later = await log.put(key("a"), b"2", expected_revision=kept)
    await log.compact(kept)
    async with log.watch("secrets", after_revision=kept) as watch:
        (event,) = await events_until(watch, later)
    assert (event.revision, event.value, event.previous) == (later, b"2", b"v")


async def test_watch_from_an_unwritten_revision_is_refused_on_entry(log: RevisionLog) -> None:
    with pytest.raises(FutureRevision):
        async with log.watch("secrets", after_revision=1):
            pass


async def test_a_cancelled_watcher_leaves_nothing_behind(log: RevisionLog) -> None:
    watching = asyncio.Event()

    async def follow() -> None:
        async with log.watch("secrets", after_revision=0) as watch:
            async for _ in watch:
                watching.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow())
        await watching.wait()
        assert log.statistics()["watchers"] == 1
        task.cancel()
    assert log.statistics()["watchers"] == 0


async def test_a_cancelled_wait_loses_no_event(log: RevisionLog) -> None:
    async with log.watch("secrets", after_revision=0, progress_seconds=3_600) as watch:
        assert await anext(watch) == Progress(0)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(anext(watch))
            await asyncio.sleep(0)
            task.cancel()
        last = await put(log, "a")
        (event,) = await next_events(watch)
        assert event.revision == last
