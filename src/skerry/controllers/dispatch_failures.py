"""Tells of runs that failed for good, to whom they name: their dead letters.

Owns `Run.status.deadLetter`. Does not own when a run has failed for good (`dispatch_runs`).

Invariant: a dead letter is a run whose name follows from the failed run's, and is told of in the failed run's status
once it is on disk; so a crash between the two, or another process that looks too, begins it once. It has no dead letter
of its own, so failures never go round in a circle.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import Counter

from skerry.api import dispatch_v1 as api
from skerry.api.dispatch_calls import run_name, run_of
from skerry.api.dispatch_events import Event, Subscription, own_event
from skerry.api.dispatch_failures import DeadLetter, FailureTarget
from skerry.api.dispatch_traces import trace_of
from skerry.api.dispatch_v1 import Function, Run, RunSpec, check_payload
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.model import Document, ObjectMeta, to_document
from skerry.client.client import Client
from skerry.client.informer import Informer, Key
from skerry.controllers.dispatch_events import Submit, run_for
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.logs import get_logger
from skerry.kit.tasks import KeyedWorkers

log = get_logger(__name__)
DEAD_LETTERS = Counter(
    "skerry_function_dead_letters_total",
    "Runs that failed for good and name who is to be told: begun, or undeliverable.",
    ["namespace", "function", "result"],
)

#: The type of the event that tells of a failed run.
FAILED_TYPE = "dev.skerry.dispatch.run.failed"
#: Dead letters that are begun at once.
CONCURRENCY = 8
#: How often a dead letter is tried again, as for a subscription that says nothing else.
RETRIES = 3


class DeadLetterController:
    """Begins dead letters; `running()` is its life.

    Args:
        client: reads and writes.
        runs: the cache of runs.
        submit: stores runs; what is refused is tried again.
        clock: stamps events.
    """

    def __init__(self, client: Client, runs: Informer[Run], submit: Submit, clock: Clock) -> None:
        self._client = client
        self._runs = runs
        self._submit = submit
        self._clock = clock
        self._turns = KeyedWorkers[Key]("dispatch-dead-letters", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Begin dead letters for the length of the block."""
        self._runs.on_change(self._look_at)
        try:
            yield
        finally:
            await self._turns.stop()

    def _look_at(self, key: Key) -> None:
        run = self._runs.get(key[1], key[0])
        if run is not None and _is_to_be_told(run):
            self._turns.add(key)

    async def reconcile(self, key: Key) -> None:
        """Tell of one run, if it is to be told of."""
        namespace, name = key
        run = await self._client.find(Run, name, namespace=namespace)
        if run is None or not _is_to_be_told(run) or (target := run.spec.on_failure) is None:
            return
        letter = await self._letter(run, target)
        if isinstance(letter, Run):
            try:
                await self._submit(letter)
            except AlreadyExists:
                log.info("dead letter was begun before", run=name)
            told = DeadLetter(run=letter.name)
        else:
            log.warning("nobody is there to be told of a failed run", run=name, reason=letter)
            told = DeadLetter(reason=letter)
        try:
            await self._client.change_status(run, lambda found: setattr(found.status, "dead_letter", told))
        except NotFound:
            return  # deleted meanwhile
        result = "begun" if told.run else "undeliverable"
        DEAD_LETTERS.labels(namespace, run.spec.function_name, result).inc()

    async def _letter(self, run: Run, target: FailureTarget) -> Run | str:
        """Return the run that tells of a failed one, or why there is none."""
        name, event = run_name("dead-letter", run.uid), self._event(run)
        namespace = run.namespace
        if target.subscription is None:
            function = await self._client.find(Function, target.function or "", namespace=namespace)
            if function is None:
                return f"function {target.function} not found"
            spec = RunSpec(
                function_name=function.name,
                input=event.data,
                event=event.shown,
                retries=RETRIES,
                dead_letter_of=run.name,
                trace=event.trace,
            )
            return run_of(function, spec, ObjectMeta(name=name, namespace=namespace))
        subscription = await self._client.find(Subscription, target.subscription, namespace=namespace)
        if subscription is None:
            return f"subscription {target.subscription} not found"
        function = await self._client.find(Function, subscription.spec.function, namespace=namespace)
        return run_for(subscription, function, event, name, dead_letter_of=run.name)

    def _event(self, run: Run) -> Event:
        """Return the event of a failure; its data is what is known of the run."""
        spec, status = run.spec, run.status
        data: Document = {
            "run": run.name,
            "functionName": spec.function_name,
            "error": to_document(status.error) if status.error else None,
            "reason": status.reason,
            "attempts": status.attempts,
            "event": spec.event,
            "input": spec.input,
        }
        try:
            check_payload(data)
        except ValueError:
            data["input"] = data["event"] = None  # the failed run still has them
        source = f"/namespaces/{run.namespace}/functions/{spec.function_name}"
        time = rfc3339(self._clock.now())
        trace = trace_of(status.traceparent or "", spec.trace.tracestate if spec.trace else "")
        return own_event(FAILED_TYPE, source=source, event_id=run.name, time=time, data=data, trace=trace)


def _is_to_be_told(run: Run) -> bool:
    spec, status = run.spec, run.status
    failed = status.state == api.ERROR and not spec.cancelled
    return failed and spec.on_failure is not None and spec.dead_letter_of is None and status.dead_letter is None
