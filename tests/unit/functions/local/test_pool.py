"""Which instance a run goes to: few where calls are short, one each where they are not."""

import asyncio
import datetime as dt
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from skerry.functions import messages
from skerry.functions.drivers import NoopDriver
from skerry.functions.entities import FunctionExecution
from skerry.functions.errors import FunctionError
from skerry.functions.local.message_queue import NotBegun
from skerry.functions.local.pool import InstancePool, PoolSettings, TooManyRuns
from skerry.functions.local.warm import WarmInstances, WarmSettings
from skerry.functions.messages import SECONDS_KEY, Context, Logs, Message, Runnable
from skerry.functions.runner import Runner
from skerry.kit.clock import from_rfc3339
from skerry.kit.deadlines import within
from skerry.testing.clock import LoopClock

SECONDS_MAX = 60.0


@dataclass(eq=False)
class Instance:
    """Answers a payload with itself: one message after the other, "stay" only when it is told to go on."""

    took_seconds: float
    go_on: asyncio.Event
    calls_max: int = 16
    is_process: bool = True
    is_alive: bool = True
    began: list[object] = field(default_factory=list)
    contexts: list[Context] = field(default_factory=list)
    _calls: list[asyncio.Future[None]] = field(default_factory=list)

    async def call(self, message: Message, logs: Logs) -> Message:  # noqa: ARG002 - `FunctionInstance`
        turn = asyncio.get_running_loop().create_future()
        self._calls.append(turn)
        if len(self._calls) == 1:
            turn.set_result(None)
        try:
            await turn
            self.began.append(message.payload)
            self.contexts.append(message.context)
            await (self.go_on.wait() if message.payload == "stay" else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.is_alive = not turn.done()
            raise
        finally:
            if turn in self._calls:
                self._calls.remove(turn)
            if self._calls and not self._calls[0].done():
                self._calls[0].set_result(None)
        return Message({"error": None, SECONDS_KEY: self.took_seconds}, self)

    def withdraw(self) -> None:
        for turn in self._calls[1:]:
            self._calls.remove(turn)
            turn.set_exception(NotBegun())

    async def kill(self) -> None:
        self.is_alive = False


@dataclass
class Made:
    """A pool, its instances, and what lets the calls that stay go on."""

    pool: InstancePool
    instances: list[Instance]
    go_on: asyncio.Event

    def run(self, payload: object = None) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.pool.run({}, payload))

    async def runs(self, count: int) -> set[Any]:
        return {await task for task in [self.run() for _ in range(count)]}


async def at_once() -> None:
    """Take no time to start."""


def made(took_seconds: float, start_after: Callable[[], Awaitable[None]] = at_once, **settings: int) -> Made:
    instances: list[Instance] = []
    go_on = asyncio.Event()

    async def start() -> Instance:
        await start_after()
        instances.append(Instance(took_seconds, go_on))
        return instances[-1]

    warm = WarmInstances(WarmSettings())
    return Made(InstancePool(start, PoolSettings(**settings), warm), instances, go_on)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - state of a fake
            await asyncio.sleep(0)


async def short_calls() -> Made:
    """Return a pool whose calls have been short so far, with one instance."""
    pool = made(0.00001, processes_max=2)
    for _ in range(50):
        await pool.run()
    return pool


async def test_runs_of_short_calls_share_an_instance_as_far_as_it_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # So that calls of a machine that stands still for a while are not taken for long ones.
    monkeypatch.setattr("skerry.functions.local.pool.LOOK_SECONDS", 3600.0)
    pool = await short_calls()
    assert len(await pool.runs(16)) == 1
    assert len(await pool.runs(17)) == 2


async def test_runs_of_calls_that_are_not_short_have_instances_of_their_own() -> None:
    pool = made(0.01, processes_max=3)
    await pool.run()
    assert len(await pool.runs(2)) == 2
    assert len(await pool.runs(10)) == 3


async def test_a_run_behind_a_long_call_begins_in_another_instance() -> None:
    pool = await short_calls()
    long, short = pool.run("stay"), pool.run("short")
    other = await short
    assert not long.done()
    pool.go_on.set()
    assert await long is not other
    assert sum(instance.began.count("short") for instance in pool.instances) == 1


async def test_where_all_instances_have_long_calls_a_run_waits_for_the_first_to_end() -> None:
    pool = await short_calls()
    runs = [pool.run("stay"), pool.run("stay"), pool.run("short")]
    await until(lambda: sum(instance.began.count("stay") for instance in pool.instances) == 2)
    assert not any(run.done() for run in runs)
    pool.go_on.set()
    assert len({await run for run in runs}) == 2
    assert len(pool.instances) == 2


