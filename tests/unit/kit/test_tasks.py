import asyncio
import contextlib
from functools import partial

import pytest

from skerry.kit import tasks
from skerry.kit.backoff import Backoff
from skerry.kit.errors import SkerryError
from skerry.kit.tasks import KeyedWorkers, Loops, SharedCalls, Wakeup, background, keep_running, resynced


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
    assert workers.statistics() == {"keys": 0, "later": 0}


async def test_a_key_added_after_the_stop_gets_no_turn():
    workers = KeyedWorkers[str]("test", lambda _: asyncio.sleep(0), concurrency=1)
    await workers.stop()
    workers.add("a")
    assert workers.statistics() == {"keys": 0, "later": 0}


async def test_a_key_asked_for_later_has_one_turn_then_however_often_it_was_asked_for():
    turns: list[str] = []

    async def turn(key: str) -> None:
        turns.append(key)

    workers = KeyedWorkers("test", turn, concurrency=1)
    for seconds in (3600, 1800, 0):
        workers.add_later("a", seconds)
    workers.add_later("b", 3600)
    assert workers.statistics() == {"keys": 0, "later": 2}
    async with asyncio.timeout(60):
        while workers.statistics() != {"keys": 0, "later": 1}:  # noqa: ASYNC110 - it signals nobody
            await asyncio.sleep(0)
    await workers.stop()
    workers.add_later("a", 0)
    assert (turns, workers.statistics()) == (["a"], {"keys": 0, "later": 0})


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


@pytest.mark.parametrize(
    ("failure", "lines"), [(SkerryError("no such host", detail="a.test"), 1), (ValueError("a defect"), None)]
)
async def test_an_expected_failure_is_one_line_and_a_defect_tells_its_place(
    failure: Exception, lines: int | None, capsys: pytest.CaptureFixture[str]
):
    failures: list[Exception] = [failure]
    done = asyncio.Event()

    async def turn(_: str) -> None:
        if failures:
            raise failures.pop()
        done.set()

    workers = KeyedWorkers("test", turn, concurrency=1, first_retry_seconds=0.01)
    workers.add("a")
    await done.wait()
    await workers.stop()
    told = "".join(capsys.readouterr())
    assert str(failure) in told
    assert ("Traceback" in told) is (lines is None)
    if lines:
        assert len(told.splitlines()) == lines
        assert "a.test" in told


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


async def test_a_wakeup_ends_the_wait_after_a_failed_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "WOKEN_RETRY_SECONDS_MIN", 0.0)
    monkeypatch.setattr(Backoff, "next_seconds", lambda _: 3600.0)
    wakeup, failed, mended = Wakeup(), asyncio.Event(), asyncio.Event()

    async def turn() -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("broken")
        mended.set()

    async with (
        asyncio.timeout(60),
        background(("test", partial(keep_running, "test", turn, wakeup=wakeup, resync_seconds=60))),
    ):
        await failed.wait()
        wakeup.set()
        await mended.wait()


async def test_keep_running_asks_how_long_to_wait_before_each_wait():
    waits: list[float] = []
    done = asyncio.Event()

    def seconds() -> float:
        waits.append(0.0)
        if len(waits) == 3:
            done.set()
        return 0.001

    async def turn() -> None:
        """Do nothing."""

    async with (
        asyncio.timeout(60),
        background(("test", partial(keep_running, "test", turn, wakeup=Wakeup(), resync_seconds=seconds))),
    ):
        await done.wait()


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


class Call:
    """A call that is made, and ends when it is told to."""

    def __init__(self) -> None:
        self.made = 0
        self.started = asyncio.Event()
        self.end = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self) -> int:
        self.made += 1
        self.started.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.made


async def test_a_shared_call_is_made_once_for_all_who_ask_meanwhile() -> None:
    shared, call = SharedCalls[str, int]("test"), Call()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(shared.run("key", call)) for _ in range(3)]
        await call.started.wait()
        assert shared.statistics() == {"calls": 1, "waiting": 3}
        call.end.set()
    assert [task.result() for task in asked] == [1, 1, 1]
    assert await shared.run("key", call) == 2
    assert shared.statistics() == {"calls": 0, "waiting": 0}


async def test_a_shared_call_outlives_one_who_gives_up_and_ends_with_the_last() -> None:
    shared, call = SharedCalls[str, int]("test"), Call()
    async with asyncio.TaskGroup() as group:
        first, second = (group.create_task(shared.run("key", call)) for _ in range(2))
        await call.started.wait()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert not call.cancelled.is_set()
        second.cancel()
        await call.cancelled.wait()
    assert shared.statistics() == {"calls": 0, "waiting": 0}


async def test_a_failure_of_a_shared_call_reaches_all_who_asked() -> None:
    shared = SharedCalls[str, int]("test")

    async def fail() -> int:
        raise ValueError("no")

    results = []
    async with asyncio.TaskGroup() as group:

        async def ask() -> None:
            with pytest.raises(ValueError, match="no"):
                await shared.run("key", fail)
            results.append("told")

        for _ in range(3):
            group.create_task(ask())
    assert results == ["told"] * 3


async def test_loops_come_and_go_while_the_block_runs() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    loops = Loops()
    with pytest.raises(RuntimeError, match="can't be started"):
        loops.start("early", loop)
    async with asyncio.timeout(60), loops.running():
        loops.start("one", loop)
        await started.wait()
        with pytest.raises(RuntimeError, match="can't be started"):
            loops.start("one", loop)
        loops.stop("one")
        await ended.wait()
        ended.clear()
        loops.start("one", loop)
        loops.stop("never started")
        started.clear()
        await started.wait()
    assert ended.is_set()


