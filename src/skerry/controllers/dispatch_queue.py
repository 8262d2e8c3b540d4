"""The queue of runs that are not over, as every process knows it that shares the log.

Owns which runs wait or go on, how many may, and how a caller waits for a run that another process executes: it is
stored like any other, and its end wakes the caller. Does not own who executes a run, nor how (`dispatch_runs`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import Run, is_finished
from skerry.api.errors import ApiError, NotFound, ServiceUnavailable, TooManyRequests
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import Wakeup

log = get_logger(__name__)

#: Selects the runs that are not over; what is over needs no place in memory.
UNFINISHED = f"status.state!={api.READY},status.state!={api.ERROR}"
#: Runs that wait in the log: of one function, and of all of them.
WAITING_RUNS_MAX = 10_000
ALL_WAITING_RUNS_MAX = 50_000
#: What those are told who come when there are as many.
RETRY_AFTER_SECONDS = 1
#: A caller looks at its run this often, in case that its end came and went unseen.
LOOK_SECONDS = 2.0
#: How long it may take to cancel a run whose caller went away.
CANCEL_SECONDS_MAX = 5.0

#: Stores a run with its status: a new one, or in place of the very state that was read. Raises Conflict, NotFound.
RecordRun = Callable[[Run], Awaitable[Run]]


@dataclass(frozen=True, slots=True)
class _Known:
    """A run that waits or goes on.

    Attributes:
        function: whose run it is.
        seen_seconds: when this process saw it first, on the monotonic clock: times that are kept have whole seconds.
    """

    function: Key
    seen_seconds: float


class RunQueue:
    """The runs that are not over.

    Args:
        client: reads and cancels runs.
        runs: the cache of the runs that are not over (`UNFINISHED`).
        record: stores runs.
        clock: tells how long runs wait.
    """

    def __init__(self, client: Client, runs: Informer[Run], record: RecordRun, clock: Clock) -> None:
        self._client = client
        self._runs = runs
        self._record = record
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._by_function: dict[Key, set[Key]] = {}
        self._listeners: list[Callable[[Key], None]] = []
        self._callers: dict[Key, set[Wakeup]] = {}
        runs.on_change(self._look_at)

    async def synced(self) -> None:
        """Wait until every run is known that is not over."""
        await self._runs.synced()

    def get(self, key: Key) -> Run | None:
        """Return a run that waits or goes on; None for one that is over. It is shared: copy before changing it."""
        return self._runs.get(key[1], key[0])

    def goes_on(self, key: Key) -> bool:
        """Tell whether a run is not over, as far as this process knows."""
        return key in self._known

    def runs_of(self, function: Key) -> Collection[Key]:
        """Return a function's runs that are not over."""
        return self._by_function.get(function, ())

    def seconds_here(self, key: Key) -> float:
        """Return for how long a run has been seen to wait or go on; zero for one that is not seen."""
        known = self._known.get(key)
        return self._clock.monotonic_seconds() - known.seen_seconds if known else 0.0

    @contextmanager
    def heard(self, listener: Callable[[Key], None]) -> Iterator[None]:
        """Call `listener` for each run that is there, comes, changes or ends, for the length of the block."""
        self._listeners.append(listener)
        try:
            for key in tuple(self._known):
                listener(key)
            yield
        finally:
            self._listeners.remove(listener)

    def statistics(self) -> dict[str, int]:
        """Return how many runs wait or go on, and how many callers wait here for one."""
        return {"unfinished": len(self._known), "callers": len(self._callers)}

    def _look_at(self, key: Key) -> None:
        run = self.get(key)
        if run is None:
            self._forget(key)
        elif key not in self._known:
            function = (run.namespace, run.spec.function_name)
            self._known[key] = _Known(function, self._clock.monotonic_seconds())
            self._by_function.setdefault(function, set()).add(key)
        for listener in self._listeners:
            listener(key)

    def _forget(self, key: Key) -> None:
        if known := self._known.pop(key, None):
            runs = self._by_function[known.function]
            runs.discard(key)
            if not runs:
                del self._by_function[known.function]
        for caller in self._callers.get(key, ()):
            caller.set()

    async def submit(self, run: Run) -> Run:
        """Store a run, to be executed in its turn; it is on disk when this returns.

        Args:
            run: complete and valid.

        Raises:
            TooManyRequests: `WAITING_RUNS_MAX` of its function wait, or `ALL_WAITING_RUNS_MAX`.
            AlreadyExists: there is a run of its name.
        """
        self._require_room((run.namespace, run.spec.function_name))
        return await self._record(run)

    def _require_room(self, function: Key) -> None:
        for count, most, whose in (
            (len(self.runs_of(function)), WAITING_RUNS_MAX, f"runs of function {function[1]}"),
            (len(self._known), ALL_WAITING_RUNS_MAX, "runs"),
        ):
            if count >= most:
                message = f"{count} {whose} wait already, and no more than {most} may"
                raise TooManyRequests(message, details={"retryAfterSeconds": RETRY_AFTER_SECONDS})

    async def execute(self, run: Run) -> Run:
        """Store a run whose caller waits, and return it at its end; where the caller goes away, it is cancelled.

        Args:
            run: complete and valid.

        Raises:
            TooManyRequests, AlreadyExists: as for `submit`.
            NotFound: it was deleted meanwhile.
        """
        with self._woken((run.namespace, run.name)) as caller:
            try:
                return await self._end_of(await self.submit(run), caller)
            except asyncio.CancelledError:
                await self._cancel(run)
                raise

    @contextmanager
    def _woken(self, key: Key) -> Iterator[Wakeup]:
        """Give what is set when a run ends, for the length of the block."""
        callers, caller = self._callers.setdefault(key, set()), Wakeup()
        callers.add(caller)
        try:
            yield caller
        finally:
            callers.discard(caller)
            if not callers:
                self._callers.pop(key, None)

    async def _end_of(self, run: Run, caller: Wakeup) -> Run:
        while True:
            await caller.wait(LOOK_SECONDS)
            try:
                found = await self._client.find(Run, run.name, namespace=run.namespace)
            except ServiceUnavailable:
                continue  # the run goes on: its caller would ask for another one
            if found is None:
                raise NotFound(f"run {run.name} was deleted before its end")
            if is_finished(found):
                return found

    async def _cancel(self, run: Run) -> None:
        def cancel(found: Run) -> None:
            found.spec.cancelled = found.spec.cancelled or not is_finished(found)

        try:
            with within(CANCEL_SECONDS_MAX):
                await self._client.change(run, cancel)
        except NotFound:
            return  # its caller went away before it was stored
        except (ApiError, TimeoutError) as error:
            log.warning("a run whose caller went away could not be cancelled", run=run.name, error=str(error))
