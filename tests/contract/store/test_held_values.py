"""What every driver promises of its values as they lie there."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest

from skerry.store.driver import Driver, RewritableDriver
from skerry.store.records import HeldValue, Key, ListQuery, Rewrite, Scope, Write

OpenHeld: TypeAlias = Callable[[], AbstractAsyncContextManager[RewritableDriver]]

KEY, OTHER = Key("secrets", "default", "a"), Key("configmaps", "", "b")
ALL = Scope(None, None)


async def filled(driver: Driver) -> list[int]:
    """Write two states of one entry, one of another, and a third that is deleted again."""
    first = await driver.append(Write(KEY, b"1", 0))
    second = await driver.append(Write(KEY, b"2", first))
    other = await driver.append(Write(OTHER, b"1", 0))
    gone = await driver.append(Write(Key("secrets", "default", "gone"), b"3", 0))
    await driver.append(Write(Key("secrets", "default", "gone"), None, gone))
    return [first, second, other, gone]


async def test_values_are_walked_over_with_their_history_oldest_first(open_held: OpenHeld):
    async with open_held() as driver:
        first, second, other, gone = await filled(driver)
        walked = [*await driver.values_after(0, limit=3), *await driver.values_after(other, limit=3)]
        assert walked == [
            HeldValue(first, KEY, b"1", current=False),
            HeldValue(second, KEY, b"2", current=True),
            HeldValue(other, OTHER, b"1", current=True),
            HeldValue(gone, Key("secrets", "default", "gone"), b"3", current=False),
        ]
        assert not await driver.values_after(gone, limit=3)


async def test_a_rewrite_changes_every_place_a_value_is_read_from_and_no_revision(open_held: OpenHeld):
    async with open_held() as driver:
        first, second, *_ = await filled(driver)
        before = await driver.bounds()
        held = await driver.values_after(0, limit=10)
        await driver.rewrite([Rewrite(value, b"<" + value.value + b">") for value in held if value.key == KEY])
        assert await driver.bounds() == before
        entry = await driver.get(KEY)
        assert entry is not None
        assert (entry.value, entry.revision, entry.created_revision) == (b"<2>", second, first)
        for revision, value in ((None, b"<2>"), (first, b"<1>")):
            page = await driver.page(ListQuery("secrets", "default", revision, None, 1))
            assert page.entries[0].value == value
        events = (await driver.events_after(0, Scope("secrets", None), limit=2)).events
        assert [(event.value, event.previous) for event in events] == [(b"<1>", None), (b"<2>", b"<1>")]
        assert await driver.get(OTHER) == (await driver.page(ListQuery("configmaps", None, None, None, 1))).entries[0]


async def test_a_rewrite_of_a_value_that_is_not_there_any_more_does_nothing(open_held: OpenHeld):
    async with open_held() as driver:
        await filled(driver)
        [held] = await driver.values_after(0, limit=1)
        await driver.rewrite([Rewrite(held, b"x")])
        await driver.rewrite([Rewrite(held, b"y")])
        [again] = await driver.values_after(0, limit=1)
        assert again.value == b"x"
        await driver.compact((await driver.bounds()).latest)
        await driver.rewrite([Rewrite(again, b"z")])
        assert again.revision not in {value.revision for value in await driver.values_after(0, limit=10)}


@pytest.mark.parametrize("writes", [1, 300])
async def test_an_empty_rewrite_ends_behind_every_write_that_was_called_for_before(open_held: OpenHeld, writes: int):
    async with open_held() as driver, asyncio.TaskGroup() as group:
        keys = [Key("secrets", "default", f"n{number}") for number in range(writes)]
        for key in keys:
            group.create_task(driver.append(Write(key, b"1", 0)))
        await asyncio.sleep(0)  # all of them have been called now, and none has been answered
        await driver.rewrite(())
        assert len(await driver.values_after(0, limit=1000)) == writes
