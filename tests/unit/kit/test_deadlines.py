import asyncio

import pytest

from skerry.kit.deadlines import TICK_SECONDS, within

FOR_EVER = 3600.0


async def test_a_block_that_takes_too_long_is_ended_with_timeout_error():
    with pytest.raises(TimeoutError), within(TICK_SECONDS) as limit:
        await asyncio.Event().wait()
    assert limit.expired()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_ends_in_time_is_left_alone():
    with within(TICK_SECONDS) as limit:
        await asyncio.sleep(0)
    # Longer than the one before, whose end would come now.
    with pytest.raises(TimeoutError), within(3 * TICK_SECONDS):
        await asyncio.Event().wait()
    assert not limit.expired()


async def test_a_limit_never_ends_before_its_time():
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimeoutError), within(2.5 * TICK_SECONDS):
        await asyncio.Event().wait()
    assert loop.time() - begun >= 2.5 * TICK_SECONDS


@pytest.mark.parametrize(("outer", "inner"), [(FOR_EVER, TICK_SECONDS), (TICK_SECONDS, FOR_EVER)])
async def test_the_shorter_of_two_limits_ends_first_whichever_was_set_first(outer: float, inner: float) -> None:
    with pytest.raises(TimeoutError), within(outer) as first, within(inner) as second:
        await asyncio.Event().wait()
    assert (first.expired(), second.expired()) == (outer < inner, inner < outer)


async def test_a_cancelled_task_is_cancelled_and_not_timed_out():
    async def wait() -> None:
        with within(FOR_EVER):
            await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_block_raises_passes():
    with pytest.raises(LookupError), within(FOR_EVER):
        raise LookupError


def test_each_event_loop_has_limits_of_its_own():
    async def too_long() -> bool:
        try:
            with within(TICK_SECONDS):
                await asyncio.Event().wait()
        except TimeoutError:
            return True
        return False

    assert [asyncio.run(too_long()) for _ in range(2)] == [True, True]


async def test_no_time_of_a_limit_goes_by_while_it_stands_still():
    with within(5 * TICK_SECONDS) as limit:
        with limit.still(), pytest.raises(TimeoutError), within(10 * TICK_SECONDS):
            await asyncio.Event().wait()
        assert not limit.expired()


async def test_a_limit_that_stood_still_ends_when_the_rest_of_its_time_is_up():
    async def wait() -> None:
        with within(TICK_SECONDS) as limit:
            with limit.still():
                await asyncio.sleep(0)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()


async def test_a_limit_without_a_time_ends_the_block_when_it_is_told_to() -> None:
    limit = within(None)
    asyncio.get_running_loop().call_soon(limit.expire)
    with pytest.raises(TimeoutError), limit:
        await asyncio.Event().wait()
    assert limit.expired()


async def test_a_limit_that_is_over_ends_nothing_else() -> None:
    with within(None) as limit:
        pass
    limit.expire()
    await asyncio.sleep(0)
    assert not limit.expired()


async def test_a_limit_holds_in_a_task_that_is_being_cancelled() -> None:
    waits, steps = asyncio.Event(), list[str]()

    async def tidy_up() -> None:
        try:
            waits.set()
            await asyncio.Event().wait()
        finally:
            try:
                with within(TICK_SECONDS):
                    await asyncio.Event().wait()
            except TimeoutError:
                steps.append("tidied up")

    task = asyncio.get_running_loop().create_task(tidy_up())
    await waits.wait()
    task.cancel()
    await asyncio.wait([task])
    assert steps == ["tidied up"]
