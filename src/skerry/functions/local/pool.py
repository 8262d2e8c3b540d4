"""The warm processes of one deployment."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from skerry.functions.errors import SystemError, error_of  # noqa: A004 - see errors
from skerry.functions.local.process import FunctionProcess
from skerry.functions.messages import ERROR_KEY, Context, Message, logs_of

#: How long the runs of a pool that closes may still take.
CLOSE_SECONDS_MAX = 30.0


@dataclass(frozen=True)
class PoolSettings:
    """Bounds of one deployment's processes.

    Attributes:
        processes_max: runs at once, each in a process.
        waiting_max: runs that wait for a process.
        idle_seconds: how long a process is kept for the next run.
    """

    processes_max: int = 4
    waiting_max: int = 1000
    idle_seconds: float = 300.0


class TooManyRuns(SystemError):
    """A run was refused since too many of its function wait already."""


class ProcessPool:
    """Runs messages in processes that stay for the next one, the last used first."""

    def __init__(self, start: Callable[[], Awaitable[FunctionProcess]], settings: PoolSettings) -> None:
        """Make a pool without a process.

        Args:
            start: starts one more process.
            settings: its bounds.
        """
        self._start = start
        self._settings = settings
        self._places = asyncio.Semaphore(settings.processes_max)
        self._waiting = 0
        self._running = 0
        self._closed = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._idle: list[tuple[FunctionProcess, asyncio.TimerHandle]] = []
        self._endings: set[asyncio.Task[None]] = set()

    async def warm(self) -> None:
        """Start a process ahead of the first run.

        Raises:
            FunctionError: the function does not load.
            SystemError: its process does not start.
        """
        self._keep(await self._start())

    async def run(self, context: Context, payload: object) -> object:
        """Run a message; the context's logs have what it printed, whether it failed or not.

        A run that is cancelled, or whose process fails, takes its process with it.

        Raises:
            TooManyRuns: `waiting_max` wait already.
            InvocationError: the run failed.
        """
        if self._waiting >= self._settings.waiting_max:
            raise TooManyRuns(f"{self._waiting} runs of this function wait already, and more may not")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        self._drained.clear()
        try:
            process = await self._take()
            return await self._run_in(process, context, payload)
        finally:
            self._places.release()
            self._running -= 1
            if not self._running and not self._waiting:
                self._drained.set()

    async def _run_in(self, process: FunctionProcess, context: Context, payload: object) -> object:
        try:
            answer = await process.call(Message({k: v for k, v in context.items() if k != "logs"}, payload))
        except BaseException:
            logs_of(context).extend(*process.take_printed())
            await process.kill()
            raise
        logs_of(context).extend(*process.take_printed())
        if self._closed:
            await process.kill()
        else:
            self._keep(process)
        if error := error_of(answer.context.get(ERROR_KEY)):
            raise error
        return answer.payload

    async def _take(self) -> FunctionProcess:
        if not self._idle:
            return await self._start()
        process, ending = self._idle.pop()
        ending.cancel()
        return process

    def _keep(self, process: FunctionProcess) -> None:
        ending = asyncio.get_running_loop().call_later(self._settings.idle_seconds, self._end, process)
        self._idle.append((process, ending))

    def _end(self, process: FunctionProcess) -> None:
        self._idle = [kept for kept in self._idle if kept[0] is not process]
        task = asyncio.get_running_loop().create_task(process.kill())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """Let the runs that are here end, for `CLOSE_SECONDS_MAX`, and end all processes that are idle then."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._drained.wait()
        idle, self._idle = self._idle, []
        for process, ending in idle:
            ending.cancel()
            await process.kill()
        if self._endings:
            await asyncio.wait(self._endings)
