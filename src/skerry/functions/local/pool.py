"""The warm instances of one deployment: which one a run goes to, be they processes or something else.

Where calls are short, an instance has the next messages at hand, and few instances are full rather than many woken.
Where one takes longer than the last ones did, what waits behind it goes to another instance after two looks.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from skerry.functions.draining import GoingOn
from skerry.functions.errors import SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.local.message_queue import NotBegun
from skerry.functions.local.warm import WarmInstance, WarmInstances
from skerry.functions.messages import (
    ERROR_KEY,
    SECONDS_KEY,
    CallStart,
    Context,
    Logs,
    Message,
    logs_of,
    start_of,
    told,
)

#: Of a short call: one instance answers more of these than a control plane asks for, some 2,000/s.
SHORT_SECONDS_MAX = 0.0005
#: Of the last call in the share of long ones: a single one, or a process that lost its core, is no reason to spread.
_NEWEST_SHARE = 1 / 8
#: How often instances with messages at hand are looked at: one that has answered none since has a long call.
LOOK_SECONDS = 0.025


@dataclass(frozen=True)
class PoolSettings:
    """Bounds of one deployment's instances.

    Attributes:
        processes_max: runs at once, each in an instance: for most runtimes a process.
        waiting_max: runs that wait for an instance.
    """

    processes_max: int = 4
    waiting_max: int = 1000


class TooManyRuns(SystemError):
    """A run was refused since too many of its function wait already."""


class FunctionInstance(WarmInstance, Protocol):
    """What has loaded a function and runs one message at a time."""

    @property
    def is_alive(self) -> bool:
        """Whether another message may be sent: it has not ended of itself."""
        ...

    @property
    def calls_max(self) -> int:
        """Messages that it takes before it has answered: one, or more where it has the others at hand meanwhile."""
        ...

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer; what is printed goes to the logs as it comes.

        After an exception, `is_alive` tells whether the instance is of use.

        Raises:
            NotBegun: the message was taken back, and may go to another instance.
            FunctionError: the answer is too large, or none.
            SystemError: the message is too large, or the instance ended.
        """
        ...

    def withdraw(self) -> None:
        """Take back the messages that have not begun: their calls end with NotBegun."""
        ...


@dataclass
class _Use:
    """What an instance does.

    Attributes:
        instance: which one.
        calls: messages that it has.
        answered: so many it has answered since it began to be in use.
        seen: of these, at the last look.
        answered_seconds: when it answered last, by the monotonic clock.
        is_ending: it is of no use any more.
    """

    instance: FunctionInstance
    calls: int = 0
    answered: int = 0
    seen: int = -1
    answered_seconds: float = 0.0
    is_ending: bool = False


