"""Tasks that are ended, and work that tidies up."""

import asyncio
import itertools

import pytest
from structlog.testing import capture_logs

from skerry.kit import ending
from skerry.kit.ending import begun, described, ended, still_running, to_its_end


async def _deaf(cancellations: list[str], heard_at: int) -> None:
    """Pass over cancellations until there were so many."""
    while len(cancellations) < heard_at:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations.append("passed over")


async def test_a_task_that_goes_on_after_its_cancellation_is_told_of_and_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(ending, "CANCEL_AGAIN_SECONDS", 0.01)
    cancellations = list[str]()
    task = asyncio.get_running_loop().create_task(_deaf(cancellations, 3), name="deaf")
    await asyncio.sleep(0)
    with capture_logs() as logged:
        await ended([task])
    assert task.done()
    assert len(cancellations) == 3
    assert {entry["event"] for entry in logged} == {"cancelled tasks go on, cancelling them again"}
    assert logged[0]["running"][0].startswith("task deaf at ")


async def test_who_is_cancelled_while_something_is_tidied_up_is_cancelled_once_that_is_done():
    has_begun, go_on, steps = asyncio.Event(), asyncio.Event(), list[str]()

    async def tidy() -> None:
        has_begun.set()
        await go_on.wait()
        steps.append("tidied up")

    async def life() -> None:
        await to_its_end("tidy", tidy(), seconds_max=600)
        steps.append("went on")

    task = asyncio.get_running_loop().create_task(life())
    await has_begun.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert steps == ["tidied up"]


async def test_what_is_tidied_up_in_a_task_that_is_being_cancelled_has_time_limits_that_hold():
    """On Python before 3.11.3 such a limit ended as a cancellation, and what was to follow it was left out."""
    steps = list[str]()

    async def tidy() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            steps.append("killed")

    async def life() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await to_its_end("tidy", tidy(), seconds_max=600)

    task = asyncio.get_running_loop().create_task(life())
    await asyncio.sleep(0)
    await ended([task])
    assert task.cancelled()
    assert steps == ["killed"]


async def test_what_fails_as_it_tidies_up_is_raised():
    async def tidy() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await to_its_end("tidy", tidy(), seconds_max=600)


async def test_what_takes_too_long_to_tidy_up_is_told_of_and_given_up():
    given_up = asyncio.Event()

    async def tidy() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    with capture_logs() as logged:
        await to_its_end("tidy", tidy(), seconds_max=0.01)
    async with asyncio.timeout(60):
        await given_up.wait()
    assert [entry["event"] for entry in logged] == ["tidying up took too long and is given up"]
    assert logged[0]["running"].startswith("task tidy at ")


async def test_what_tidies_up_has_begun_however_late_its_process_is(monkeypatch: pytest.MonkeyPatch):
    steps, loop = list[str](), asyncio.get_running_loop()

    async def tidy() -> None:
        steps.append("tidied up")

    stalls = itertools.count(loop.time(), 10.0)  # at each look at the clock
    monkeypatch.setattr(loop, "time", lambda: next(stalls))
    await to_its_end("tidy", tidy(), seconds_max=1.0)
    assert steps == ["tidied up"]


async def test_a_task_is_described_by_the_line_that_it_waits_at():
    waits, go_on = asyncio.Event(), asyncio.Event()

    async def inner() -> None:
        waits.set()
        await go_on.wait()

    async def outer() -> None:
        await inner()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(outer(), name="one")
        await waits.wait()
        assert described(task).startswith("task one at asyncio/locks.py:")
        running = still_running(asyncio.get_running_loop())
        go_on.set()
    assert any(each.startswith("task one at ") for each in running)
    assert described(task) == "task one"


async def test_what_was_begun_for_who_is_cancelled_meanwhile_is_undone_before_the_cancellation_goes_on():
    told, go_on, steps = asyncio.Event(), asyncio.Event(), list[str]()

    async def begin() -> str:
        told.set()
        await go_on.wait()
        return "it"

    async def undo(what: str) -> None:
        await asyncio.sleep(0)
        steps.append(f"undid {what}")

    task = asyncio.get_running_loop().create_task(begun("it", begin(), undo))
    await told.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert steps == ["undid it"]


async def test_what_could_not_begin_is_not_undone():
    async def begin() -> str:
        raise LookupError

    async def undo(what: str) -> None:
        raise AssertionError(what)

    with pytest.raises(LookupError):
        await begun("it", begin(), undo)
