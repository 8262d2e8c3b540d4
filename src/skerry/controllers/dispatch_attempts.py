"""One attempt of a run: the function is called, and what came of it is told in the run's status.

Owns how a run's spec becomes an execution, and an outcome its status. Does not own which runs are attempted, when, and
how often (`dispatch_runs`), nor what an execution goes through (`functions.Runner`).
"""

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_v1 import Function, Run, RunError, RunLogs
from skerry.api.model import set_fields
from skerry.client.client import Client
from skerry.controllers.dispatch_metrics import RunMetrics
from skerry.controllers.dispatch_run_logs import RunLogFollowing
from skerry.functions import (
    FaaSDriver,
    FunctionError,
    FunctionExecution,
    InvocationError,
    NoDeployment,
    Runner,
    Schemas,
    secret_injector,
    service_injector,
)
from skerry.functions.injection import ServiceBinding
from skerry.functions.messages import (
    DEADLINE_KEY,
    EVENT_KEY,
    HTTP_CONTEXT_KEY,
    LOGS_KEY,
    START_KEY,
    TRACEPARENT_KEY,
    TRACESTATE_KEY,
    CallStart,
    Context,
    Logs,
    Runnable,
)
from skerry.kit.clock import Clock, rfc3339, rfc3339_milli
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.kit.trace_context import new_span

log = get_logger(__name__)

#: What executes functions, made ready: of so many, those that ran last.
RUNNABLES_REMEMBERED = 1024

#: How long a run waits for its function's deployment to be made anew where it is not there, and how often it looks: in
#: the process that leads now, it may never have been made.
REDEPLOYMENT_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.1
#: How often a run looks for its function's present deployment, where updates remove one after the other.
UPDATES_MAX = 10

#: Reads the values of a secret by its namespace and name; a KeyError says that there is none.
ReadSecret = Callable[[str, str], Awaitable[Mapping[str, str]]]
#: Reads the binding of a service instance, likewise.
ReadBinding = Callable[[str, str], Awaitable[ServiceBinding]]
#: Reads a function by its namespace and name; None where there is none.
ReadFunction = Callable[[str, str], Awaitable[Function | None]]
#: Has somebody look whether a function's deployment, by its namespace and name, is there.
LookAtFunction = Callable[[str, str], None]

#: Of most runs: shared by them, for logs are put in place of others, and never changed.
_NOTHING_PRINTED = RunLogs()
#: Of runs that have no room for what they printed.
_PRINTED_TOO_MUCH = RunLogs(
    stderr=["[what was printed is not kept: the run would be larger with it than one object may be]"]
)


@dataclass(frozen=True)
class Given:
    """Where what runs are given is read, and with which deployment; and who is told where that is not there."""

    secret: ReadSecret
    binding: ReadBinding
    function: ReadFunction
    look_at: LookAtFunction


class Outcome(NamedTuple):
    """What came of one attempt."""

    output: Any
    logs: RunLogs
    error: InvocationError | None


