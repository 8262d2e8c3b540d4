import asyncio

import pytest

from skerry.kit.tasks import KeyedWorkers, Wakeup, background, keep_running


async def test_wakeups_before_a_wait_are_one_and_none_is_lost():
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    assert await wakeup.wait(timeout_seconds=1)
    assert not await wakeup.wait(timeout_seconds=0)


async def test_a_key_added_during_its_turn_gets_exactly_one_more_turn():
    turns = 0
    first_runs, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def turn(_: str) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            first_runs.set()
            await go_on.wait()
        else:
            done.set()

    workers = KeyedWorkers("test", turn, concurrency=2)
    workers.add("a")
    await first_runs.wait()
    workers.add("a")
    workers.add("a")
    go_on.set()
    await done.wait()
    await workers.stop()
    assert turns == 2
    assert workers.statistics() == {"keys": 0}


async def test_a_failed_turn_is_tried_again():
    outcomes = [ValueError("first"), None]
    done = asyncio.Event()

    async def turn(_: str) -> None:
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        done.set()

    workers = KeyedWorkers("test", turn, concurrency=1)
    workers.add("a")
    await done.wait()
    await workers.stop()
    assert outcomes == []


async def test_keep_running_survives_a_failed_turn():
    calls = 0
    done = asyncio.Event()

    async def turn() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("once")
        done.set()

    loop = lambda: keep_running("test", turn, wakeup=Wakeup(), resync_seconds=60)  # noqa: E731
    async with background(("test", loop)):
        await done.wait()
    assert calls == 2


async def test_a_background_loop_that_dies_ends_the_block():
    async def dies() -> None:
        raise ValueError("dead")

    with pytest.raises(ExceptionGroup) as raised:
        async with background(("dies", dies)):
            await asyncio.Event().wait()
    assert raised.group_contains(ValueError, match="dead")


async def test_what_the_block_raises_is_not_wrapped():
    with pytest.raises(KeyError, match="own"):
        async with background(("idle", asyncio.Event().wait)):  # type: ignore[arg-type]  # ends never, so returns nothing
            raise KeyError("own")
