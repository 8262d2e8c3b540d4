"""From a request to its answer: the revision's instance is called, and what went wrong becomes a response.

Owns: the mapping of failures to status codes, the function's log of them, and the worker's own endpoints
(`/__skerry/health`, `/__skerry/metrics`, `/__skerry/functions` and `/__skerry/scheduled`, for requests that name no
revision). Does not own sockets or threads; it says when a request is about to wait or to take long, so that the event
loop does not wait.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import orjson

from skerry.engine.code import Code, read_code
from skerry.engine.errors import (
    CallError,
    ConcurrencyError,
    EngineError,
    FailureKind,
    LoadError,
    OverloadedError,
    UnknownRevisionError,
)
from skerry.engine.exchange import Exchange, Peer, PeerGoneError
from skerry.engine.fetching import Fetcher
from skerry.engine.host import JavaScriptEngine
from skerry.engine.http1 import Request, RequestError, checked_head, error_bytes, response_bytes, response_parts
from skerry.engine.instances import (
    FunctionInstance,
    PooledInstance,
    Reply,
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
from skerry.engine.pool import InstancePool, PoolLimits
from skerry.engine.scheduled import SCHEDULED_TARGET, ScheduledCall

#: How long what was given to `ctx.waitUntil` may go on after the answer, as in Workers; or `runtime.timeout`.
WAIT_UNTIL_SECONDS_MAX = 30.0
#: A revision whose last call computed longer than this is called beside the event loop, not inside of it.
SLOW_NS = 3_000_000

_STATUS = {
    FailureKind.TRAP: 500,
    FailureKind.EXCEPTION: 500,
    FailureKind.MEMORY: 500,
    FailureKind.CPU_TIME: 500,
    FailureKind.TIMERS: 500,
    FailureKind.RESPONSE_TOO_LARGE: 500,
    FailureKind.LOAD: 500,
    FailureKind.BAD_RESPONSE: 500,
    FailureKind.TIMEOUT: 504,
    FailureKind.CONCURRENCY: 429,
    FailureKind.OVERLOADED: 503,
    FailureKind.BODY_TOO_LARGE: 413,
    FailureKind.UNKNOWN_REVISION: 404,
    FailureKind.ABANDONED: 499,
}
_ERROR_LEVEL = 3
_MEMORY_SHARE = "the worker's functions need more memory than they may take together, and this one has over its share"
_HEALTH, _METRICS, _FUNCTIONS = b"/__skerry/health", b"/__skerry/metrics", b"/__skerry/functions"
_SCHEDULED = SCHEDULED_TARGET.encode()


T = TypeVar("T")


class Answer(NamedTuple):
    """What a request is answered with.

    Attributes:
        parts: the whole response; mostly in one.
        work: what the function left to `ctx.waitUntil`; to be called once the response is on its way, since nobody
            waits for it. It holds the instance, and returns how it failed, if it did.
    """

    parts: tuple[bytes, ...]
    work: Callable[[], CallError | None] | None = None


class Called(NamedTuple, Generic[T]):
    """What a call came to: its result, the status that it is counted under, and the instance if work is left in it."""

    result: T
    status: int
    busy: FunctionInstance | None = None


class FunctionLog(Protocol):
    """Takes what functions say; called from many threads.

    Attributes:
        dropped_lines: how many it did not keep.
    """

    dropped_lines: int

    def write(self, manifest: FunctionManifest, level: int, message: bytes, request_id: str = "") -> bool:
        """Take one line (see `log_writer`); False where it was dropped instead."""
        ...

    def sweep(self) -> None:
        """Tell of what was dropped; called every second."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker has once, for all of its functions."""

    engine: JavaScriptEngine
    cache_dir: Path
    logs: FunctionLog
    fetcher: Fetcher
    key_values: KeyValues | None
    leadership: Leadership


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
        self.measures = WorkerMeasures()
        self.pool = InstancePool(functions_dir, self._load, self._start, limits=limits, before_wait=self._step_aside)

    def streams(self, revision: str) -> bool:
        """Tell whether a revision's requests are answered while they arrive."""
        return self.pool.streams(revision)

    def answer(self, request: Request, peer: Peer) -> Answer:
        """Answer one request.

        Args:
            request: whose head has arrived.
            peer: has the rest of it, and takes what is sent before the answer is whole.
        """
        if request.revision is None and request.target != _SCHEDULED:
            return Answer((self._own_endpoint(request),))
        try:
            if request.revision:
                return self._answered(request, request.revision, request.head_lines(), peer)
            return self._run(request, peer)
        except PeerGoneError:
            peer.abandon()
            return Answer(())
        except (EngineError, RequestError) as error:
            return Answer((error_bytes(request, status_of(error), kind_of(error), sentence_of(error)),))

    def _answered(self, request: Request, revision: str, head: bytes, peer: Peer) -> Answer:
        def ask(lease: Lease) -> "Called[tuple[bytes, ...]]":
            instance, manifest = lease.instance, lease.manifest
            if isinstance(instance, StreamingInstance):
                return self._stream(lease, instance, head, Exchange(request, peer, manifest, self._step_aside))
            if request.pieces or not request.is_whole:  # it began to arrive before the revision was known
                Exchange(request, peer, manifest, self._step_aside).collect()
            reply = instance.handle(head, request.body, manifest.timeout_seconds)
            return Called(_written(request, reply), reply.status, instance if reply.work_left else None)

        return Answer(*self.call(Use(revision), request.headers, ask))

    def call(
        self, use: Use, headers: Sequence[bytes], ask: Callable[[Lease], Called[T]]
    ) -> tuple[T, Callable[[], CallError | None] | None]:
        """Lend an instance for one call, and count it.

        Args:
            use: of which revision; what was used is noted there.
            headers: of the request, for `Invocation.begin`.
            ask: makes the call.

        Returns:
            What the call came to, and what the function left to be done (`Answer.work`).

        Raises:
            EngineError: there is no such result; the function's log has the reason.
            RequestError, PeerGoneError: whatever else `ask` raises.
        """
        started = time.perf_counter()
        try:
            return self._call(use, headers, ask)
        except (EngineError, RequestError) as error:
            use.status = status_of(error)
            use.function = use.function or self._function_of(use.revision)
            self.measures.failed(kind_of(error), use.function)
            raise
        finally:
            if use.function:
                self.measures.answered(use, time.perf_counter() - started)

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
        call = ScheduledCall.read(request.body)
        self._step_aside()
        answer = self._answered(request, call.revision, call.head, peer)
        error = answer.work() if answer.work else None
        if error is None:
            return Answer(answer.parts)
        return Answer((error_bytes(request, _STATUS[error.kind], error.kind, error.message),))

    def _call(
        self, use: Use, headers: Sequence[bytes], ask: Callable[[Lease], Called[T]]
    ) -> tuple[T, Callable[[], CallError | None] | None]:
        with self.pool.lease(use.revision) as lease:
            instance, manifest = lease.instance, lease.manifest
            use.function = manifest.function
            instance.invocation.begin(headers)
            if lease.is_slow:
                self._step_aside()
            try:
                result, use.status, busy = ask(lease)
            except CallError as error:
                self._tell(manifest, error, instance.invocation.request_id)
                raise
            finally:
                self._note(lease, use)
            if busy is not None:
                lease.goes_on = True
                return result, lambda: self._settle(lease, busy)
        return result, None

    def _note(self, lease: Lease, use: Use) -> None:
        """Note what a call used."""
        use.cpu_ns = lease.instance.cpu_ns
        lease.is_slow = use.cpu_ns > SLOW_NS
        use.subrequests = lease.instance.invocation.subrequests
        if use.subrequests > lease.manifest.subrequests_max:
            self.measures.met(use.function, SUBREQUESTS_LIMIT)

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

    def _settle(self, lease: Lease, instance: FunctionInstance) -> CallError | None:
        manifest = lease.manifest
        use = Use(manifest.revision, manifest.function)
        before = instance.invocation.subrequests
        with lease:
            try:
                instance.settle(min(manifest.timeout_seconds, WAIT_UNTIL_SECONDS_MAX))
            except CallError as error:
                lease.discard()
                self._tell(manifest, error, instance.invocation.request_id, within="in ctx.waitUntil: ")
                self.measures.failed(error.kind, manifest.function)
                return error
            finally:
                use.cpu_ns, use.subrequests = instance.cpu_ns, instance.invocation.subrequests - before
                self.measures.settled(use)
        return None

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

        def log(level: int, message: bytes) -> None:
            if not self.logs.write(manifest, level, message, invocation.request_id):
                self.measures.met(manifest.function, LOG_LIMIT)

        def before_wait(instance: PooledInstance) -> None:
            self._step_aside()
            measure(instance)

        def measure(instance: PooledInstance) -> None:
            if invocation.is_abandoned:
                instance.stop(abandoned())
            elif self.pool.measure(instance, manifest.function):
                instance.stop(CallError(FailureKind.OVERLOADED, _MEMORY_SHARE))

        try:
            fetcher = self._fetcher.of(manifest.function) if manifest.may_fetch else None
            store = self.key_values if manifest.has_kv else None
            kept = FunctionKeyValues(store, manifest.kv_namespace) if store else None
            surroundings = Surroundings(log, fetcher, kept, before_wait, measure, invocation=invocation)
            return code.start(manifest, surroundings)
        except LoadError as error:
            self._tell(manifest, CallError(FailureKind.LOAD, error.message, stack=error.stack))
            raise

    def statistics(self) -> dict[str, int]:
        """Return the counts of this worker."""
        return {
            **self.measures.statistics(),
            **self.pool.statistics(),
            **self._leadership.statistics(),
            **self._fetcher.statistics(),
            "log_lines_dropped_total": self.logs.dropped_lines,
        }

    def by_function(self) -> dict[str, dict[str, Any]]:
        """Return what was counted of each function, and what it has at present (see `function_metrics`)."""
        told: dict[str, dict[str, Any]] = {
            name: {"counts": counts} for name, counts in self.measures.by_function().items()
        }
        for name, present in self.pool.by_function().items():
            told.setdefault(name, {})["present"] = present
        return told

    def _own_endpoint(self, request: Request) -> bytes:
        if request.target == _HEALTH:
            head = b"content-type: application/json\r\n"
            return response_bytes(request, 200, head, orjson.dumps({"status": "ok", **self.statistics()}))
        if request.target == _FUNCTIONS:
            told = {"life": os.getpid(), "functions": self.by_function()}
            return response_bytes(request, 200, b"content-type: application/json\r\n", orjson.dumps(told))
        if request.target == _METRICS:
            leadership = self._leadership.statistics()
            fetches = self._fetcher.statistics()
            gauges = {
                **self.pool.statistics(),
                **leadership,
                **fetches,
                "log_lines_dropped_total": self.logs.dropped_lines,
            }
            head = b"content-type: text/plain; version=0.0.4\r\n"
            return response_bytes(request, 200, head, self.measures.exposition(gauges).encode())
        message = "the request names no revision (header x-skerry-revision)"
        return error_bytes(request, 404, FailureKind.UNKNOWN_REVISION, message)


def _written(request: Request, reply: Reply) -> tuple[bytes, ...]:
    if not 200 <= reply.status <= 599:
        raise CallError(FailureKind.BAD_RESPONSE, "the function's response has a status that is not HTTP's")
    return response_parts(request, reply.status, checked_head(reply.head), reply.body)


def kind_of(error: EngineError | RequestError) -> FailureKind:
    """Return what sort of failure an error is."""
    match error:
        case CallError() | RequestError():
            return error.kind
        case ConcurrencyError():
            return FailureKind.CONCURRENCY
        case OverloadedError():
            return FailureKind.OVERLOADED
        case UnknownRevisionError():
            return FailureKind.UNKNOWN_REVISION
        case _:
            return FailureKind.LOAD


def status_of(error: EngineError | RequestError) -> int:
    """Return the status of the answer to a request that failed."""
    return error.status if isinstance(error, RequestError) else _STATUS[kind_of(error)]


def sentence_of(error: EngineError | RequestError) -> str:
    """Return what the client is told of an error."""
    return error.message if isinstance(error, RequestError) else error.public
