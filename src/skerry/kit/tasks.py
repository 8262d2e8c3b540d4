"""Supervised tasks: the only place that creates bare asyncio tasks.

Owns: `Wakeup` (a level-triggered signal), `keep_running` (a loop that survives its own failures),
`KeyedWorkers` (one worker a key, ended when idle), `resynced` (such workers, and a loop that looks at everything for
them), `SharedCalls` (one call for all who ask for the same) and `run_blocking`. Does not own what the loops do.

Invariant: a wake-up is never lost. It says "look again", not why: whoever wakes reads the present state.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import Counter

from skerry.kit.backoff import Backoff
from skerry.kit.deadlines import within
from skerry.kit.ending import ended
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger

log = get_logger(__name__)
FAILURES = Counter("skerry_task_failures_total", "Failed turns of a supervised task.", ["task"])

#: A turn that goes on failing is tried again this often.
RETRY_SECONDS_MAX = 60.0
#: A wake-up cuts the backoff of a failed turn short, but not below this: a stream of wake-ups is no reason to spin.
WOKEN_RETRY_SECONDS_MIN = 1.0
#: A key that is asked for all the while, maybe by what its own turn writes, fails no more often than this.
ASKED_RETRY_SECONDS_MAX = 15.0

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class TurnCancelledError(Exception):
    """A turn of a loop was cancelled from within."""


class Wakeup:
    """A level-triggered signal: many `set` calls before a `wait` are one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Ask the waiter to look again."""
        self._event.set()

    def take(self) -> bool:
        """Take a wake-up without waiting; returns False where there was none."""
        was_set = self._event.is_set()
        self._event.clear()
        return was_set

    async def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for a wake-up and take it; returns False where the time ran out first."""
        if timeout_seconds is None:
            await self._event.wait()
        elif not self._event.is_set():
            try:
                with within(timeout_seconds):
                    await self._event.wait()
            except TimeoutError:
                return False
        self._event.clear()
        return True


@asynccontextmanager
async def background(*loops: tuple[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run named loops while the block runs; cancel them and wait for their end on exit.

    A loop that ends by an exception cancels the block and is raised in an ExceptionGroup, so that a dead part never
    goes unnoticed. What the block itself raises passes as it is.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_run(loop), name=name) for name, loop in loops]
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again below, outside of the group that would wrap it
            failure = error
        finally:
            await ended(tasks)
    if failure is not None:
        raise failure


class Loops:
    """Named loops that come and go while the block runs; what is left is cancelled on exit, and waited for.

    As with `background`, a loop that ends by an exception cancels the block.
    """

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._going_on: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let loops be started for the length of the block."""
        failure: Exception | None = None
        async with asyncio.TaskGroup() as self._group:
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below, outside of the group that would wrap it
                failure = error
            finally:
                self._tasks.clear()
                await ended(self._going_on)
        if failure is not None:
            raise failure

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run a loop until it is stopped, in a running block; one of the same name must have been stopped."""
        if self._group is None or name in self._tasks:
            raise RuntimeError(f"the loop {name} can't be started: it runs, or nothing does")
        task = self._tasks[name] = self._group.create_task(_run(loop), name=name)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    def stop(self, name: str) -> None:
        """Cancel a loop; one that was never started is fine."""
        if task := self._tasks.pop(name, None):
            task.cancel()


async def _run(loop: Callable[[], Awaitable[T]]) -> T:
    return await loop()


