"""What every kind of function instance is, and what it can reach: the words that the pool and the engines share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from skerry.engine.concurrent_instance import ConcurrentInstance
from skerry.engine.errors import CallError
from skerry.engine.exchange import Exchange
from skerry.engine.fetching import FunctionFetcher
from skerry.engine.invocation import Invocation
from skerry.engine.kv_operations import FunctionKeyValues
from skerry.engine.manifest import FunctionManifest

if TYPE_CHECKING:
    from skerry.engine.open_calls import OpenCall
    from skerry.engine.readiness import Readiness

NOT_A_FILTER = "the function's code can't run in mode filter"

#: Takes (level, UTF-8 text) of a line that a function writes to its log.
LogSink = Callable[[int, bytes], None]


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


class Reply(NamedTuple):
    """A function's response.

    Attributes:
        status: 200 to 599.
        head: header lines `name: value`, each ended by CR LF, UTF-8, as the guest wrote them: not checked yet.
        body: the whole body.
        work_left: `settle` must be called before the next request.
    """

    status: int
    head: bytes
    body: bytes
    work_left: bool


#: Brings the body of a message to the filter that sees it, until a moment of the monotonic clock in nanoseconds.
#: Raises UnreadableBodyError, and TimeoutError at that moment. May be called more than once.
BodySource = Callable[[int], bytes]


class FilterReply(NamedTuple):
    """What a filter makes of a message, as the guest wrote it: not checked yet.

    Attributes:
        kind: the message goes on as it is; or a request goes on changed; or there is a response: instead of a request,
            or the changed one.
        status: of a response; 200 where there is none.
        head: of a request, lines as `Filter.filter_request` takes them; of a response, as in `Reply`.
        body: the new body; None where the message keeps its own.
        work_left: `settle` must be called before the next request.
    """

    kind: Literal["pass", "request", "response"]
    status: int
    head: bytes
    body: bytes | None
    work_left: bool


class Filter(Protocol):
    """What sees the requests to a backend, and the answers of it, one at a time.

    Attributes:
        sees_responses: whether `filter_response` is of any use.
    """

    sees_responses: bool

    def filter_request(self, head: bytes, body: BodySource | None, timeout_seconds: float) -> FilterReply:
        """See a request; `head` is as for `FunctionInstance.handle`. Raises CallError: the instance is dead."""
        ...

    def filter_response(
        self, request_head: bytes, head: bytes, body: BodySource | None, timeout_seconds: float
    ) -> FilterReply:
        """See the answer to a request.

        Args:
            request_head: the request's, as it went on.
            head: UTF-8 lines without an end: status, reason, then name and value of each header by turns.
            body: where the answer's body comes from; None where it has none.
            timeout_seconds: for computing and waiting together.

        Raises:
            CallError: the call failed; the instance is dead.
        """
        ...


class PooledInstance(Protocol):
    """What every kind of instance has.

    Attributes:
        counted_bytes: what the pool that has it counts for it; 0 for one that no pool has.
        cpu_ns: for how long its last call has computed.
        invocation: the request that it answers now.
    """

    counted_bytes: int
    cpu_ns: int
    invocation: Invocation

    @property
    def filter(self) -> Filter | None:
        """Its side as a filter; None where its code can't be one."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What it takes of the machine's memory, about."""
        ...

    def stop(self, error: CallError) -> None:
        """Have the present call end with this error as soon as it computes again; never raises.

        On the call's thread, or in a look at it (`Surroundings.on_look`).
        """
        ...


class FunctionInstance(PooledInstance, Protocol):
    """What answers the requests of one revision, one at a time, each as a whole."""

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> Reply:
        """Answer one request.

        Args:
            head: UTF-8 lines without an end: method, URL, then name and value of each header by turns.
            body: the whole body.
            timeout_seconds: for computing and waiting together.

        Raises:
            CallError: the call failed; this instance is dead.
        """
        ...

    def settle(self, timeout_seconds: float) -> None:
        """Run what was left to be done after the answer; raises CallError as `handle` does."""
        ...


class StreamingInstance(ABC):
    """What answers the requests of one revision, one at a time, in pieces; a `PooledInstance` to be derived from."""

    counted_bytes: int
    cpu_ns: int
    invocation: Invocation

    @property
    def filter(self) -> Filter | None:
        """As `PooledInstance` has it."""
        return None

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """What it takes of the machine's memory, about."""

    @abstractmethod
    def stop(self, error: CallError) -> None:
        """As `PooledInstance` has it."""

    @abstractmethod
    def answer(self, head: bytes, exchange: Exchange, timeout_seconds: float) -> None:
        """Answer one request, whose body and answer go through the exchange.

        Args:
            head: as `FunctionInstance.handle` takes it.
            exchange: with the client.
            timeout_seconds: for computing and waiting together.

        Raises:
            CallError: the call failed, maybe with the answer begun; this instance is dead.
            PeerGoneError: nobody is left to take the answer.
        """


@runtime_checkable
class ProgramInstance(FunctionInstance, Protocol):
    """What runs a program, once for each request or message."""

    def run(self, environment: dict[str, str], given: bytes, timeout_seconds: float) -> bytes:
        """Run the program with something on standard input; return what it wrote to standard output.

        Raises:
            CallError: it failed, or wrote too much.
        """
        ...


#: What a revision has for instances.
RevisionInstance = FunctionInstance | StreamingInstance | ConcurrentInstance


def _tell_nobody(_instance: PooledInstance) -> None:
    """Tell nobody: no pool has the instance, and its thread has nothing else to do."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an instance can reach of the world.

    Attributes:
        log: takes what it writes; called on the calling thread.
        fetcher: sends its subrequests; None where it may send none.
        key_values: what `env.KV` keeps; None where there is none.
        before_wait: called with the instance, on the calling thread, before the guest waits; must not raise.
        on_look: called with the instance every few hundredths of a second while the guest computes, maybe on a thread
            that looks at others, too; the call can't end meanwhile.
        frames: rewrites the frames of a stack for the function's author.
        invocation: the request that it answers now; whoever has it answered says which.
        readiness: has calls go on that wait without a thread; None where none may.
    """

    log: LogSink
    fetcher: FunctionFetcher | None = None
    key_values: FunctionKeyValues | None = None
    before_wait: Callable[[PooledInstance], None] = _tell_nobody
    on_look: Callable[[PooledInstance], None] = _tell_nobody
    frames: Callable[[str], str] = str
    invocation: Invocation = field(default_factory=Invocation)
    readiness: "Readiness[OpenCall] | None" = None
