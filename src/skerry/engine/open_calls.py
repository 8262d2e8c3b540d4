"""A call of the JavaScript engine, from its first entry to its last; see js-engine/world.wit.

A call is a request, until it is answered and what it has given to `ctx.waitUntil` is done. While it waits nobody is
inside of its instance for it: it waits without a thread where the event loop can wait for it (`readiness`), and else on
the thread that began it.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from skerry.engine.answers import Answer
from skerry.engine.call_time import late
from skerry.engine.errors import CallError
from skerry.engine.fetching import NOT_GRANTED, Event, FunctionFetcher, Subrequests, Watcher
from skerry.engine.instances import BodySource
from skerry.engine.invocation import HeldInvocation
from skerry.engine.thread_fetching import ThreadSubrequests

if TYPE_CHECKING:
    from skerry.engine.readiness import Readiness

#: A call, or a revision, that computed longer than this goes on beside the event loop, not inside of it.
SLOW_NS: Final = 3_000_000
_NEVER: Final = sys.float_info.max
#: What the engine says for no timer (world.wit, `set-timer`).
_NO_TIMER: Final = 0x7FFFFFFF


class Fetching:
    """What the subrequests of one instance's calls have in common.

    Args:
        fetcher: sends them; None where the function may send none.
        subrequests_max: of one call.
        refusal: what the function is told without a fetcher.
    """

    __slots__ = ("fetcher", "numbers", "refusal", "subrequests_max")

    def __init__(self, fetcher: FunctionFetcher | None, subrequests_max: int, refusal: str = NOT_GRANTED) -> None:
        self.fetcher = fetcher
        self.subrequests_max = subrequests_max
        self.refusal = refusal
        self.numbers: Iterator[int] = itertools.count(1)

    def of_call(self, watcher: Watcher | None) -> Subrequests:
        """Return the subrequests of a call; without a watcher its thread waits for them."""
        refusal, most, numbers = self.refusal, self.subrequests_max, self.numbers
        if watcher is None:
            return ThreadSubrequests(self.fetcher, refusal=refusal, subrequests_max=most, numbers=numbers)
        return Subrequests(self.fetcher, watcher, refusal=refusal, subrequests_max=most, numbers=numbers)


class Advancing(Protocol):
    """The instance of a call."""

    def send(self, call: "OpenCall") -> bool:
        """Send what the call has started; False while another thread is inside."""
        ...

    def look(self, call: "OpenCall") -> None:
        """Receive what has come for the call, unless another thread is inside."""
        ...

    def advance(self, call: "OpenCall") -> "Iterator[OpenCall]":
        """Go on with a call; yields those whose `waiting` is to be gone on with."""
        ...


class OpenCall:
    """See above; `readiness.Waiter`, and `fetching.Watcher` of its subrequests.

    Args:
        number: that the engine knows it by.
        held: the request.
        timeout_seconds: for computing and waiting together, from now on.
        fetching: of its instance.
        readiness: has it go on; None where its thread waits for it.

    Attributes:
        instance: that it is in, where it has `readiness`.
        message: head and body that it begins with; None where it has begun.
        answer: once there is one.
        is_answered: its caller needs to wait no longer.
        has_failed: it has ended without an answer, or its work after the answer has.
        is_over: nothing more happens to it.
        cpu_ns: for so long it has computed.
        until: in seconds of the monotonic clock; `readiness.Waiter` has it.
        passing_body: of the message that it filters.
        go_on: what comes next, once it `is_due`; for who has it answered to say.
        waiting: the event loop's: whom it is for. Whoever takes that out goes on with it.
        awaits_end: that is once it is over, not once it is answered.
    """

    # What few calls ever have is of the class: to set it in each takes longer than all else here.
    answer: Answer | None = None
    awaits_end = False
    cpu_ns = 0
    go_on: Callable[[], Any]
    has_failed = False
    instance: Advancing | None = None
    is_answered = False
    is_over = False
    message: tuple[bytes, bytes] | None = None
    passing_body: BodySource | None = None
    _failure: CallError | None = None
    _subrequests: Subrequests | None = None
    _timer = _NEVER
    until = 0.0

    def __init__(
        self,
        number: int,
        held: HeldInvocation,
        timeout_seconds: float,
        fetching: Fetching,
        readiness: "Readiness[OpenCall] | None" = None,
    ) -> None:
        self.number = number
        self.held = held
        self.timeout_seconds = timeout_seconds
        self.deadline_ns = time.monotonic_ns() + int(timeout_seconds * 1e9)
        self.waiting: list[Any] = []
        self._fetching = fetching
        self._readiness = readiness
        self._ready: list[int] = []

    def take_answer(self, answer: Answer) -> None:
        """Note what it is answered."""
        self.answer = answer
        self.is_answered = True
        self.is_over = not answer.work_left

    def settle(self) -> None:
        """End it: what was left after its answer is done."""
        self.is_over = True

    def fail(self, failure: CallError) -> None:
        """End it with a failure."""
        self._failure = failure  # before another thread sees that there is one
        self.has_failed = self.is_answered = self.is_over = True

    def take_failure(self) -> CallError:
        """Return what it ended with, once: an error that is raised refers to all that met it, this one included."""
        failure, self._failure = self._failure, None
        if failure is None:
            raise RuntimeError("the call has not failed, or its failure was taken before")
        return failure

    @property
    def is_due(self) -> bool:
        """Whether what waits for it is to be gone on with."""
        return self.is_over if self.awaits_end else self.is_answered

    @property
    def has_computed_long(self) -> bool:
        """Whether it is to go on beside the event loop."""
        return self.cpu_ns > SLOW_NS

    def extend(self, timeout_seconds: float) -> None:
        """Give the work that is left so much time, from now on."""
        self.awaits_end = True
        self.timeout_seconds = timeout_seconds
        self.deadline_ns = time.monotonic_ns() + int(timeout_seconds * 1e9)
        self.park()

    @property
    def subrequests(self) -> Subrequests:
        """Its subrequests; few calls have any."""
        if self._subrequests is None:
            self._subrequests = self._fetching.of_call(self if self._readiness is not None else None)
        return self._subrequests

    def has_started(self, number: int) -> bool:
        """Tell whether a subrequest that is not over is one of its."""
        return self._subrequests is not None and number in self._subrequests

    def set_timer(self, milliseconds: int) -> None:
        """Note when its first timer is due."""
        self._timer = _NEVER if milliseconds == _NO_TIMER else time.monotonic() + milliseconds / 1_000

    @property
    def waits(self) -> bool:
        """Whether anything is left that could make it go on."""
        return self._timer != _NEVER or (self._subrequests is not None and self._subrequests.is_waiting)

    def timer_is_due(self) -> bool:
        """Tell whether its first timer is due; the engine says then when the next one is."""
        due = self._timer <= time.monotonic()
        if due:
            self._timer = _NEVER
        return due

    def late(self) -> CallError | None:
        """Return what it ends with where its time is over."""
        return late(self.timeout_seconds) if time.monotonic_ns() >= self.deadline_ns else None

    def wait(self, before_wait: Callable[[], None], caller: int | None) -> None:
        """Wait on this thread for what happens next, or until it is to be looked at.

        Args:
            before_wait: called where it may take long.
            caller: a descriptor that can be read once nobody waits for the answer any more.
        """
        subrequests = self.subrequests
        self._note_until()
        if isinstance(subrequests, ThreadSubrequests):
            subrequests.wait(max(0.0, self.until - time.monotonic()), before_wait, also=caller)

    def look_ahead(self) -> None:
        """Receive what has come, before it is gone on with."""
        if self.instance is not None:
            self.instance.look(self)

    def advance(self) -> "Iterator[OpenCall]":
        """Go on with it; see `Advancing`."""
        return iter(()) if self.instance is None else self.instance.advance(self)

    def park(self) -> None:
        """Have it looked at when it is time; the event loop goes on with it."""
        readiness = self._readiness
        if readiness is not None and not self.is_over:
            self._note_until()
            readiness.park(self)
            if self.is_over:  # another thread has ended it meanwhile
                readiness.unpark(self)

    def _note_until(self) -> None:
        """Note when it is to be looked at again, whatever has come."""
        until = min(self.deadline_ns / 1e9, self._timer)
        if self._subrequests is not None:
            until = min(until, self._subrequests.until)
        self.until = until

    def close(self) -> None:
        """End what it has started and not received."""
        if self._readiness is not None:
            self._readiness.unpark(self)
        if self._subrequests is not None:
            self._subrequests.end()

    def note(self, descriptor: int) -> None:
        """See `readiness.Waiter`."""
        self._ready.append(descriptor)

    def result(self) -> Answer:
        """Return what it was answered, also where it failed after that; raises CallError, once."""
        if self.answer is None:
            raise self.take_failure()
        return self.answer

    def look(self) -> None:
        """Let subrequests go on that can."""
        subrequests = self._subrequests
        if subrequests is not None and (self._ready or subrequests.woken or time.monotonic() >= self.until):
            ready, self._ready = self._ready, []
            subrequests.go_on(ready)

    @property
    def has_event(self) -> bool:
        """Whether something has happened to a subrequest."""
        return self._subrequests is not None and bool(self._subrequests.happened)

    def take(self) -> Event | None:
        """Return what has happened next to a subrequest, or None."""
        return self._subrequests.take() if self._subrequests is not None else None

    @property
    def is_to_send(self) -> bool:
        """Whether it has started subrequests that were not sent."""
        return self._subrequests is not None and bool(self._subrequests.fresh)

    def send(self) -> bool:
        """Send the subrequests that were started; False while another thread is inside of the instance."""
        return self.instance is None or self.instance.send(self)

    def send_now(self) -> None:
        """Send them; on the thread that is inside."""
        if self._subrequests is not None:
            self._subrequests.send()
            if self._subrequests.happened:
                self.wake()
            else:
                self.park()

    def defers(self, subrequests: Subrequests) -> bool:  # noqa: ARG002 - of `fetching.Watcher`
        """See `fetching.Watcher`: the event loop sends what many calls have started, with what they answer."""
        if self._readiness is not None:
            self._readiness.start(self)
        return True

    def watch(self, descriptor: int, events: int) -> None:
        """See `fetching.Watcher`."""
        if self._readiness is not None:
            self._readiness.watch(descriptor, events, self)

    def forget(self, descriptor: int) -> None:
        """See `fetching.Watcher`."""
        if self._readiness is not None:
            self._readiness.forget(descriptor, self)

    def wake(self) -> None:
        """See `fetching.Watcher`."""
        if self._readiness is not None:
            self._readiness.wake(self)