async def keep_running(
    name: str,
    turn: Callable[[], Awaitable[None]],
    *,
    wakeup: Wakeup,
    resync_seconds: float | Callable[[], float],
    backoff: Backoff | None = None,
) -> None:
    """Call `turn` at once, at each wake-up and every `resync_seconds`; on failure again, with backoff.

    A failed turn is logged and counted, never fatal: the state it could not reach is tried for again. A wake-up ends
    the wait for that, too, since it may be what mends it.

    Args:
        name: for logs and metrics.
        turn: what is done.
        wakeup: asks for a turn.
        resync_seconds: how long to wait for a wake-up; a function is asked before each wait.
        backoff: how long to wait after a failure; None for the ordinary one.
    """
    backoff = backoff or Backoff()
    while True:
        try:
            await whole_turn(turn)
        except Exception as error:  # noqa: BLE001 - a task's edge
            delay = backoff.next_seconds()
            _tell_failure(error, delay, task=name)
            least = min(delay, WOKEN_RETRY_SECONDS_MIN)
            await asyncio.sleep(least)
            if delay > least:
                await wakeup.wait(delay - least)
            continue
        backoff.reset()
        await wakeup.wait(resync_seconds() if callable(resync_seconds) else resync_seconds)


async def whole_turn(turn: Callable[[], Awaitable[T]]) -> T:
    """Have a turn in a task of its own, so that the loop ends when it is cancelled, whatever the turn makes of that.

    What is raised within a turn as it is being cancelled would be taken for its failure, and tried again for ever. And
    a TaskGroup of 3.11 that failed leaves its task marked as being cancelled, in which a time limit of asyncio ends as
    a cancellation that nobody asked for (CPython issue 102780, before 3.11.3): it would end the loop.

    Returns:
        What the turn returns.

    Raises:
        TurnCancelledError: the turn was cancelled, and the loop was not.
    """
    loop = asyncio.current_task()
    assert loop is not None  # noqa: S101 - a coroutine runs in a task
    asked = loop.cancelling()
    try:
        return await asyncio.get_running_loop().create_task(_run(turn), name=loop.get_name())
    except asyncio.CancelledError as error:
        if loop.cancelling() == asked:
            raise TurnCancelledError("the turn was cancelled, and nobody asked for that") from error
        raise
    finally:
        if loop.cancelling() > asked:
            raise asyncio.CancelledError


def _tell_failure(error: Exception, delay_seconds: float, *, task: str, **key: str) -> None:
    """Log a failed turn and count it; of a failure that was expected, its sentences say all that there is to know."""
    FAILURES.labels(task).inc()
    told: dict[str, Any] = {"task": task, **key, "delay_seconds": round(delay_seconds, 3)}
    if isinstance(error, SkerryError):
        detail = {"detail": error.detail} if error.detail else {}
        log.warning("task failed, will try again", reason=error.public, **detail, **told)
    else:
        log.error("task failed, will try again", exc_info=error, **told)