class Attempts:
    """Makes attempts of runs.

    Args:
        driver: where functions run.
        given: what is injected.
        following: is told what attempts print, as they print it.
        clock: for deadlines and times.

    Attributes:
        metrics: of runs and their attempts.
    """

    def __init__(self, driver: FaaSDriver, given: Given, following: RunLogFollowing, clock: Clock) -> None:
        self.metrics = RunMetrics()
        self._driver = driver
        self._given = given
        self._following = following
        self._clock = clock
        self._runnables: OrderedDict[tuple[object, ...], Runnable] = OrderedDict()

    def logs(self, run: Run) -> AbstractContextManager[Logs]:
        """Give what takes the lines of an attempt, and has them followed for the length of the block."""
        return self._following.attempt((run.namespace, run.name), run.status.attempts)

    async def make(self, run: Run, function: Function, logs: Logs, queued_seconds: float = 0.0) -> Outcome:
        """Execute a run that was `prepare`d; where an update removed its deployment, it is prepared for the next.

        Args:
            run: is told with which deployment it was executed.
            function: of the run.
            logs: take what it prints (see `logs`).
            queued_seconds: since the run was asked for.
        """
        error: InvocationError | None = None
        output = None
        metrics, start = self.metrics.of(run.namespace, function.name), CallStart()
        begun = self._clock.monotonic_seconds()
        try:
            output = await self._call(run, function, {LOGS_KEY: logs, START_KEY: start})
            api.check_payload(output)
        except InvocationError as raised:
            error = raised
        except ValueError as raised:
            error, output = FunctionError(f"the output can't be kept: {raised}"), None
        if run.status.attempts == 1:
            metrics.waited(queued_seconds + start.waited_seconds)
        metrics.attempted(start, self._clock.monotonic_seconds() - begun - start.waited_seconds, error)
        return Outcome(output, printed(logs), error)

    async def _call(self, run: Run, function: Function, ours: Context) -> Any:
        for _ in range(UPDATES_MAX):
            context = self._context(run, function) | ours
            try:
                return await self._runnable(run, function)(context, run.spec.input)
            except NoDeployment as error:
                gone = error
            newer = await self._next_deployment(run)
            if newer is None:
                break
            function = newer
            prepare(run, function)
        raise gone

    async def _next_deployment(self, run: Run) -> Function | None:
        """Return a run's function once it names another deployment than the run's, which is not there; None if never.

        Either an update is about to remove that one, or it was never made where functions run now.
        """
        name = run.namespace, run.spec.function_name
        self._given.look_at(*name)
        try:
            with within(REDEPLOYMENT_SECONDS_MAX):
                while (function := await self._given.function(*name)) and function.status.faas_id:
                    if function.status.faas_id != run.status.faas_id:
                        return function
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            log.warning("a function's deployment is not there", function=name[1], deployment=run.status.faas_id)
        return None

    def _context(self, run: Run, function: Function) -> Context:
        wanted, milliseconds = run.spec, function.spec.timeout
        context: Context = {}
        if wanted.event:
            context[EVENT_KEY] = wanted.event
        if wanted.http_context:
            context[HTTP_CONTEXT_KEY] = wanted.http_context
        context |= _trace(run)
        if milliseconds:
            context[DEADLINE_KEY] = rfc3339_milli(self._clock.now() + dt.timedelta(milliseconds=milliseconds))
        return context

    def _runnable(self, run: Run, function: Function) -> Runnable:
        """Return what executes a run: made once for all runs of a function that are given the same."""
        status, meta = run.status, function.metadata
        secrets, services = tuple(status.secrets or ()), tuple(status.services or ())
        key = meta.uid, meta.resource_version, status.faas_id, secrets, services
        known = self._runnables.pop(key, None)
        if known is None:
            known = self._new_runnable(run, function, secrets, services)
        self._runnables[key] = known
        if len(self._runnables) > RUNNABLES_REMEMBERED:
            self._runnables.popitem(last=False)
        return known

    def _new_runnable(
        self, run: Run, function: Function, secrets: tuple[str, ...], services: tuple[str, ...]
    ) -> Runnable:
        namespace, spec, schema = run.namespace, function.spec, function.spec.function_schema
        runner = Runner(
            self._driver,
            secret_injector=secret_injector(lambda name, _: self._given.secret(namespace, name)),
            service_injector=service_injector(lambda name, _: self._given.binding(namespace, name)),
        )
        execution = FunctionExecution(
            function_id=function.uid,
            faas_id=run.status.faas_id or "",
            schemas=Schemas(schema.in_, schema.out) if schema else Schemas(),
            secrets=secrets,
            services=services,
            timeout_seconds=(spec.timeout or api.TIMEOUT_MILLISECONDS_MAX) / 1000,
        )
        return runner.get_runnable(execution)

    def tell(self, run: Run, outcome: Outcome) -> None:
        """Write into a run's status how it ended."""
        error = outcome.error
        told = {
            "state": api.ERROR if error else api.READY,
            "output": outcome.output,
            "logs": outcome.logs,
            "error": described(error) if error else None,
            "reason": [reason(run, error.message)] if error else None,
            "claim": None,
            "not_before": None,
            "finished_time": rfc3339(self._clock.now()),
        }
        set_fields(run.status, told)


def shorten(run: Run) -> bool:
    """Leave something out of an outcome that is too large to be kept with its run; returns whether there was anything.

    What was printed goes first, as the run is as good without it; then the output, without which it has failed.
    """
    status = run.status
    if status.logs is not None and status.logs != _NOTHING_PRINTED and status.logs is not _PRINTED_TOO_MUCH:
        status.logs = _PRINTED_TOO_MUCH
    elif status.output is not None:
        error = FunctionError("the output can't be kept: the run would be larger with it than one object may be")
        told = {"state": api.ERROR, "output": None, "error": described(error), "reason": [reason(run, error.message)]}
        set_fields(status, told)
    else:
        return False
    return True


def printed(logs: Logs) -> RunLogs:
    """Return the lines of an attempt as a run's status has them."""
    if not (logs.stdout or logs.stderr):
        return _NOTHING_PRINTED
    return RunLogs(stdout=logs.stdout or None, stderr=logs.stderr or None)


async def read_function(client: Client, namespace: str, name: str) -> Function | None:
    """Return a function as it is stored now."""
    return await client.find(Function, name, namespace=namespace)


def prepare(run: Run, function: Function) -> None:
    """Write into a run's status with which deployment, secrets and services it is executed, and as which span."""
    status, spec, wanted = run.status, function.spec, run.spec
    given = {
        "faas_id": function.status.faas_id,
        "function_id": function.uid,
        "traceparent": status.traceparent or new_span(wanted.trace.traceparent if wanted.trace else None),
        "secrets": [*(spec.secrets or ()), *(wanted.secrets or ())] or None,
        "services": [*(spec.services or ()), *(wanted.services or ())] or None,
    }
    set_fields(status, given)


def _trace(run: Run) -> Context:
    """Return what a function is told of the trace that its run belongs to."""
    told = {TRACEPARENT_KEY: run.status.traceparent, TRACESTATE_KEY: run.spec.trace and run.spec.trace.tracestate}
    return {key: value for key, value in told.items() if value}


def described(error: InvocationError) -> RunError:
    """Return an error as a run's status carries it."""
    return RunError(type=error.type, message=error.message, stacktrace=list(error.stacktrace) or None)


def reason(run: Run, message: str) -> str:
    """Tell why a run failed, in Dispatch's words."""
    return f"error running function: {run.spec.function_name}: {message}"
