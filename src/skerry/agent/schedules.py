"""Functions that run by the clock: what is due is claimed in the log, run by a worker, and told.

Owns `status.schedules` of functions, and the choice of the worker. Does not own when a schedule is due
(`api.function_schedules`) nor what a run is (`engine.scheduled`).

Invariants: a due time fires once at most, over restarts and however many nodes look: it is claimed in the function's
status, by compare-and-swap, before it fires. One schedule of a function never runs twice at once: the claim is held,
with a lease, until the run is over, and what is due meanwhile is passed over. Only who holds a claim tells what came of
the run; once its lease has ended, any node tells that the run was cut short, and takes what is due next. Only the live
revision runs, and only where the gateway routes to it.
"""

import datetime as dt
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx
import orjson
from prometheus_client import Counter

from skerry.api.claims import Claim, claimed, is_taken
from skerry.api.errors import ApiError, NotFound
from skerry.api.extensions_v1alpha2 import EdgeFunction, EdgeFunctionRevision
from skerry.api.function_schedules import Result, ScheduleStatus, adopted, are_adopted, last_due, next_due
from skerry.client.client import Client
from skerry.client.events import EventRecorder
from skerry.client.informer import Informer
from skerry.engine.scheduled import SCHEDULED_TARGET, ScheduledCall
from skerry.kit.clock import Clock, from_rfc3339, rfc3339
from skerry.kit.errors import SkerryError
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers, Wakeup, background, keep_running
from skerry.kit.tls import no_trust

log = get_logger(__name__)
RUNS = Counter("skerry_scheduled_runs_total", "Scheduled runs of functions.", ["result"])

#: How late a run may begin because nobody looked, and how often it is seen to that claims hold.
LOOK_SECONDS = 1.0
#: How long a claim holds unless it is renewed, as it is when half of it has passed: so long what a dead node ran stands
#: still.
LEASE_SECONDS = 20.0
#: Runs of all functions at once; further ones wait.
RUNS_MAX = 64
#: Beyond the function's own time, for what it gave to ctx.waitUntil: a worker that says nothing by then is gone.
MARGIN_SECONDS = 60.0
MESSAGE_CHARACTERS_MAX = 1024
INTERRUPTED = "the node that ran it was stopped, or could not be reached"


class RunError(SkerryError):
    """A run that did not succeed; the sentence says why."""


class Runner(Protocol):
    """What runs a function's handler."""

    async def run(self, call: ScheduledCall, *, timeout_seconds: float) -> None:
        """Run a handler to its end; raises RunError."""
        ...


class WorkerRunner:
    """Runs handlers in the engine workers of this node, by turns.

    Args:
        workers: a client of each.
    """

    def __init__(self, workers: Sequence[httpx.AsyncClient]) -> None:
        self._workers = itertools.cycle(workers)
        self._count = len(workers)

    async def run(self, call: ScheduledCall, *, timeout_seconds: float) -> None:
        """Run a handler to its end; a worker that can't be reached is passed over. Raises RunError."""
        for _ in range(self._count):
            try:
                answer = await next(self._workers).post(SCHEDULED_TARGET, content=call.body, timeout=timeout_seconds)
            except httpx.ConnectError:
                continue
            except httpx.HTTPError as error:
                raise RunError(f"the worker gave no answer: {error or type(error).__name__}") from error
            if answer.status_code != HTTPStatus.NO_CONTENT:
                raise RunError(_sentence(answer))
            return
        raise RunError("no engine worker can be reached")