class KeyedWorkers(Generic[K]):
    """Run `turn(key)` for every key that was added: one at a time a key, `concurrency` keys at once.

    A key added while its turn runs gets another turn afterwards. A failed turn is repeated with backoff, which begins
    with `first_retry_seconds`, and anew after every turn that did not fail. A key that is added meanwhile is tried
    after `WOKEN_RETRY_SECONDS_MIN`, since that may be what mends it; later and later where that goes on, until a wait
    runs out without. Bound: one pending mark and one timer a key, so memory grows with the number of distinct keys
    only.
    """

    def __init__(
        self, name: str, turn: Callable[[K], Awaitable[None]], *, concurrency: int, first_retry_seconds: float = 0.1
    ) -> None:
        self._name = name
        self._turn = turn
        self._first_retry_seconds = first_retry_seconds
        self._slots = asyncio.Semaphore(concurrency)
        self._asked: dict[K, Wakeup] = {}
        self._later: dict[K, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def add(self, key: K) -> None:
        """Ask for a turn of `key`; call it from the event loop. Once they are stopped, there are no more turns."""
        if self._stopped:
            return  # of caches and timers that go on for a while, and whose turn nobody would wait for
        if key in self._asked:
            self._asked[key].set()
            return
        self._asked[key] = Wakeup()
        task = asyncio.get_running_loop().create_task(self._work(key), name=f"{self._name}:{key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add_later(self, key: K, seconds: float) -> None:
        """Ask for a turn of `key` after some time; asked again meanwhile, only the last time counts."""
        if self._stopped:
            return
        if timer := self._later.get(key):
            timer.cancel()
        self._later[key] = asyncio.get_running_loop().call_later(seconds, self._add_now, key)

    def _add_now(self, key: K) -> None:
        del self._later[key]
        self.add(key)

    async def _work(self, key: K) -> None:
        backoff = Backoff(self._first_retry_seconds, max_seconds=RETRY_SECONDS_MAX)
        patience = Backoff(WOKEN_RETRY_SECONDS_MIN, max_seconds=ASKED_RETRY_SECONDS_MAX)
        asked = self._asked[key]
        turn: Callable[[], Awaitable[None]] = partial(self._turn, key)
        try:
            while True:
                asked.take()
                try:
                    async with self._slots:
                        await turn()
                except Exception as error:  # noqa: BLE001 - as in `keep_running`
                    if self._stopped:
                        return  # it is what the turn made of its cancellation
                    delay = backoff.next_seconds()
                    _tell_failure(error, delay, task=self._name, key=str(key))
                    await _wait_again(delay, asked, patience)
                    turn = partial(whole_turn, partial(self._turn, key))
                    continue
                if self._stopped or not asked.take():
                    return
                backoff.reset()
                patience.reset()
        finally:
            del self._asked[key]

    async def stop(self) -> None:
        """Cancel every turn and wait for their ends; what is added from now on has none."""
        self._stopped = True
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
        await ended(self._tasks)

    def statistics(self) -> dict[str, int]:
        """Return how many keys are held (running, waiting for a slot, or in backoff), and how many are for later."""
        return {"keys": len(self._asked), "later": len(self._later)}


async def _wait_again(delay_seconds: float, asked: Wakeup, patience: Backoff) -> None:
    """Wait after a failed turn; a wake-up cuts that short to what `patience` says, which grows while that happens."""
    least = min(delay_seconds, patience.next_seconds())
    await asyncio.sleep(least)
    if delay_seconds <= least or not await asked.wait(delay_seconds - least):
        patience.reset()


@asynccontextmanager
async def resynced(
    name: str,
    look: Callable[[], Awaitable[None]],
    *workers: KeyedWorkers[Any],
    resync_seconds: float,
    wakeup: Wakeup | None = None,
) -> AsyncIterator[None]:
    """Look at everything as the block begins, and from time to time while it runs; stop the workers on exit.

    Args:
        name: for logs and metrics.
        look: gives the workers whatever may want a turn; see `keep_running`.
        workers: have the turns.
        resync_seconds: between two looks.
        wakeup: asks for a look besides.
    """
    looks = partial(keep_running, f"{name}:resync", look, wakeup=wakeup or Wakeup(), resync_seconds=resync_seconds)
    async with background((f"{name}:resync", looks)):
        try:
            yield
        finally:
            for each in workers:
                await each.stop()


class SharedCalls(Generic[K, T]):
    """Make one call for all who ask for the same key at the same time; the last who gives up cancels it.

    Memory grows with the number of calls that run; who makes them bounds it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: dict[K, asyncio.Task[T]] = {}
        self._waiting: dict[K, int] = {}

    async def run(self, key: K, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `call` returns, or raise what it raises; a call of the same key that runs is joined."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(call(), name=self._name)
            self._running[key], self._waiting[key] = task, 0
            task.add_done_callback(lambda done: self._forget(key, done))
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._running.get(key) is task and self._waiting[key] == 1:
                self._forget(key, task)
                await ended([task])
            raise
        finally:
            if self._running.get(key) is task:
                self._waiting[key] -= 1

    def _forget(self, key: K, task: asyncio.Task[T]) -> None:
        if self._running.get(key) is task:
            del self._running[key], self._waiting[key]

    def statistics(self) -> dict[str, int]:
        """Return how many calls run, and how many wait for them."""
        return {"calls": len(self._running), "waiting": sum(self._waiting.values())}


async def run_blocking(executor: Executor, call: Callable[[], T]) -> T:
    """Run a blocking call on a named, bounded executor."""
    return await asyncio.get_running_loop().run_in_executor(executor, call)