async def test_a_loop_that_fails_ends_the_block_that_it_was_started_in() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def live() -> None:
        loops = Loops()
        async with loops.running():
            loops.start("broken", fail)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup, match="unhandled errors") as failed:
        await live()
    assert failed.group_contains(ValueError, match="broken")


async def test_resynced_workers_get_a_look_at_everything_again_after_one_that_failed_and_end_with_the_block():
    looks, turned = 0, asyncio.Event()

    async def turn(_: str) -> None:
        turned.set()

    workers = KeyedWorkers("tried", turn, concurrency=1)

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise SkerryError("not yet")
        workers.add("one")

    async with resynced("tried", look, workers, resync_seconds=600), asyncio.timeout(60):
        await turned.wait()
    assert looks == 2
    turned.clear()
    workers.add("two")
    assert workers.statistics() == {"keys": 0, "later": 0}


class Stubborn:
    """A turn that makes something else of its cancellation, each time that it gets one."""

    def __init__(self, makes: Exception | None) -> None:
        self.runs = asyncio.Event()
        self._makes = makes

    async def __call__(self, _: str = "") -> None:
        self.runs.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._makes is not None:
                raise self._makes from None


@pytest.mark.parametrize("makes", [None, ValueError("it broke off")], ids=["nothing", "a failure"])
async def test_a_loop_ends_when_it_is_cancelled_whatever_its_turn_makes_of_that(makes: Exception | None):
    turn = Stubborn(makes)
    loop = asyncio.get_running_loop().create_task(keep_running("test", turn, wakeup=Wakeup(), resync_seconds=600))
    await turn.runs.wait()
    turn.runs.clear()
    loop.cancel()
    await asyncio.wait([loop])
    assert loop.cancelled()
    assert not turn.runs.is_set()


@pytest.mark.parametrize("makes", [None, ValueError("it broke off")], ids=["nothing", "a failure"])
async def test_workers_end_when_they_are_stopped_whatever_their_turn_makes_of_that(makes: Exception | None):
    turn = Stubborn(makes)
    workers = KeyedWorkers("test", turn, concurrency=1)
    workers.add("a")
    await turn.runs.wait()
    await workers.stop()
    assert workers.statistics() == {"keys": 0, "later": 0}


async def test_a_turn_that_is_cancelled_though_nobody_asked_has_failed_and_is_tried_again():
    failures, done = [asyncio.CancelledError()], asyncio.Event()

    async def turn() -> None:
        if failures:
            raise failures.pop()
        done.set()

    async with (
        asyncio.timeout(60),
        background(("test", partial(keep_running, "test", turn, wakeup=Wakeup(), resync_seconds=600))),
    ):
        await done.wait()


async def test_time_limits_hold_in_the_turns_after_one_in_which_a_group_failed():
    """On Python before 3.11.3 such a limit ended the loop, which nobody noticed."""
    turns, done = 0, asyncio.Event()

    async def fail() -> None:
        raise ValueError("broken")

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            done.set()

    async with (
        asyncio.timeout(60),
        background(("test", partial(keep_running, "test", turn, wakeup=Wakeup(), resync_seconds=600))),
    ):
        await done.wait()


async def test_a_key_that_is_added_again_and_again_waits_after_a_failure_as_after_its_first_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    turns, done = 0, asyncio.Event()

    def told(backoff: Backoff) -> float:
        if backoff.first_seconds == first_retry_seconds:
            waits.append(backoff._next_seconds)
        return 0.0 * next_seconds(backoff)

    async def turn(key: str) -> None:
        nonlocal turns
        turns += 1
        if turns == 7:
            done.set()
            return
        workers.add(key)
        if turns % 2:
            raise ValueError("every other turn fails")

    next_seconds, first_retry_seconds = Backoff.next_seconds, 0.125
    monkeypatch.setattr(Backoff, "next_seconds", told)
    workers = KeyedWorkers("test", turn, concurrency=1, first_retry_seconds=first_retry_seconds)
    workers.add("a")
    await done.wait()
    await workers.stop()
    assert waits == [0.0, 0.0, 0.0]


async def test_a_key_that_is_added_while_it_waits_after_a_failure_is_tried_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "WOKEN_RETRY_SECONDS_MIN", 0.0)
    monkeypatch.setattr(tasks, "RETRY_SECONDS_MAX", 7200.0)
    failed, mended = asyncio.Event(), asyncio.Event()

    async def turn(_: str) -> None:
        if not failed.is_set():
            failed.set()
            raise ValueError("broken")
        mended.set()

    workers = KeyedWorkers("test", turn, concurrency=1, first_retry_seconds=3600.0)
    workers.add("a")
    async with asyncio.timeout(60):
        await failed.wait()
        workers.add("a")
        await mended.wait()
    await workers.stop()


async def test_a_failing_key_that_is_added_in_a_storm_is_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "RETRY_SECONDS_MAX", 7200.0)
    waits: list[float] = []
    enough = asyncio.Event()

    async def waited(seconds: float) -> None:
        waits.append(seconds)

    async def turn(key: str) -> None:
        workers.add(key)  # as what it writes may
        if len(waits) == 6:
            enough.set()
            await asyncio.Event().wait()
        raise ValueError("broken")

    monkeypatch.setattr(asyncio, "sleep", waited)
    monkeypatch.setattr("random.uniform", lambda _, most: most)
    workers = KeyedWorkers("test", turn, concurrency=1, first_retry_seconds=3600.0)
    workers.add("a")
    async with asyncio.timeout(60):
        await enough.wait()
    await workers.stop()
    assert waits == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