class InstancePool:
    """Runs messages in instances that stay for the next one, the last used first."""

    def __init__(
        self, start: Callable[[], Awaitable[FunctionInstance]], settings: PoolSettings, warm: WarmInstances
    ) -> None:
        """Make a pool without an instance.

        Args:
            start: starts one more instance.
            settings: its bounds.
            warm: says how long instances stay.
        """
        self._warm = warm
        self._start = start
        self._settings = settings
        self._waiting: deque[asyncio.Future[_Use | None]] = deque()
        self._runs = GoingOn()
        self._closed = False
        #: Those that wait for a run, the last used last.
        self._idle: dict[WarmInstance, FunctionInstance] = {}
        #: Those that have a message, the first that began first.
        self._busy: dict[FunctionInstance, _Use] = {}
        self._starting = 0
        self._long_share = 1.0
        self._looking: asyncio.TimerHandle | None = None

    async def warm(self) -> None:
        """Start an instance ahead of the first run.

        Raises:
            FunctionError: the function does not load.
            SystemError: it does not start.
        """
        self._keep(await self._start())

    async def run(self, context: Context, payload: object) -> object:
        """Run a message; the context's logs have what it printed, whether it failed or not, and its start how it came.

        A run that is cancelled, or whose instance fails, takes its instance with it.

        Raises:
            TooManyRuns: `waiting_max` wait already.
            InvocationError: the run failed.
        """
        waiting = len(self._runs) - self._settings.processes_max
        if waiting >= self._settings.waiting_max:
            raise TooManyRuns(f"{waiting} runs of this function wait already, and more may not")
        start = start_of(context)
        self._runs.begin()
        try:
            return await self._answered(context, payload, start)
        finally:
            self._runs.end()

    async def _answered(self, context: Context, payload: object, start: CallStart) -> object:
        logs, was_withdrawn = logs_of(context), False
        while True:
            use = await self._turn(start, is_first=was_withdrawn) or await self._start_for(start)
            try:
                answer = await self._call(use, Message(told(context), payload), logs, start)
            except NotBegun:
                was_withdrawn = True
                continue
            if error := error_of(answer.context.get(ERROR_KEY)):
                raise error
            return answer.payload

    async def _turn(self, start: CallStart, *, is_first: bool) -> _Use | None:
        """Wait for a place in an instance, or to start one, which is None.

        Args:
            start: is told how long that was.
            is_first: whether it is before the others who wait.
        """
        if not self._waiting and self._has_place():
            return self._place()
        turn: asyncio.Future[_Use | None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if is_first else self._waiting.append)(turn)
        self._hand_out()
        since_seconds = time.monotonic()
        try:
            with start.held_up():
                return await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif turn.done() and not turn.cancelled():
                await self._give_back(turn.result())
            raise
        finally:
            start.waited_seconds += time.monotonic() - since_seconds

    async def _give_back(self, use: _Use | None) -> None:
        """Let go of a place that was given to one who is gone."""
        if use is None:
            self._starting -= 1
            self._hand_out()
        elif self._leave(use):
            await self._end(use)

    def _hand_out(self) -> None:
        """Give places to those who wait."""
        while self._waiting and self._has_place():
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(self._place())

    def _has_place(self) -> bool:
        has_more = self._idle or len(self._busy) + self._starting < self._settings.processes_max
        return bool(has_more) or self._with_room() is not None

    def _with_room(self) -> FunctionInstance | None:
        """Return a busy instance in which a message would begin soon."""
        if self._long_share < 1 / 2:
            for instance, use in self._busy.items():
                if use.calls < instance.calls_max and instance.is_alive and not use.is_ending:
                    return instance
        return None

    def _place(self) -> _Use | None:
        """Take a place: in a busy instance, in the one that was idle last, or in one that is to be started, None."""
        instance = self._with_room()
        if instance is None and self._idle:
            _, instance = self._idle.popitem()
            self._warm.take(instance)
        if instance is None:
            self._starting += 1
            return None
        use = self._busy.get(instance)
        if use is None:
            use = self._busy[instance] = _Use(instance)
        use.calls += 1
        return use

    async def _start_for(self, start: CallStart) -> _Use:
        start.cold_starts += 1
        try:
            with start.held_up():
                instance = await self._start()
            use = self._busy[instance] = _Use(instance, calls=1)
        finally:
            self._starting -= 1
            self._hand_out()
        return use

    async def _call(self, use: _Use, message: Message, logs: Logs, start: CallStart) -> Message:
        sent_seconds = time.monotonic()
        if use.calls > 1 and self._looking is None:
            self._look_later()
        try:
            answer = await use.instance.call(message, logs)
            start.waited_seconds += max(use.answered_seconds - sent_seconds, 0.0)
            use.answered_seconds = time.monotonic()
            use.answered += 1
            if isinstance(seconds := answer.context.get(SECONDS_KEY), float):
                self._long_share += ((seconds > SHORT_SECONDS_MAX) - self._long_share) * _NEWEST_SHARE
        finally:
            if self._leave(use):
                await self._end(use)
        return answer

    def _leave(self, use: _Use) -> bool:
        """Give back a place; returns whether the instance is of no use, and to be ended by this first who leaves it."""
        use.calls -= 1
        ends = False
        if use.instance.is_alive and (use.calls or not self._closed):
            if not use.calls:
                del self._busy[use.instance]
                self._keep(use.instance)
        elif not use.is_ending:
            use.is_ending = ends = True
        self._hand_out()
        return ends

    async def _end(self, use: _Use) -> None:
        try:
            await use.instance.kill()
        finally:
            del self._busy[use.instance]
            self._hand_out()

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Take back what waits behind long calls, and look again later where there are messages at hand."""
        self._looking = None
        for instance, use in self._busy.items():
            if use.calls > 1 and not use.is_ending:
                if use.answered == use.seen:
                    self._long_share = 1.0
                    instance.withdraw()
                elif self._looking is None:
                    self._look_later()
            use.seen = use.answered

    def _keep(self, instance: FunctionInstance) -> None:
        self._idle[instance] = instance
        self._warm.keep(instance, self._forget)

    def _forget(self, instance: WarmInstance) -> None:
        del self._idle[instance]

    async def close(self) -> None:
        """Let the runs that are here end, for `DRAIN_SECONDS_MAX`, and end all instances that are idle then.

        One that is cancelled waits for no run, and ends the idle ones all the same; those that run end with their runs.
        """
        self._closed = True
        try:
            await self._runs.drained()
        finally:
            if self._looking is not None:
                self._looking.cancel()
            await self._end_idle()

    async def _end_idle(self) -> None:
        while self._idle:
            _, instance = self._idle.popitem()
            self._warm.take(instance)
            await instance.kill()
