"""From a request to its answer: the revision's instance is called, and what went wrong becomes a response.

Owns what the function's log is told of that, and runs of scheduled handlers (`/__skerry/scheduled`). Does not own
sockets or threads; it says when a request is about to wait or to take long, so that the event loop does not wait.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from skerry.engine.code import Code, read_code
from skerry.engine.concurrent_instance import ConcurrentInstance
from skerry.engine.errors import CallError, EngineError, FailureKind, LoadError
from skerry.engine.exchange import Exchange, Peer, PeerGoneError
from skerry.engine.fetching import Fetcher
from skerry.engine.host import JavaScriptEngine
from skerry.engine.http1 import Request, RequestError, error_bytes, reply_parts
from skerry.engine.instances import (
    FunctionInstance,
    FunctionLog,
    PooledInstance,
    RevisionInstance,
    StreamingInstance,
    Surroundings,
)
from skerry.engine.invocation import Invocation, abandoned
from skerry.engine.key_values import KeyValues
from skerry.engine.kv_operations import FunctionKeyValues
from skerry.engine.leadership import Leadership
from skerry.engine.leases import Lease
from skerry.engine.manifest import REQUEST_BODY_BYTES_MAX_DEFAULT, FunctionManifest, read_manifest
from skerry.engine.measures import LOG_LIMIT, SUBREQUESTS_LIMIT, Use, WorkerMeasures
from skerry.engine.open_calls import SLOW_NS, OpenCall
from skerry.engine.pool import InstancePool, PoolLimits
from skerry.engine.readiness import Readiness
from skerry.engine.refusals import kind_of, refused, status_of
from skerry.engine.scheduled import SCHEDULED_TARGET, ScheduledCall
from skerry.engine.worker_endpoints import WorkerEndpoints

#: How long what was given to `ctx.waitUntil` may go on after the answer, as in Workers; or `runtime.timeout`.
WAIT_UNTIL_SECONDS_MAX = 30.0
_ERROR_LEVEL = 3
_MEMORY_SHARE = "the worker's functions need more memory than they may take together, and this one has over its share"
_SCHEDULED = SCHEDULED_TARGET.encode()


T = TypeVar("T")


class Answer(NamedTuple):
    """What a request is answered with.

    Attributes:
        parts: the whole response; mostly in one.
        work: what is left to be done: to be called once the response is on its way, since nobody waits for it. It holds
            the instance.
        waits_for: there is no response yet: `go_on` of this call returns what comes next, once it `is_due`.
    """

    parts: tuple[bytes, ...]
    work: "Callable[[], Answer] | None" = None
    waits_for: OpenCall | None = None


class Called(NamedTuple, Generic[T]):
    """What a call came to: its result, the status that it is counted under, and the instance if work is left in it."""

    result: T
    status: int
    busy: FunctionInstance | ConcurrentInstance | None = None


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker has once, for all of its functions."""

    engine: JavaScriptEngine
    cache_dir: Path
    logs: FunctionLog
    fetcher: Fetcher
    key_values: KeyValues | None
    leadership: Leadership
    readiness: Readiness[OpenCall] | None = None


