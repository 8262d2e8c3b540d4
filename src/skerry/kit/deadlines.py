"""Time limits that hold wherever they are set, and cost little: most are for what nearly always ends in time.

    with within(60.0) as limit:
        await something()

It does what `asyncio.timeout` does (cancels the block's task, and raises TimeoutError where the block ends by that),
but for two things. In a task that is being cancelled a limit is a limit, too: that of asyncio ends as a cancellation
there, before Python 3.11.3 (CPython issue 102780), so what was to tidy up is cut short. And it holds to within
`TICK_SECONDS`, with one timer of the event loop for all limits: a timer for each of them, set and taken back, would
cost a short request as much as its JSON. So nothing that is served or kept running uses that of asyncio.

A limit can stand still for a while (`still`), where the time of a wait is not that of the work.

Invariant: a limit never ends early, and late by no more than a tick, as far as the loop is on time.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

#: What limits are rounded up to.
TICK_SECONDS = 0.01
#: The tick of a limit that no time ends.
_NEVER = -1


class _Wheel:
    """The limits of one event loop, by the tick in which they end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ending: defaultdict[int, set[Limit]] = defaultdict(set)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0

    def add(self, limit: "Limit", until_seconds: float) -> int:
        """Have a limit end at a time of the loop; returns its tick."""
        tick = int(until_seconds / TICK_SECONDS) + 1
        self._ending[tick].add(limit)
        if self._timer is None or tick < self._timer_tick:
            self._arm(tick)
        return tick

    def remove(self, limit: "Limit", tick: int) -> None:
        """Forget a limit; one that has ended is gone already. The timer stays: the next limit needs it."""
        limits = self._ending.get(tick)
        if limits is not None:
            limits.discard(limit)
            if not limits:
                del self._ending[tick]

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = self.loop.call_at(tick * TICK_SECONDS, self._turn)

    def _turn(self) -> None:
        """End what is due, and wait for what is next."""
        self._timer = None
        now = self.loop.time()
        for tick in sorted(tick for tick in self._ending if tick * TICK_SECONDS <= now):
            for limit in self._ending.pop(tick):
                limit.expire()
        if self._ending:
            self._arm(min(self._ending))


class _Latest(threading.local):
    """The wheel of the loop that asked last in this thread, which has one loop; limits of another one keep theirs."""

    wheel: _Wheel | None = None


_latest = _Latest()


class Limit:
    """A time limit on a block; see the module.

    Args:
        seconds: how long; None for as long as it takes, unless it is told to `expire`.
    """

    __slots__ = ("_cancelling", "_expired", "_is_on", "_seconds", "_task", "_tick", "_until_seconds", "_wheel")

    _task: asyncio.Task[object]
    _tick: int
    _until_seconds: float
    _wheel: _Wheel

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._expired = False
        self._is_on = False
        self._tick = _NEVER

    def expired(self) -> bool:
        """Tell whether the time was up before the block ended."""
        return self._expired

    def expire(self) -> None:
        """End the block now, as if its time were up; one that has ended already is left alone."""
        if self._is_on and not self._expired:
            self._wheel.remove(self, self._tick)
            self._expired = True
            self._task.cancel()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let no time go by for this limit while the block runs, which is within the limit's own."""
        if self._expired or self._seconds is None:
            yield
            return
        self._wheel.remove(self, self._tick)
        left_seconds = max(self._until_seconds - self._wheel.loop.time(), 0.0)
        try:
            yield
        finally:
            if not self._expired:
                self._begin(left_seconds)

    def _begin(self, seconds: float) -> None:
        wheel = self._wheel
        self._until_seconds = wheel.loop.time() + seconds
        self._tick = wheel.add(self, self._until_seconds)

    def __enter__(self) -> Self:
        wheel = _latest.wheel
        # To be told which loop runs is a call of the system in CPython 3.11; whether this one does, is none.
        task = asyncio.current_task(wheel.loop) if wheel is not None else None
        if wheel is None or task is None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a limit is set within a task")
            wheel = _latest.wheel = _Wheel(task.get_loop())
        self._wheel = wheel
        self._task = task
        self._cancelling = task.cancelling()
        self._is_on = True
        if self._seconds is not None:
            self._begin(self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_on = False
        if not self._expired:
            self._wheel.remove(self, self._tick)
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


#: Limits a block.
within = Limit
