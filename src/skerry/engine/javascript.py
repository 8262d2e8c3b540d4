"""One JavaScript world: an instance of the engine that has loaded a bundle, and answers requests with it.

Two ways to have a call answered: on a thread that waits for it, which has the instance for itself (`handle`, the hooks
of filters, `settle`), or without a thread, beside others (`begin`, `advance`). Then one thread at a time is inside, and
another one that has something for the guest leaves it to that one.

Owns who enters the guest when; what an entry is, `javascript_guest` says.
"""

import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from wasmtime import Instance as WasmInstance
from wasmtime import Store

from skerry.engine.answers import Answer
from skerry.engine.instances import BodySource, FilterReply, Reply, Surroundings
from skerry.engine.interruption import PAGE_BYTES, RunningCalls
from skerry.engine.invocation import HeldInvocation, abandoned
from skerry.engine.javascript_guest import Export, JavaScriptGuest
from skerry.engine.manifest import FunctionManifest
from skerry.engine.open_calls import OpenCall

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Requests that are in one instance at once; as many as an event loop reads before it answers.
CALLS_TOGETHER_MAX = 64
#: Others join a call where so much of the instance's memory is left; a busy one grows by 80 MiB before it is collected.
JOINED_ROOM_BYTES = 16 * 1024 * 1024


class Instance(JavaScriptGuest):
    """See above; its attributes are those of `JavaScriptGuest`."""

    def __init__(
        self,
        instantiated: tuple[Store, WasmInstance],
        running: RunningCalls,
        manifest: FunctionManifest,
        surroundings: Surroundings,
    ) -> None:
        super().__init__(instantiated, running, manifest, surroundings)
        self._numbers: Iterator[int] = itertools.count(1)
        self._inside = threading.Lock()
        self._happened: deque[OpenCall] = deque()  # to whom something has, and who was not gone on with yet
        self._left: OpenCall | None = None  # with work after its answer, which `settle` is for

    # --- Answered on a thread that waits ---

    def handle(self, head: bytes, body: bytes, timeout_seconds: float) -> Reply:
        """Answer one request.

        Args:
            head: UTF-8 lines without an end: method, URL, then name and value of each header by turns.
            body: the whole body.
            timeout_seconds: for computing and waiting together.

        Raises:
            CallError: the call failed; this instance is of no use any more.
        """
        call = self._opened(timeout_seconds)
        answer = self._answered(call, self._handle, (head, body), (len(head), len(body)))
        return Reply(answer.status, answer.head, answer.body, answer.work_left)

    @property
    def filter(self) -> Self:
        """Its side as a filter: every bundle can be one."""
        return self

    def filter_request(self, head: bytes, body: BodySource | None, timeout_seconds: float) -> FilterReply:
        """See a request; raises CallError. See `Filter`."""
        call = self._opened(timeout_seconds)
        call.passing_body = body
        numbers = (len(head), body is not None)
        return self._answered(call, self._filter_request, (head,), numbers).filter_reply()

    def filter_response(
        self, request_head: bytes, head: bytes, body: BodySource | None, timeout_seconds: float
    ) -> FilterReply:
        """See the answer to a request; raises CallError. See `Filter`."""
        call = self._opened(timeout_seconds)
        call.passing_body = body
        numbers = (len(request_head), len(head), body is not None)
        return self._answered(call, self._filter_response, (request_head, head), numbers).filter_reply()

    def settle(self, timeout_seconds: float) -> None:
        """Run what the function left to `ctx.waitUntil`; raises CallError as `handle` does."""
        call, self._left = self._left, None
        if call is None:
            return
        call.extend(timeout_seconds)
        while not call.is_over:
            self._wait(call)
        self._ended.clear()
        self.cpu_ns = call.cpu_ns
        if call.has_failed:
            raise call.take_failure()

    def _opened(self, timeout_seconds: float) -> OpenCall:
        return OpenCall(next(self._numbers), self.invocation.held, timeout_seconds, self._fetching)

    def _answered(self, call: OpenCall, export: Export, message: tuple[bytes, ...], numbers: tuple[int, ...]) -> Answer:
        self._begin(call, export, message, numbers)
        while not call.is_answered:
            self._wait(call)
        self._ended.clear()  # it is the only one
        self.cpu_ns = call.cpu_ns
        call.passing_body = None
        answer = call.result()
        self._left = call if answer.work_left else None
        return answer

    def _wait(self, call: OpenCall) -> None:
        """Wait for what happens to a call, and go on with it."""
        call.wait(self._before_own_wait, self.invocation.caller)
        if self.invocation.is_abandoned:
            self._fail(call, abandoned())
        elif (stopped := self.time.take_stopped()) is not None:
            self._fail(call, stopped)
        else:
            self._go_on(call)

    def _before_own_wait(self) -> None:
        self._surroundings.before_wait(self)

    # --- Answered together with others ---

    @property
    def may_be_joined(self) -> bool:
        """Whether it takes another call now, beside those that it has."""
        if self.is_retired or self._inside.locked() or len(self._calls) >= CALLS_TOGETHER_MAX:
            return False
        return self._manifest.memory_bytes_max - self._pages[0] * PAGE_BYTES >= JOINED_ROOM_BYTES

    def begin(self, request: HeldInvocation, message: tuple[bytes, bytes], timeout_seconds: float) -> OpenCall:
        """Have a request answered; otherwise as `handle`.

        Where it is not answered the call waits: `advance` is to be called when `readiness` says so, and says when the
        call `is_due`.

        Args:
            request: whose answer it is.
            message: head and body; see `handle`.
            timeout_seconds: for computing and waiting together.
        """
        readiness = self._surroundings.readiness
        call = OpenCall(next(self._numbers), request, timeout_seconds, self._fetching, readiness)
        call.instance = self
        if not self._inside.acquire(blocking=False):
            call.message = message
            call.wake()
            return call
        try:
            head, body = message
            self._begin(call, self._handle, message, (len(head), len(body)))
            if call.has_event:  # what it has started was refused
                self._go_on(call)
            elif not call.is_over:
                self._rest(call)
        finally:
            ended, self._ended = self._ended, deque()
            self._give_way()
            for other in ended:
                if other is not call:
                    other.wake()
        return call

    def advance(self, call: OpenCall) -> "Iterator[OpenCall]":
        """Go on with a call that something has happened to; yields the calls that are due then.

        Where another thread is inside, that one goes on with it.
        """
        self._happened.append(call)
        while self._happened and self._inside.acquire(blocking=False):
            try:
                for _ in range(len(self._happened)):
                    happened = self._happened.popleft()
                    self._go_on(happened)
                    if happened not in self._ended:  # who waits for it may have come only now
                        self._ended.append(happened)
                ended, self._ended = self._ended, deque()
            finally:
                self._inside.release()
            for each in ended:
                if each.is_due:
                    yield each

    def send(self, call: OpenCall) -> bool:
        """Send what a call has started; False while another thread is inside."""
        if not self._inside.acquire(blocking=False):
            return False
        try:
            call.send_now()
        finally:
            self._give_way()
        return True

    def look(self, call: OpenCall) -> None:
        """Receive what has come for a call, unless another thread is inside; `advance` goes on with it."""
        if self._inside.acquire(blocking=False):
            try:
                call.look()
            finally:
                self._give_way()

    def _give_way(self) -> None:
        """Give the right to enter back, and have those try again who have found it taken."""
        self._inside.release()
        if self._happened:  # looked at after the release: who comes later finds it free
            for call in {*self._happened}:
                call.wake()