class FunctionServer:
    """Answers requests with functions; called from many threads.

    Args:
        parts: of the worker.
        functions_dir: of the manifests.
        limits: of the instances.
    """

    def __init__(self, parts: WorkerParts, functions_dir: Path, *, limits: PoolLimits) -> None:
        self._engine = parts.engine
        self._cache_dir = parts.cache_dir
        self._functions_dir = functions_dir
        self.logs = parts.logs
        self._fetcher = parts.fetcher
        self.key_values = parts.key_values
        self._leadership = parts.leadership
        self._step_aside = parts.leadership.hand_over
        self._readiness = parts.readiness
        self.measures = WorkerMeasures()
        self.pool = InstancePool(functions_dir, self._load, self._start, limits=limits, before_wait=self._step_aside)
        self._endpoints = WorkerEndpoints(self.measures, self.pool, self._gauges)

    def streams(self, revision: str) -> bool:
        """Tell whether a revision's requests are answered while they arrive."""
        return self.pool.streams(revision)

    def answer(self, request: Request, peer: Peer) -> Answer:
        """Answer one request.

        Args:
            request: whose head has arrived.
            peer: has the rest of it, and takes what is sent before the answer is whole.
        """
        try:
            if request.revision:
                return self._answered(request, request.revision, peer)
            if request.target != _SCHEDULED:
                return Answer((self._endpoints.answer(request),))
            return self._run(request, peer)
        except PeerGoneError:
            peer.abandon()
            return Answer(())
        except (EngineError, RequestError) as error:
            return Answer((refused(request, error),))

    def _answered(self, request: Request, revision: str, peer: Peer) -> Answer:
        use = Use(revision)
        lease = self._lend(use, request.headers, together=True)
        instance = lease.instance
        try:
            if not isinstance(instance, ConcurrentInstance):
                called = self._called_alone(lease, request, peer, request.head_lines())
            else:
                if request.pieces or not request.is_whole:  # it began to arrive before the revision was known
                    Exchange(request, peer, lease.manifest, self._step_aside).collect()
                message = request.head_lines(), request.body
                lease.call = instance.begin((request.headers, 0), message, lease.manifest.timeout_seconds)
        except BaseException as error:
            self._end(lease, use, error)
            raise
        if lease.call is not None:
            return self._answered_together(request, lease, lease.call, use)
        work = self._ended(lease, use, called)
        return Answer(called.result, None if work is None else partial(_worked, work))

    def _answered_together(self, request: Request, lease: Lease, call: OpenCall, use: Use) -> Answer:
        """Answer with what a call has come to, or have it waited for."""
        if not call.is_answered:
            call.go_on = partial(self._answered_together, request, lease, call, use)
            return Answer((), waits_for=call)
        try:
            answer = call.result()
            parts = reply_parts(request, answer.status, answer.head, answer.body)
        except CallError as error:
            self._end(lease, use, error)
            return Answer((refused(request, error),))
        use.status = answer.status
        lease.goes_on = answer.work_left
        self._end(lease, use)
        return Answer(parts, partial(self._settle_together, lease, call) if answer.work_left else None)

    def _called_alone(self, lease: Lease, request: Request, peer: Peer, head: bytes) -> Called[tuple[bytes, ...]]:
        """Have a request answered by an instance that has no other, on this thread."""
        instance, manifest = lease.instance, lease.manifest
        if isinstance(instance, StreamingInstance):
            return self._stream(lease, instance, head, Exchange(request, peer, manifest, self._step_aside))
        if request.pieces or not request.is_whole:
            Exchange(request, peer, manifest, self._step_aside).collect()
        reply = instance.handle(head, request.body, manifest.timeout_seconds)
        return Called(
            reply_parts(request, reply.status, reply.head, reply.body),
            reply.status,
            instance if reply.work_left else None,
        )

    def call(
        self, use: Use, headers: Sequence[bytes], ask: Callable[[Lease], Called[T]]
    ) -> tuple[T, Callable[[], CallError | None] | None]:
        """Lend an instance for one call, and count it; the calling thread waits for what it waits for.

        Args:
            use: of which revision; what was used is noted there.
            headers: of the request, for `Invocation.begin`.
            ask: makes the call.

        Returns:
            What the call came to, and what the function left to be done, if it did; that returns how it failed.

        Raises:
            EngineError: there is no such result; the function's log has the reason.
            RequestError, PeerGoneError: whatever else `ask` raises.
        """
        lease = self._lend(use, headers)
        try:
            called = ask(lease)
        except BaseException as error:
            self._end(lease, use, error)
            raise
        return called.result, self._ended(lease, use, called)

    def _lend(self, use: Use, headers: Sequence[bytes], *, together: bool = False) -> Lease:
        """Lend an instance for one call, maybe together with others; `_end` must follow."""
        use.began = time.perf_counter()
        try:
            lease = self.pool.lease(use.revision, together=together)
        except EngineError as error:
            self._count(use, error)
            raise
        use.function = lease.manifest.function
        lease.instance.invocation.begin(headers)
        if lease.revision.is_slow:
            self._step_aside()
        return lease

    def _ended(self, lease: Lease, use: Use, called: Called[T]) -> Callable[[], CallError | None] | None:
        """End a call that has come to something; returns what is left to be done."""
        use.status = called.status
        lease.goes_on = called.busy is not None
        self._end(lease, use)
        return None if called.busy is None else partial(self._settle, lease, called.busy)

    def _end(self, lease: Lease, use: Use, error: BaseException | None = None) -> None:
        """Note what a call used, and count it; the instance goes back, unless work is left in it."""
        use.cpu_ns, use.subrequests = lease.used
        lease.revision.is_slow = use.cpu_ns > SLOW_NS
        if use.subrequests > lease.manifest.subrequests_max:
            self.measures.met(use.function, SUBREQUESTS_LIMIT)
        if error is not None and isinstance(error, CallError):
            self._tell(lease.manifest, error, lease.request_id)
            if isinstance(lease.instance, ConcurrentInstance) and lease.instance.is_dead:
                lease.be_alone()
        lease.end(keep=error is None)
        self._count(use, error)

    def _count(self, use: Use, error: BaseException | None) -> None:
        if error is not None and isinstance(error, EngineError | RequestError):
            use.status = status_of(error)
            use.function = use.function or self._function_of(use.revision)
            self.measures.failed(kind_of(error), use.function)
        if use.function:
            self.measures.answered(use, time.perf_counter() - use.began)

    def _function_of(self, revision: str | None) -> str:
        """Return the function of a revision that is loaded; "" for any other."""
        manifest = self.pool.manifest(revision) if revision else None
        return manifest.function if manifest else ""

    def body_bytes_max(self, revision: str | None) -> int:
        """Return how long the body of a request to a revision may be."""
        manifest = self._manifest_of(revision)
        return manifest.request_body_bytes_max if manifest else REQUEST_BODY_BYTES_MAX_DEFAULT

    def _manifest_of(self, revision: str | None) -> FunctionManifest | None:
        """Return a revision's manifest, loaded or not; None where there is none: a whole request is told why."""
        if revision is None:
            return None
        try:
            return self.pool.manifest(revision) or read_manifest(self._functions_dir, revision)
        except EngineError:
            return None

    def refuse(self, error: RequestError) -> bytes:
        """Answer what is no request, or one that may not be; the connection ends after it."""
        manifest = self._manifest_of(error.revision)
        self.measures.failed(error.kind, manifest.function if manifest else "")
        if manifest:
            use = Use(manifest.revision, manifest.function)
            use.status = error.status
            self.measures.answered(use, 0.0)
        return error_bytes(None, error.status, error.kind, error.message)

    def _run(self, request: Request, peer: Peer) -> Answer:
        """Run a scheduled handler, with what it gives to `ctx.waitUntil`: the node wants to know how it all ended."""
        scheduled = ScheduledCall.read(request.body)
        self._step_aside()
        ask = partial(self._called_alone, request=request, peer=peer, head=scheduled.head)
        parts, work = self.call(Use(scheduled.revision), request.headers, ask)
        error = work() if work else None
        return Answer(parts) if error is None else Answer((refused(request, error),))

    def _stream(
        self, lease: Lease, instance: StreamingInstance, head: bytes, exchange: Exchange
    ) -> Called[tuple[bytes, ...]]:
        """Have a request answered piece by piece; raises CallError where the answer has not begun."""
        try:
            instance.answer(head, exchange, lease.manifest.timeout_seconds)
        except CallError as error:
            if not exchange.has_begun:
                raise
            self._tell(lease.manifest, error, instance.invocation.request_id)
            self.measures.failed(error.kind, lease.manifest.function)
            lease.discard()
            if not exchange.is_answered:
                exchange.abort()
        return Called((), exchange.status)

    def _settle(self, lease: Lease, instance: FunctionInstance | ConcurrentInstance) -> CallError | None:
        """Have an instance do what is left, on this thread."""
        before = lease.used
        try:
            instance.settle(_settling_seconds(lease))
        except CallError as error:
            return self._settled(lease, before, error)
        return self._settled(lease, before)

    def _settle_together(self, lease: Lease, call: OpenCall) -> Answer:
        """Have a call do what it has left, beside others."""
        before = lease.used
        call.extend(_settling_seconds(lease))
        call.go_on = partial(self._settled_together, lease, call, before)
        return call.go_on() if call.is_over else Answer((), waits_for=call)

    def _settled_together(self, lease: Lease, call: OpenCall, before: tuple[int, int]) -> Answer:
        self._settled(lease, before, call.take_failure() if call.has_failed else None)
        return Answer(())

    def _settled(self, lease: Lease, before: tuple[int, int], error: CallError | None = None) -> CallError | None:
        """Note what was used since; returns the error."""
        use = Use(lease.manifest.revision, lease.manifest.function)
        use.cpu_ns, use.subrequests = [now - then for now, then in zip(lease.used, before, strict=True)]
        if error is not None:
            self._tell(lease.manifest, error, lease.request_id, within="in ctx.waitUntil: ")
            self.measures.failed(error.kind, use.function)
        lease.goes_on = False
        lease.end(keep=error is None)
        self.measures.settled(use)
        return error

    def _tell(self, manifest: FunctionManifest, error: CallError, request_id: str = "", *, within: str = "") -> None:
        text = within + "\n".join(filter(None, (error.message, error.stack.strip("\n"))))
        self.logs.write(manifest, _ERROR_LEVEL, text.encode(), request_id)

    def _load(self, revision: str) -> tuple[FunctionManifest, Code]:
        self._step_aside()
        manifest = read_manifest(self._functions_dir, revision)
        try:
            wasm = manifest.artifact.read_bytes()
        except OSError as error:
            raise LoadError(f"the code of revision {revision!r} cannot be read", stack=str(error)) from error
        return manifest, read_code(self._engine, wasm, self._cache_dir)

    def _start(self, manifest: FunctionManifest, code: Code) -> RevisionInstance:
        self._step_aside()

        self.measures.started(manifest.function)
        invocation = Invocation()
        try:
            fetcher = self._fetcher.of(manifest.function) if manifest.may_fetch else None
            store = self.key_values if manifest.has_kv else None
            kept = FunctionKeyValues(store, manifest.kv_namespace) if store else None
            surroundings = Surroundings(
                partial(self._log, manifest, invocation),
                fetcher,
                kept,
                partial(self._before_wait, manifest, invocation),
                partial(self._measure, manifest, invocation),
                invocation=invocation,
                readiness=self._readiness,
            )
            return code.start(manifest, surroundings)
        except LoadError as error:
            self._tell(manifest, CallError(FailureKind.LOAD, error.message, stack=error.stack))
            raise

    def _log(self, manifest: FunctionManifest, invocation: Invocation, level: int, message: bytes) -> None:
        if not self.logs.write(manifest, level, message, invocation.request_id):
            self.measures.met(manifest.function, LOG_LIMIT)

    def _before_wait(self, manifest: FunctionManifest, invocation: Invocation, instance: PooledInstance) -> None:
        self._step_aside()
        self._measure(manifest, invocation, instance)

    def _measure(self, manifest: FunctionManifest, invocation: Invocation, instance: PooledInstance) -> None:
        if invocation.is_abandoned:
            instance.stop(abandoned())
        elif self.pool.measure(instance, manifest.function):
            instance.stop(CallError(FailureKind.OVERLOADED, _MEMORY_SHARE))

    def _gauges(self) -> dict[str, int]:
        leadership, fetches = self._leadership.statistics(), self._fetcher.statistics()
        return {**leadership, **fetches, "log_lines_dropped_total": self.logs.dropped_lines}


def _worked(work: Callable[[], object]) -> Answer:
    work()
    return Answer(())


def _settling_seconds(lease: Lease) -> float:
    return min(lease.manifest.timeout_seconds, WAIT_UNTIL_SECONDS_MAX)