async def test_a_run_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    pool = made(0.01, processes_max=1)
    first, second, third = pool.run("stay"), pool.run(), pool.run()
    await until(lambda: bool(pool.instances and pool.instances[0].began))
    second.cancel()
    await asyncio.wait([second])
    pool.go_on.set()
    assert await first is await third


async def test_a_run_that_is_cancelled_takes_its_instance_with_it_and_the_next_begins_in_another() -> None:
    pool = await short_calls()
    first, second = pool.run("stay"), pool.run("stay")
    await until(lambda: sum(instance.began.count("stay") for instance in pool.instances) == 2)
    (killed,) = [instance for instance in pool.instances if instance.began[-1] == "stay"][:1]
    first.cancel()
    await asyncio.wait([first])
    assert not killed.is_alive
    pool.go_on.set()
    assert await second is not killed
    assert await pool.run() is not killed


@pytest.mark.parametrize("took_seconds", [0.00001, 0.01])
async def test_runs_over_those_that_may_wait_are_refused_however_short_calls_are(took_seconds: float) -> None:
    pool = made(took_seconds, processes_max=1, waiting_max=1)
    for _ in range(50):
        await pool.run()
    runs = [pool.run("stay") for _ in range(2)]
    await until(lambda: "stay" in pool.instances[0].began)
    with pytest.raises(TooManyRuns):
        await pool.run()
    pool.go_on.set()
    for run in runs:
        await run


class Pooled(NoopDriver):
    """A driver whose only deployment is a pool."""

    def __init__(self, pool: InstancePool) -> None:
        self.pool = pool

    def get_runnable(self, execution: FunctionExecution) -> Runnable:  # noqa: ARG002
        return self.pool.run


async def a_while() -> None:
    """Wait for longer than `SHORT` calls may take, which is over at once."""
    asyncio.get_running_loop().call_soon(LoopClock().advance, 2 * SHORT_SECONDS)
    with pytest.raises(TimeoutError), within(1.2 * SHORT_SECONDS):
        await asyncio.Event().wait()


#: Longer than a busy machine stands still.
SHORT_SECONDS = 30.0
SHORT = FunctionExecution(timeout_seconds=SHORT_SECONDS)


async def test_the_time_of_a_run_begins_when_its_wait_for_an_instance_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "time", SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time()))
    pool = made(0.01, processes_max=1)
    first = pool.run("stay")
    await until(lambda: bool(pool.instances) and pool.instances[0].began == ["stay"])
    execution = replace(SHORT, context={"deadline": "2026-01-01T00:00:00Z"})
    second = asyncio.ensure_future(Runner(Pooled(pool.pool)).run(execution, "short"))
    await a_while()
    pool.go_on.set()
    assert await second is await first
    told = from_rfc3339(pool.instances[0].contexts[-1]["deadline"])
    assert told - from_rfc3339("2026-01-01T00:00:00Z") > dt.timedelta(seconds=SHORT_SECONDS)


async def test_the_time_of_a_run_begins_when_its_instance_has_started() -> None:
    pool = made(0.01, start_after=a_while)
    assert await Runner(Pooled(pool.pool)).run(SHORT, "short") is pool.instances[0]


async def test_a_run_that_takes_longer_than_its_time_once_it_has_begun_is_ended() -> None:
    pool = made(0.01)
    run = asyncio.ensure_future(Runner(Pooled(pool.pool)).run(SHORT, "stay"))
    await until(lambda: bool(pool.instances) and pool.instances[0].began == ["stay"])
    await a_while()
    with pytest.raises(FunctionError, match="exceeded the timeout"):
        await run


async def test_a_pool_whose_closing_is_cancelled_ends_what_is_idle_and_then_what_runs() -> None:
    pool = made(0.01, processes_max=2)
    running, short = pool.run("stay"), pool.run("short")
    await short
    closing = asyncio.ensure_future(pool.pool.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert [instance.is_alive for instance in pool.instances] == [True, False]
    pool.go_on.set()
    await running
    assert [instance.is_alive for instance in pool.instances] == [False, False]


async def test_a_run_that_waits_no_longer_takes_no_room_in_the_line() -> None:
    pool = made(0.01, processes_max=1)
    staying = pool.run("stay")
    await until(lambda: bool(pool.instances and pool.instances[0].began))
    before = len(futures())
    for _ in range(100):
        waiting = pool.run()
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    del waiting
    assert len(futures()) <= before + 1
    pool.go_on.set()
    await staying


def futures() -> list[object]:
    """Return what somebody may wait for."""
    gc.collect()
    return [
        each for each in gc.get_objects() if isinstance(each, asyncio.Future) and not isinstance(each, asyncio.Task)
    ]