@asynccontextmanager
async def worker_runner(sockets: Sequence[Path]) -> AsyncIterator[WorkerRunner]:
    """Be ready to reach the engine workers on these Unix sockets."""
    async with AsyncExitStack() as stack:
        clients = [
            httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=str(path), verify=no_trust()), base_url="http://worker"
            )
            for path in sockets
        ]
        yield WorkerRunner([await stack.enter_async_context(client) for client in clients])


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(orjson.loads(answer.content)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"the worker answered {answer.status_code}"


class _Run(NamedTuple):
    """A schedule of a function."""

    function: str
    cron: str
    time_zone: str


class Scheduler:
    """Fires the schedules of the functions that this node serves; `running()` is its life.

    Args:
        client: where claims and results are written.
        functions: the cache of EdgeFunctions.
        revisions: the cache of their revisions.
        runner: runs handlers.
        clock: says what is due.
        holder: names this node in its claims, unlike any other one and any earlier life of its own.
    """

    def __init__(
        self,
        client: Client,
        functions: Informer[EdgeFunction],
        revisions: Informer[EdgeFunctionRevision],
        runner: Runner,
        *,
        clock: Clock,
        holder: str,
    ) -> None:
        self._client = client
        self._functions = functions
        self._revisions = revisions
        self._runner = runner
        self._clock = clock
        self._holder = holder
        self._events = EventRecorder(client, "scheduler", clock)
        self._workers = KeyedWorkers("scheduled-runs", self._run, concurrency=RUNS_MAX)
        self._active: set[_Run] = set()
        #: When to look at a schedule again, by what it has fired until: to work it out costs 30 µs each.
        self._next: dict[_Run, tuple[str, dt.datetime | None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fire schedules for the length of the block."""
        looks = partial(keep_running, "schedules", self.turn, wakeup=Wakeup(), resync_seconds=LOOK_SECONDS)
        async with background(("schedules", looks)):
            try:
                yield
            finally:
                await self.stop()

    async def stop(self) -> None:
        """Cancel what runs; who looks once the claim has ended tells that it was interrupted."""
        await self._workers.stop()

    def statistics(self) -> dict[str, int]:
        """Return how many runs go on here, or wait for their place."""
        return {"runs": len(self._active)}

    async def turn(self) -> None:
        """Look at every schedule once: adopt those that are new, and fire those that are due."""
        await self._functions.synced()
        await self._revisions.synced()
        seen: set[_Run] = set()
        for function in list(self._functions):
            revision = self._live(function)
            if revision is None or not (revision.spec.schedules or function.status.schedules):
                continue
            wanted = [schedule.key for schedule in revision.spec.schedules or ()]
            if not are_adopted(wanted, function.status.schedules or (), self._clock.now()):
                await self._write(function, partial(_adopt, wanted, self._clock.now()))
                continue
            for status in function.status.schedules or ():
                run = _Run(function.name, *status.key)
                seen.add(run)
                await self._look(function, status, run)
        self._next = {run: until for run, until in self._next.items() if run in seen}

    def _live(self, function: EdgeFunction) -> EdgeFunctionRevision | None:
        name = function.status.live_revision
        if name is None or name != function.status.serving_revision or function.metadata.deletion_timestamp:
            return None
        revision = self._revisions.get(name)
        owners = revision.metadata.owner_references or () if revision else ()
        return revision if any(owner.uid == function.uid for owner in owners) else None

    async def _look(self, function: EdgeFunction, status: ScheduleStatus, run: _Run) -> None:
        now = self._clock.now()
        if status.last_result == "Running" and not await self._keep_claim(function, status.claim, run):
            return
        after, coming = self._next.get(run, ("", now))
        if after == status.fired_until and (coming is None or now < coming):
            return
        due = last_due(status, now)
        if due is None:
            self._next[run] = (status.fired_until, next_due(status.key, max(now, from_rfc3339(status.fired_until))))
        elif run not in self._active:
            self._active.add(run)
            self._workers.add(run)
        elif await self._write(function, partial(_pass_over, run, rfc3339(due))):
            RUNS.labels("skipped").inc()
            log.warning("schedule still runs, what is due is passed over", function=run.function, cron=run.cron)

    async def _keep_claim(self, function: EdgeFunction, claim: Claim | None, run: _Run) -> bool:
        """Renew the claim of a run that goes on here; tell that a run was cut short which goes on nowhere.

        Returns:
            Whether the run goes on here.
        """
        now = self._clock.now()
        if claim and claim.holder == self._holder and run in self._active:
            if claim.seconds_left(now) < LEASE_SECONDS / 2:
                await self._write(function, partial(_renew, run, claim, self._lease()))
            return True
        if not is_taken(claim, self._holder, now):
            await self._write(function, partial(_interrupt, run, claim))
        return False

    def _lease(self) -> Claim:
        return claimed(self._holder, self._clock.now(), lease_seconds=LEASE_SECONDS)

    async def _run(self, run: _Run) -> None:
        """Claim what is due, run it, and tell what came of it."""
        try:
            function = self._functions.get(run.function)
            status = _status_of(function, run) if function else None
            revision = self._live(function) if function else None
            due = last_due(status, self._clock.now()) if status else None
            if function is None or revision is None or due is None:
                return
            if taken := await self._write(function, partial(_take, run, rfc3339(due), self._lease())):
                await self._fire(taken, revision, run, due)
        finally:
            self._active.discard(run)

    async def _fire(self, function: EdgeFunction, revision: EdgeFunctionRevision, run: _Run, due: dt.datetime) -> None:
        result: Result = "Succeeded"
        message = None
        call = ScheduledCall(revision.name, run.cron, int(due.timestamp() * 1000))
        try:
            await self._runner.run(call, timeout_seconds=revision.spec.timeout_seconds + MARGIN_SECONDS)
        except RunError as error:
            result, message = "Failed", error.public[:MESSAGE_CHARACTERS_MAX]
            log.warning("scheduled run failed", function=run.function, cron=run.cron, reason=message)
            told = f"{run.cron} ({run.time_zone}), revision {call.revision}: {message}"
            await self._events.record(function, "Warning", "ScheduledRunFailed", told)
        RUNS.labels(result.lower()).inc()
        await self._write(function, partial(_finish, run, self._holder, result, message))

    async def _write(self, function: EdgeFunction, mutate: Callable[[EdgeFunction], bool]) -> EdgeFunction | None:
        """Change what is told of a function's schedules; returns it as it is then, None where nothing was changed."""
        changed = False

        def change(found: EdgeFunction) -> None:
            nonlocal changed
            changed = mutate(found)

        try:
            written = await self._client.change_status(function, change)
        except NotFound:
            return None  # deleted meanwhile
        except ApiError as error:
            log.warning("schedule not written, will be looked at again", function=function.name, error=error.public)
            return None
        return written if changed else None


def _status_of(function: EdgeFunction, run: _Run) -> ScheduleStatus | None:
    key = (run.cron, run.time_zone)
    return next((status for status in function.status.schedules or () if status.key == key), None)


def _adopt(wanted: Sequence[tuple[str, str]], now: dt.datetime, function: EdgeFunction) -> bool:
    """Tell of exactly the schedules that the live revision has."""
    function.status.schedules = adopted(wanted, function.status.schedules or (), now)
    return True


def _take(run: _Run, due: str, lease: Claim, function: EdgeFunction) -> bool:
    """Claim a due time, unless another one took it or a later one, or a run of the schedule goes on."""
    status = _status_of(function, run)
    if status is None or status.fired_until >= due or status.last_result == "Running":
        return False
    status.last_schedule_time, status.claim = due, lease
    status.last_result, status.last_message = "Running", None
    return True


def _pass_over(run: _Run, due: str, function: EdgeFunction) -> bool:
    """Take note of a due time at which the schedule still runs."""
    status = _status_of(function, run)
    if status is None or status.fired_until >= due:
        return False
    status.last_schedule_time = due
    return True


def _renew(run: _Run, held: Claim, lease: Claim, function: EdgeFunction) -> bool:
    status = _status_of(function, run)
    if status is None or status.claim != held:
        return False
    status.claim = lease
    return True


def _finish(run: _Run, holder: str, result: Result, message: str | None, function: EdgeFunction) -> bool:
    """Tell what came of a run, unless another node has told that it was cut short."""
    status = _status_of(function, run)
    if status is None or status.claim is None or status.claim.holder != holder:
        return False
    status.last_result, status.last_message, status.claim = result, message, None
    return True


def _interrupt(run: _Run, held: Claim | None, function: EdgeFunction) -> bool:
    """Tell that a run was cut short, unless its claim was renewed or it is over by now."""
    status = _status_of(function, run)
    if status is None or status.last_result != "Running" or status.claim != held:
        return False
    status.last_result, status.last_message, status.claim = "Interrupted", INTERRUPTED, None
    return True
