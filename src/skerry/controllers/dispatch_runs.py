"""Runs the functions of dispatch.skerry.dev: those that wait in the log, and those whose caller waits.

Owns `Run.status`. Does not own what a run goes through (`functions.Runner`).

A run that waits is claimed by compare-and-swap before it is begun, with a lease that is renewed while it goes on; so
of several processes one runs it, and what a process had begun when it died is begun again by another: at least once,
and `status.attempts` says how often. A run whose caller waits is this process' own, and recorded at its end.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import Counter, Histogram

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import Function, Run, RunClaim, RunError, RunLogs, RunStatus, is_finished
from skerry.api.durations import parse_seconds
from skerry.api.errors import ApiError, Conflict, NotFound, TooManyRequests
from skerry.api.model import to_document
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.client.transport import Target
from skerry.controllers.dispatch_bindings import read_binding, read_secret
from skerry.controllers.dispatch_run_logs import RunLogFollowing
from skerry.functions import (
    FaaSDriver,
    FunctionExecution,
    InputError,
    InvocationError,
    Runner,
    Schemas,
    SystemError,  # noqa: A004 - see functions.errors
    secret_injector,
    service_injector,
)
from skerry.functions.local.pool import TooManyRuns
from skerry.functions.messages import DEADLINE_KEY, EVENT_KEY, HTTP_CONTEXT_KEY, LOGS_KEY, Context
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.ids import Ids
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, Wakeup, background, keep_running

log = get_logger(__name__)

RUNS = Counter("skerry_function_runs_total", "Attempts of runs that ended.", ["namespace", "function", "result"])
RUN_SECONDS = Histogram("skerry_function_run_seconds", "How long an attempt took.", ["namespace", "function"])
QUEUE_SECONDS = Histogram("skerry_function_queue_seconds", "From the request to the first attempt.")

#: Runs of this process that were taken from the log and go on at once.
RUNS_AT_ONCE = 64
#: How long a claim holds unless it is renewed: so long a dead process' runs wait to be taken over.
LEASE_SECONDS = 10.0
#: How often a run is begun again because the process that ran it ended; a run that kills its process must not for ever.
TAKEOVERS_MAX = 3
#: Runs of one function that wait in the log.
WAITING_RUNS_MAX = 10_000
#: What those are told who come when there are as many.
RETRY_AFTER_SECONDS = 1
#: The longest wait between two attempts.
BACKOFF_SECONDS_MAX = 3600.0
#: How long finished runs are kept, and how many of one function.
KEPT_SECONDS = 7 * 86400.0
KEPT_RUNS_MAX = 1000
TRIM_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    output: Any
    logs: RunLogs
    error: InvocationError | None


#: Stores a run with its status: one that is over when it is first written.
RecordRun = Callable[[Run], Awaitable[Run]]


class DispatchRunController:
    """Executes runs; `running()` is its life.

    Args:
        client: reads and writes.
        runs: the cache of runs.
        functions: the cache of functions.
        driver: where functions run.
        record: stores a run that is over.
        clock: for leases, deadlines and times.
        ids: names this process, and runs.

    Attributes:
        following: has runs followed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its whole surroundings
        self,
        client: Client,
        runs: Informer[Run],
        functions: Informer[Function],
        driver: FaaSDriver,
        record: RecordRun,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._client = client
        self._runs = runs
        self.following = RunLogFollowing(client, runs)
        self._functions = functions
        self._driver = driver
        self._record = record
        self._clock = clock
        self._ids = ids
        self._holder = ids.uid()
        self._attempts: dict[Key, asyncio.Task[Outcome]] = {}
        #: The runs that wait or go on, by their function; and of each, its function.
        self._unfinished: dict[Key, set[Key]] = {}
        self._function_of: dict[Key, Key] = {}
        self._turns = KeyedWorkers[Key]("dispatch-runs", self.reconcile, concurrency=RUNS_AT_ONCE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Execute runs for the length of the block."""
        self._runs.on_change(self._look_at)
        self._functions.on_change(self._look_at_runs_of)
        async with background(("dispatch-runs:trim", self._run)):
            try:
                yield
            finally:
                await self._turns.stop()

    def _look_at(self, key: Key) -> None:
        run = self._runs.get(key[1], key[0])
        if (run is None or run.spec.cancelled) and (attempt := self._attempts.get(key)):
            attempt.cancel()
        if run is None or is_finished(run):
            self._forget(key)
            return
        function = (run.namespace, run.spec.function_name)
        self._function_of[key] = function
        self._unfinished.setdefault(function, set()).add(key)
        self._turns.add(key)

    def _forget(self, key: Key) -> None:
        if function := self._function_of.pop(key, None):
            unfinished = self._unfinished[function]
            unfinished.discard(key)
            if not unfinished:
                del self._unfinished[function]

    def _look_at_runs_of(self, function: Key) -> None:
        for key in self._unfinished.get(function, ()):
            self._turns.add(key)

    async def reconcile(self, key: Key) -> None:
        """Begin one run, if it is due and nobody else's."""
        namespace, name = key
        run = await self._client.find(Run, name, namespace=namespace)
        if run is None or is_finished(run):
            return
        with suppress(NotFound):  # it was deleted meanwhile, which ends it
            if run.spec.cancelled:
                await self._finish(run, SystemError("the run was cancelled"))
            elif (seconds := self._seconds_to_wait(run)) > 0:
                asyncio.get_running_loop().call_later(seconds, self._turns.add, key)
            else:
                await self._begin(key, run)

    def _seconds_to_wait(self, run: Run) -> float:
        """Tell how long another one's claim holds, or how long it is until the next attempt."""
        claim = run.status.claim
        times = [claim.until if claim else None, run.status.not_before]
        until = max((from_rfc3339(time) for time in times if time), default=self._clock.now())
        return (until - self._clock.now()).total_seconds()

    async def _begin(self, key: Key, run: Run) -> None:
        function = await self._client.find(Function, run.spec.function_name, namespace=run.namespace)
        if function is None:
            await self._finish(run, None, f"Error getting function from store: '{run.spec.function_name}': not found")
            return
        if function.status.faas_id is None:
            if function.status.state == api.ERROR:
                await self._finish(run, None, f"function {function.name} is not READY")
            return  # its next change brings another turn
        if run.status.attempts > run.spec.retries + TAKEOVERS_MAX:
            message = f"the run was begun {run.status.attempts} times, and each time the process that ran it ended"
            await self._finish(run, SystemError(message))
            return
        claimed = await self._claim(run, function)
        if claimed is None:
            return
        if claimed.status.attempts == 1 and run.metadata.creation_timestamp:
            waited = self._clock.now() - from_rfc3339(run.metadata.creation_timestamp)
            QUEUE_SECONDS.observe(max(waited.total_seconds(), 0.0))
        outcome = await self._attempt(key, claimed, function)
        if outcome is not None:
            await self._end_attempt(claimed, outcome)

    async def _claim(self, run: Run, function: Function) -> Run | None:
        """Take a run by compare-and-swap; None where another one was quicker."""
        run = run.model_copy(deep=True)
        status = run.status
        status.state, status.claim, status.not_before = api.CREATING, self._lease(), None
        status.attempts += 1
        _give(run, function)
        target = Target(api.RUN, run.namespace, run.name, "status")
        try:
            return Run.model_validate(await self._client.transport.replace(target, to_document(run)), by_name=False)
        except Conflict:
            return None

    def _lease(self) -> RunClaim:
        return RunClaim(holder=self._holder, until=rfc3339(self._clock.now() + dt.timedelta(seconds=LEASE_SECONDS)))

    async def _attempt(self, key: Key, run: Run, function: Function) -> Outcome | None:
        """Execute a claimed run, renewing the claim; None where it was cancelled or deleted, or this process stops."""
        async with asyncio.TaskGroup() as group:
            attempt = group.create_task(self._executed(run, function))
            renewing = group.create_task(self._renew(run))
            self._attempts[key] = attempt
            try:
                await asyncio.wait([attempt])
            finally:
                renewing.cancel()
                attempt.cancel()
                del self._attempts[key]
        if not attempt.cancelled():
            return attempt.result()
        present = await self._client.find(Run, run.name, namespace=run.namespace)
        if present is not None and present.spec.cancelled:
            await self._finish(present, SystemError("the run was cancelled"))
        return None

    async def _renew(self, run: Run) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                run = await self._client.change_status(run, lambda found: setattr(found.status, "claim", self._lease()))
            except NotFound:
                return  # it was deleted, which ends the attempt
            except ApiError as error:
                log.warning("a claim could not be renewed", run=run.name, error=error.public)

    async def _end_attempt(self, run: Run, outcome: Outcome) -> None:
        error, status = outcome.error, run.status
        if error is None or isinstance(error, InputError) or status.attempts > run.spec.retries:
            await self._client.change_status(run, lambda found: self._tell(found, outcome))
            return
        delay = min(parse_seconds(run.spec.backoff) * 2 ** (status.attempts - 1), BACKOFF_SECONDS_MAX)
        due = rfc3339(self._clock.now() + dt.timedelta(seconds=delay))

        def tell_retry(found: Run) -> None:
            found.status.state, found.status.claim, found.status.not_before = api.INITIALIZED, None, due
            found.status.error, found.status.reason = _described(error), [_reason(found, error.message)]
            found.status.logs = outcome.logs

        await self._client.change_status(run, tell_retry)

    async def _finish(self, run: Run, error: InvocationError | None, reason: str = "") -> None:
        """End a run that does not come to another attempt."""
        message = reason or (error.message if error else "")

        def tell(found: Run) -> None:
            self._tell(found, Outcome(None, found.status.logs or RunLogs(), error))
            found.status.state, found.status.reason = api.ERROR, [message]

        await self._client.change_status(run, tell)

    def _tell(self, run: Run, outcome: Outcome) -> None:
        error, status = outcome.error, run.status
        status.state = api.ERROR if error else api.READY
        status.output, status.logs, status.error = outcome.output, outcome.logs, _described(error) if error else None
        status.reason = [_reason(run, error.message)] if error else None
        status.claim, status.not_before, status.finished_time = None, None, rfc3339(self._clock.now())

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
        run.metadata.creation_timestamp = rfc3339(self._clock.now())
        run.status = RunStatus(attempts=1)
        _give(run, function)
        outcome = await self._executed(run, function)
        if isinstance(outcome.error, TooManyRuns):
            raise TooManyRequests(outcome.error.message, details={"retryAfterSeconds": RETRY_AFTER_SECONDS})
        self._tell(run, outcome)
        return await self._record(run)

    def require_room(self, namespace: str, function: str) -> None:
        """Refuse another run that waits where there are `WAITING_RUNS_MAX` of its function."""
        waiting = len(self._unfinished.get((namespace, function), ()))
        if waiting >= WAITING_RUNS_MAX:
            message = f"{waiting} runs of function {function} wait already, and no more than {WAITING_RUNS_MAX} may"
            raise TooManyRequests(message, details={"retryAfterSeconds": RETRY_AFTER_SECONDS})

    async def _executed(self, run: Run, function: Function) -> Outcome:
        execution = self._execution(run, function)
        runner = Runner(
            self._driver,
            secret_injector=secret_injector(partial(read_secret, self._client, run.namespace)),
            service_injector=service_injector(partial(read_binding, self._client, run.namespace)),
        )
        error: InvocationError | None = None
        output = None
        with (
            self.following.attempt((run.namespace, run.name), run.status.attempts) as logs,
            RUN_SECONDS.labels(run.namespace, function.name).time(),
        ):
            execution.context[LOGS_KEY] = logs
            try:
                output = await runner.run(execution, run.spec.input)
                api.check_payload(output)
            except InvocationError as raised:
                error = raised
            except ValueError as raised:
                error, output = SystemError(str(raised)), None
        RUNS.labels(run.namespace, function.name, error.type if error else "success").inc()
        return Outcome(output, RunLogs(stdout=logs.stdout or None, stderr=logs.stderr or None), error)

    def _execution(self, run: Run, function: Function) -> FunctionExecution:
        spec, wanted = function.spec, run.spec
        context: Context = {}
        if wanted.event:
            context[EVENT_KEY] = wanted.event
        if wanted.http_context:
            context[HTTP_CONTEXT_KEY] = wanted.http_context
        milliseconds = spec.timeout or api.TIMEOUT_MILLISECONDS_MAX
        if spec.timeout:
            context[DEADLINE_KEY] = rfc3339(self._clock.now() + dt.timedelta(milliseconds=milliseconds))
        schema = spec.function_schema
        return FunctionExecution(
            context,
            run_id=run.name,
            function_id=function.uid,
            faas_id=run.status.faas_id or "",
            schemas=Schemas(schema.in_, schema.out) if schema else Schemas(),
            secrets=tuple(run.status.secrets or ()),
            services=tuple(run.status.services or ()),
            timeout_seconds=milliseconds / 1000,
        )

    async def _run(self) -> None:
        await keep_running("dispatch-runs:trim", self.trim, wakeup=Wakeup(), resync_seconds=TRIM_SECONDS)

    async def trim(self) -> None:
        """Delete finished runs that are too old, or too many."""
        await self._runs.synced()
        before = rfc3339(self._clock.now() - dt.timedelta(seconds=KEPT_SECONDS))
        finished = [(run.status.finished_time or "", run) for run in self._runs if is_finished(run)]
        finished.sort(key=lambda pair: pair[0], reverse=True)
        kept: dict[Key, int] = {}
        for time, run in finished:
            function = (run.namespace, run.spec.function_name)
            kept[function] = kept.get(function, 0) + 1
            if time < before or kept[function] > KEPT_RUNS_MAX:
                await self._client.delete(run)


def _give(run: Run, function: Function) -> None:
    """Write down with which deployment, secrets and services a run is executed."""
    status, spec, wanted = run.status, function.spec, run.spec
    status.faas_id, status.function_id = function.status.faas_id, function.uid
    status.secrets = [*(spec.secrets or ()), *(wanted.secrets or ())] or None
    status.services = [*(spec.services or ()), *(wanted.services or ())] or None


def _described(error: InvocationError) -> RunError:
    return RunError(type=error.type, message=error.message, stacktrace=list(error.stacktrace) or None)


def _reason(run: Run, message: str) -> str:
    return f"error running function: {run.spec.function_name}: {message}"
