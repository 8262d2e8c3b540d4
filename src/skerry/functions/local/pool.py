"""The warm instances of one deployment, be they processes or something else that takes one message at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from skerry.functions.draining import GoingOn
from skerry.functions.errors import SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.local.warm import WarmInstance, WarmInstances
from skerry.functions.messages import ERROR_KEY, CallStart, Context, Logs, Message, logs_of, start_of, told


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

    async def call(self, message: Message, logs: Logs) -> Message:
        """Send a message and wait for the answer; what is printed goes to the logs as it comes.

        After any exception the instance is of no use, and to be killed.

        Raises:
            FunctionError: the answer is too large, or none.
            SystemError: the message is too large, or the instance ended.
        """
        ...


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
        self._places = asyncio.Semaphore(settings.processes_max)
        self._waiting = 0
        self._runs = GoingOn()
        self._closed = False
        #: Those that wait for a run, the last used last.
        self._idle: dict[WarmInstance, FunctionInstance] = {}

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
        if self._waiting >= self._settings.waiting_max:
            raise TooManyRuns(f"{self._waiting} runs of this function wait already, and more may not")
        start = start_of(context)
        self._runs.begin()
        try:
            await self._turn(start)
            try:
                instance = await self._take() or await self._start_for(start)
                return await self._run_in(instance, context, payload)
            finally:
                self._places.release()
        finally:
            self._runs.end()

    async def _turn(self, start: CallStart) -> None:
        self._waiting += 1
        since_seconds = time.monotonic()
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
            start.waited_seconds += time.monotonic() - since_seconds

    async def _run_in(self, instance: FunctionInstance, context: Context, payload: object) -> object:
        try:
            answer = await instance.call(Message(told(context), payload), logs_of(context))
        except BaseException:
            await instance.kill()
            raise
        if self._closed:
            await instance.kill()
        else:
            self._keep(instance)
        if error := error_of(answer.context.get(ERROR_KEY)):
            raise error
        return answer.payload

    async def _start_for(self, start: CallStart) -> FunctionInstance:
        start.cold_starts += 1
        return await self._start()

    async def _take(self) -> FunctionInstance | None:
        while self._idle:
            _, instance = self._idle.popitem()
            self._warm.take(instance)
            if instance.is_alive:
                return instance
            await instance.kill()
        return None

    def _keep(self, instance: FunctionInstance) -> None:
        self._idle[instance] = instance
        self._warm.keep(instance, self._forget)

    def _forget(self, instance: WarmInstance) -> None:
        del self._idle[instance]

    async def close(self) -> None:
        """Let the runs that are here end, for `DRAIN_SECONDS_MAX`, and end all instances that are idle then."""
        self._closed = True
        await self._runs.drained()
        idle, self._idle = self._idle, {}
        for instance in idle.values():
            self._warm.take(instance)
            await instance.kill()
