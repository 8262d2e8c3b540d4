"""Executes the runs of dispatch.skerry.dev: those that wait in the log, and those whose caller waits.

Owns which runs are attempted, when and how often. Does not own an attempt itself (`dispatch_attempts`), nor how long
finished runs are kept (`dispatch_retention`).

A run that waits is claimed by compare-and-swap before it is begun, with a lease that is renewed while it goes on; so
of several processes one runs it, and what a process had begun when it died is begun again by another: at least once,
and `status.attempts` says how often. Whoever holds the claim tells the outcome, and nobody else. A run whose caller
waits is this process' own, and recorded at its end.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from skerry.api import dispatch_v1 as api
from skerry.api.claims import Claim, claimed
from skerry.api.dispatch_calls import adopt
from skerry.api.dispatch_v1 import Function, Run, RunLogs, is_finished
from skerry.api.durations import parse_seconds
from skerry.api.errors import (
    ApiError,
    Conflict,
    InsufficientStorage,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    TooManyRequests,
)
from skerry.api.model import set_fields
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_attempts import Attempts, Outcome, described, prepare, printed, reason, shorten
from skerry.controllers.dispatch_queue import ALL_WAITING_RUNS_MAX, RETRY_AFTER_SECONDS, RecordRun, RunQueue
from skerry.functions import InputError, InvocationError, SystemError  # noqa: A004 - see functions.errors
from skerry.functions.local.pool import TooManyRuns
from skerry.kit.backoff import Backoff
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.deadlines import Limit, within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, Wakeup, background, keep_running

log = get_logger(__name__)

#: Selects the runs that failed.
FAILED = f"status.state={api.ERROR}"
#: Runs of this process that were taken from the log and go on at once.
RUNS_AT_ONCE = 64
#: How long a claim holds unless it is renewed: so long a dead process' runs wait to be taken over.
LEASE_SECONDS = 10.0
#: How often a run is begun again because the process that ran it ended; a run that kills its process must not for ever.
TAKEOVERS_MAX = 3
#: The longest wait between two attempts.
BACKOFF_SECONDS_MAX = 3600.0
#: The longest wait until an outcome that the log could not take is told again.
UNTOLD_SECONDS_MAX = LEASE_SECONDS / 2
#: How often the state of a run is told again because somebody else wrote it meanwhile.
RACES_MAX = 10


@dataclass
class Ongoing:
    """A run that goes on here.

    Attributes:
        run: as it was last written.
        end: expired, it cancels the attempt.
    """

    run: Run
    end: Limit


class DispatchRunController:
    """Executes runs; `running()` is its life.

    Args:
        client: reads.
        queue: the runs that are not over.
        functions: the cache of functions.
        attempts: makes attempts.
        record: writes runs.
        clock: for leases and times.
        holder: names this process in its claims; unique.
        alone: nobody else executes runs of this log, so a claim that is not ours is of a life before, and void.
    """

    def __init__(  # noqa: PLR0913 - its whole surroundings
        self,
        client: Client,
        queue: RunQueue,
        functions: Informer[Function],
        attempts: Attempts,
        *,
        record: RecordRun,
        clock: Clock,
        holder: str,
        alone: bool = False,
    ) -> None:
        self._client = client
        self.queue = queue
        self._functions = functions
        self._attempts = attempts
        self._record = record
        self._clock = clock
        self._holder = holder
        self._alone = alone
        self._ongoing: dict[Key, Ongoing] = {}
        #: The runs that wait for their places here, each with what ends its wait.
        self._queued: dict[Key, Limit] = {}
        #: Each run that is not over has a worker, which waits here for its turn; the eldest is first.
        self._places = asyncio.Semaphore(RUNS_AT_ONCE)
        self._function_places: dict[Key, tuple[int, asyncio.Semaphore]] = {}
        self._turns = KeyedWorkers[Key]("dispatch-runs", self.reconcile, concurrency=ALL_WAITING_RUNS_MAX)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Execute runs for the length of the block."""
        self._functions.on_change(self._look_at_runs_of)
        async with background(("dispatch-runs:renew", self._renew_for_ever)):
            try:
                with self.queue.heard(self._look_at):
                    yield
            finally:
                await self._turns.stop()

    def statistics(self) -> dict[str, int]:
        """Return how many runs wait or go on, how many callers wait, and how many runs go on here."""
        return {**self.queue.statistics(), "ongoing": len(self._ongoing)}

    def _look_at(self, key: Key) -> None:
        run = self.queue.get(key)
        if run is None or run.spec.cancelled:
            self._cut_off(key)
        if run is not None:
            self._turns.add(key)

    def _cut_off(self, key: Key) -> None:
        """End a run's wait for its places, or its attempt, where there is one."""
        ongoing = self._ongoing.get(key)
        end = ongoing.end if ongoing else self._queued.get(key)
        if end:
            end.expire()

    def _look_at_runs_of(self, function: Key) -> None:
        if self._functions.get(function[1], function[0]) is None:
            self._attempts.metrics.forget(*function)
            self._function_places.pop(function, None)
        for key in self.queue.runs_of(function):
            self._turns.add(key)

    async def reconcile(self, key: Key) -> None:
        """Begin one run, if it is due and nobody else's."""
        run = self.queue.get(key)
        if run is None:
            return
        if run.spec.cancelled:
            await self._fail(run, SystemError("the run was cancelled"))
        elif (seconds := self._seconds_to_wait(run)) > 0:
            self._turns.add_later(key, seconds)
        elif function := await self._callable(run):
            await self._begin_in_turn(key, function)

    async def _begin_in_turn(self, key: Key, function: Function) -> None:
        """Begin a run once there are places for it; one that is cancelled or deleted meanwhile waits no longer."""
        async with AsyncExitStack() as held:
            try:
                with within(None) as self._queued[key]:
                    for places in (self._places_of(function), self._places):
                        await held.enter_async_context(places)
            except TimeoutError:
                return  # what cut it off brings another turn
            finally:
                del self._queued[key]
            await self._begin(key, function)

    def _places_of(self, function: Function) -> asyncio.Semaphore:
        key, most = (function.namespace, function.name), function.spec.concurrency
        known = self._function_places.get(key)
        if known is None or known[0] != most:
            known = self._function_places[key] = most, asyncio.Semaphore(most)
        return known[1]

    def _seconds_to_wait(self, run: Run) -> float:
        """Tell how long another one's claim holds, or how long it is until the next attempt."""
        now, claim, due = self._clock.now(), run.status.claim, run.status.not_before
        is_void = claim is None or (self._alone and claim.holder != self._holder)
        held_seconds = 0.0 if claim is None or is_void else claim.seconds_left(now)
        due_seconds = (from_rfc3339(due) - now).total_seconds() if due else 0.0
        return max(held_seconds, min(due_seconds, BACKOFF_SECONDS_MAX))  # a clock may have been set back

    async def _callable(self, run: Run) -> Function | None:
        """Return a run's function if it can be called now; a run that never can be is ended."""
        function = self._functions.get(run.spec.function_name, run.namespace) or await self._client.find(
            Function, run.spec.function_name, namespace=run.namespace
        )
        if function is None:
            await self._fail(run, None, f"Error getting function from store: '{run.spec.function_name}': not found")
            return None
        if function.status.faas_id is None and function.status.state == api.ERROR:
            run = _changeable(run)
            adopt(run, function)
            await self._fail(run, None, f"function {function.name} is not READY")
            return None
        return function if function.status.faas_id else None  # its next change brings another turn

    async def _begin(self, key: Key, function: Function) -> None:
        run = self.queue.get(key)
        if run is None or run.spec.cancelled or self._seconds_to_wait(run) > 0:
            return  # while it waited for its turn; its change brings another one
        function = self._functions.get(function.name, function.namespace) or function
        if run.status.attempts > run.spec.retries + TAKEOVERS_MAX:
            message = f"the run was begun {run.status.attempts} times, and each time the process that ran it ended"
            await self._fail(run, SystemError(message))
            return
        claimed = await self._claim(run, function)
        if claimed is not None:
            await self._attempt(key, claimed, function)

    async def _claim(self, run: Run, function: Function) -> Run | None:
        """Take a run by compare-and-swap; None where another one was quicker."""
        claimed = _changeable(run)
        status = claimed.status
        status.state, status.claim, status.not_before = api.CREATING, self._lease(), None
        status.attempts += 1
        prepare(claimed, function)
        adopt(claimed, function)
        try:
            return await self._record(claimed)
        except (Conflict, NotFound):
            return None

    def _lease(self) -> Claim:
        return claimed(self._holder, self._clock.now(), lease_seconds=LEASE_SECONDS)

    async def _attempt(self, key: Key, run: Run, function: Function) -> None:
        """Execute a claimed run and tell its outcome; one that is cancelled or deleted meanwhile is cut off."""
        outcome: Outcome | None = None
        run = _changeable(run)
        try:
            with self._attempts.logs(run) as logs, within(None) as end:
                self._ongoing[key] = Ongoing(run, end)
                outcome = await self._attempts.make(run, function, logs, self._queued_seconds(key, run))
        except TimeoutError:
            if not end.expired():
                raise
        finally:
            run = self._ongoing.pop(key).run
        if outcome is None:
            await self._fail(run, SystemError("the run was cancelled"), logs=printed(logs))
        else:
            await self._end_attempt(run, outcome)

    def _queued_seconds(self, key: Key, run: Run) -> float:
        """Return how long ago a run was asked for: as long as it is known here, or longer, by whole seconds."""
        created = run.metadata.creation_timestamp
        since = (self._clock.now() - from_rfc3339(created)).total_seconds() if created else 0.0
        return max(self.queue.seconds_here(key), since - 1.0)

    async def _renew_for_ever(self) -> None:
        await keep_running("dispatch-runs:renew", self.renew, wakeup=Wakeup(), resync_seconds=LEASE_SECONDS / 3)

    async def renew(self) -> None:
        """Renew the claim of every run that goes on here."""
        for ongoing in tuple(self._ongoing.values()):
            renewed = _changeable(ongoing.run)
            renewed.status.claim = self._lease()
            try:
                ongoing.run = await self._record(renewed)
            except (Conflict, NotFound):
                continue  # it was cancelled, deleted or taken over, of which its cache tells
            except ApiError as error:
                log.warning("a claim could not be renewed", run=ongoing.run.name, error=error.public)

    async def _end_attempt(self, run: Run, outcome: Outcome) -> None:
        error, attempts = outcome.error, run.status.attempts
        if isinstance(error, TooManyRuns):
            await self._put_back(run)
            return
        may_be_retried = not run.spec.blocking and attempts <= run.spec.retries  # who waits is told at once
        if error is None or isinstance(error, InputError) or not may_be_retried:
            await self._end(run, lambda found: self._attempts.tell(found, outcome))
            return
        due = self._after(min(parse_seconds(run.spec.backoff) * 2 ** (attempts - 1), BACKOFF_SECONDS_MAX))

        def tell_retry(found: Run) -> None:
            status = found.status
            status.state, status.claim, status.not_before = api.INITIALIZED, None, due
            status.error, status.reason = described(error), [reason(found, error.message)]
            status.logs = outcome.logs

        await self._change(run, tell_retry)

    async def _put_back(self, run: Run) -> None:
        """Let a run wait on that was not begun: so many callers wait for its function that there was no place."""
        due = self._after(RETRY_AFTER_SECONDS)

        def tell(found: Run) -> None:
            status = found.status
            status.state, status.claim, status.not_before = api.INITIALIZED, None, due
            status.attempts -= 1

        await self._change(run, tell)

    def _after(self, seconds: float) -> str:
        return rfc3339(self._clock.now() + dt.timedelta(seconds=seconds))

    async def _fail(
        self, run: Run, error: InvocationError | None, why: str = "", *, logs: RunLogs | None = None
    ) -> None:
        """End a run that does not come to another attempt; without new lines it keeps those of its last one."""
        message = why or (error.message if error else "")

        def tell(found: Run) -> None:
            self._attempts.tell(found, Outcome(None, logs or found.status.logs or RunLogs(), error))
            found.status.state, found.status.reason = api.ERROR, [message]

        await self._end(run, tell)

    async def _end(self, run: Run, tell: Callable[[Run], None]) -> None:
        ended = await self._change(run, tell)
        if ended is not None:
            is_there = self._functions.get(run.spec.function_name, run.namespace) is not None
            self._attempts.metrics.of(run.namespace, run.spec.function_name if is_there else "").ended(ended)

    async def _change(self, run: Run, tell: Callable[[Run], None]) -> Run | None:
        """Write what is told into a run, whoever else writes; nothing into one that is over, gone or taken over."""
        holder = run.status.claim and run.status.claim.holder
        for _ in range(RACES_MAX):
            changed = _changeable(run)
            tell(changed)
            try:
                return await self._record_in_the_end(changed)
            except NotFound:
                return None
            except Conflict as conflict:
                last = conflict
            found = await self._client.find(Run, run.name, namespace=run.namespace)
            if found is None or is_finished(found) or (found.status.claim and found.status.claim.holder) != holder:
                return None
            run = found
        raise last

    async def _record_in_the_end(self, run: Run) -> Run:
        """Write a run, as often as the log takes it: what was done is not to be done twice because a disk is full."""
        backoff = Backoff(first_seconds=0.5, max_seconds=UNTOLD_SECONDS_MAX)
        while True:
            try:
                return await self._record_outcome(run)
            except (InsufficientStorage, ServiceUnavailable, TooManyRequests) as error:
                log.warning("the outcome of a run could not be written", run=run.name, error=error.public)
            await asyncio.sleep(backoff.next_seconds())

    async def _record_outcome(self, run: Run) -> Run:
        """Write a run with its outcome, or with as much of that as one object of the log takes."""
        while True:
            try:
                return await self._record(run)
            except RequestEntityTooLarge:
                if not shorten(run):
                    raise
                log.warning("the outcome of a run is too large to be kept whole", run=run.name)

    async def run_now(self, function: Function, run: Run) -> Run:
        """Execute a run whose caller waits, and record it; where the caller goes away, so does the run.

        Args:
            function: a function that can be run.
            run: complete and valid, but for its status.

        Returns:
            The run as it is stored: READY with its output, or ERROR.

        Raises:
            TooManyRequests: too many runs of the function wait already.
        """
        set_fields(run.metadata, {"creation_timestamp": rfc3339(self._clock.now())})
        set_fields(run.status, {"attempts": 1})
        prepare(run, function)
        with self._attempts.logs(run) as logs:
            outcome = await self._attempts.make(run, function, logs)
        if isinstance(outcome.error, TooManyRuns):
            raise TooManyRequests(outcome.error.message, details={"retryAfterSeconds": RETRY_AFTER_SECONDS})
        self._attempts.tell(run, outcome)
        ended = await self._record_outcome(run)
        self._attempts.metrics.of(run.namespace, function.name).ended(ended)
        return ended


def _changeable(run: Run) -> Run:
    """Copy what may change of a run; the rest is shared."""
    return run.model_copy(update={"metadata": run.metadata.model_copy(), "status": run.status.model_copy()})
