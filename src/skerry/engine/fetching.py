"""Requests that functions send: `fetch`, on the host's side.

A guest starts a subrequest, and takes what happens to it as events, one at a time: so it can wait for many at once. Who
runs the guest does their I/O too (`upstream`): it sends while the guest starts a subrequest, and receives once a
descriptor is ready. An answer so needs no other thread to be woken, which cost more than the rest. Descriptors are
watched by the event loop (`readiness`), or by a thread that has nothing else to do (`ThreadSubrequests`).

Invariants: a subrequest has one event at most that was not taken yet, since the next piece of a body is received when
the guest asks for it; so a slow reader holds the sender up, and what is held here is bounded. Nothing outlives the call
that it was started in: `Subrequests.end` closes what is left.
"""

import itertools
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from skerry.engine.egress import EgressPolicy
from skerry.engine.upstream.dialing import Dialer
from skerry.engine.upstream.errors import FetchRefusedError, UpstreamError
from skerry.engine.upstream.exchange import Event, EventKind, Exchange, Ways
from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.pool import ConnectionPool
from skerry.engine.upstream.requests import RequestParser
from skerry.engine.upstream.resolving import LookUp, Resolver, look_up
from skerry.engine.upstream.waits import ASKED, WOKEN, Steps, Wait

__all__ = [
    "CONCURRENT_MAX",
    "NOT_GRANTED",
    "SENDING_BYTES_MAX",
    "SUBREQUESTS_MAX",
    "Event",
    "EventKind",
    "Fetcher",
    "FunctionFetcher",
    "Subrequests",
    "Watcher",
]

#: Of one request of the function's, where the function has no limit of its own; Cloudflare's limit too.
SUBREQUESTS_MAX = 1_000
#: Of one call at once.
CONCURRENT_MAX = 64
#: Of the bodies that the subrequests of one call send at once: each is the host's own copy, which no limit of the
#: guest's memory holds, and which is kept for as long as it may have to be sent again.
SENDING_BYTES_MAX = 32 * 1024 * 1024

NOT_GRANTED = "the function was not granted the capability fetchAPI"
_NEVER: Final = sys.float_info.max
_OVER = b"the subrequest is over: it was cancelled, or the request that it was started in has ended"


class Fetcher:
    """What the subrequests of a worker share: connections, resolver, certificate authorities.

    Args:
        policy_of: returns where a function may connect to, at this moment.
        limits: the bounds.
        look_up: resolves a name; blocks.
        ca_file: more certificate authorities to trust, PEM.
    """

    def __init__(
        self,
        policy_of: Callable[[str], EgressPolicy],
        *,
        limits: FetchLimits | None = None,
        look_up: LookUp = look_up,
        ca_file: Path | None = None,
    ) -> None:
        self._policy_of = policy_of
        self._limits = limits or FetchLimits()
        self._pool = ConnectionPool(self._limits)
        self._parser = RequestParser(self._limits)
        self._resolver = Resolver(look_up)
        self._dialer = Dialer(self._resolver, self._limits, ca_file)

    def of(self, function: str) -> "FunctionFetcher":
        """Return what one function sends its subrequests with."""
        return FunctionFetcher(Ways(function, self._pool, self._dialer, self._parser, self._limits), self._policy_of)

    def sweep(self) -> None:
        """End what was kept for too long."""
        self._pool.sweep()

    def statistics(self) -> dict[str, int]:
        """Return the present counts."""
        return self._pool.statistics()

    def close(self) -> None:
        """End what is kept; nothing may be sent any more."""
        self._pool.close()
        self._resolver.close()


class FunctionFetcher:
    """Sends the subrequests of one function."""

    def __init__(self, ways: Ways, policy_of: Callable[[str], EgressPolicy]) -> None:
        self._ways = ways
        self._policy_of = policy_of

    def exchange(
        self, number: int, head: bytes, body: bytes, tell: Callable[[Event], None], wake: Callable[[], None]
    ) -> Steps[None]:
        """Return the steps of a subrequest; raises FetchRefusedError.

        Args:
            number: its id.
            head: see `Subrequests.start`.
            body: the whole body.
            tell: takes what happens, on the thread that takes the steps.
            wake: ends a wait of that thread; called from any thread.
        """
        ways = self._ways
        return Exchange(number, ways.parser.parse(head), body, self._policy_of(ways.function), ways, tell, wake).run()


class _Running:
    """A subrequest that waits: its steps, and what for."""

    __slots__ = ("body_bytes", "steps", "wait")

    def __init__(self, steps: Steps[None], body_bytes: int) -> None:
        self.steps = steps
        self.body_bytes = body_bytes
        self.wait = Wait(WOKEN)


class Watcher(Protocol):
    """Who says when a subrequest may go on: once, each time that it was asked to."""

    def defers(self, subrequests: "Subrequests") -> bool:
        """Tell whether what is started now will be sent by a call of `Subrequests.send`."""

    def watch(self, descriptor: int, events: int) -> None:
        """Have `Subrequests.go_on` called when a descriptor is ready for some of the events (of `select.poll`)."""

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more; it may be closed then. Harmless where it is not watched."""

    def wake(self) -> None:
        """Have `Subrequests.go_on` called; on any thread."""


class Subrequests:
    """The subrequests of one call; used by one thread at a time.

    Args:
        fetcher: sends them; None where the function may send none.
        watcher: has them go on.
        refusal: what the function is told without a fetcher.
        subrequests_max: how many there may be in one call.
        numbers: their ids. None is ever used again: what comes late of an earlier one is not taken for a new one's.

    Attributes:
        happened: events that were not taken, by subrequest.
        woken: subrequests that other threads have had go on.
        fresh: subrequests that were started and not sent.
    """

    def __init__(
        self,
        fetcher: FunctionFetcher | None,
        watcher: Watcher,
        *,
        refusal: str = NOT_GRANTED,
        subrequests_max: int = SUBREQUESTS_MAX,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._watcher = watcher
        self._subrequests_max = subrequests_max
        self._refusal = refusal
        self._numbers = numbers or itertools.count(1)
        self._started = 0
        self._open: dict[int, _Running] = {}
        self.happened: OrderedDict[int, Event] = OrderedDict()
        self.woken: deque[int] = deque()
        self.fresh: list[int] = []
        self._watched: dict[int, list[int]] = {}  # descriptor -> subrequests: several, where they share a connection

    def start(self, head: bytes, body: bytes) -> int:
        """Send a request; returns its id. What refuses it is its first event.

        Args:
            head: UTF-8 lines: method, URL, then name and value of each header by turns.
            body: the whole body.
        """
        number = next(self._numbers)
        self._started += 1
        try:
            running = _Running(self._exchange(number, head, body), len(body))
        except FetchRefusedError as error:
            self._tell(Event(number, EventKind.FAILED, str(error).encode(), is_refused=True))
            return number
        self._open[number] = running
        if self._watcher.defers(self):
            self.fresh.append(number)
        else:
            self._resume(number, running)
        return number

    def send(self) -> None:
        """Send those that were started and deferred."""
        fresh, self.fresh = self.fresh, []
        for number in fresh:
            if (running := self._open.get(number)) is not None:
                self._resume(number, running)

    def _exchange(self, number: int, head: bytes, body: bytes) -> Steps[None]:
        if self._fetcher is None:
            raise FetchRefusedError(self._refusal)
        if self._started > self._subrequests_max:
            raise FetchRefusedError(f"a request may cause {self._subrequests_max} subrequests, and this one has")
        if len(self._open) >= CONCURRENT_MAX:
            raise FetchRefusedError(f"{CONCURRENT_MAX} subrequests run already: wait for some of them")
        if body and len(body) + sum(each.body_bytes for each in self._open.values()) > SENDING_BYTES_MAX:
            limit = f"{SENDING_BYTES_MAX >> 20} MiB"
            raise FetchRefusedError(f"the bodies of subrequests may take {limit} together while they run")
        return self._fetcher.exchange(number, head, body, self._tell, partial(self._wake, number))

    def _wake(self, number: int) -> None:
        self.woken.append(number)
        self._watcher.wake()

    def _resume(self, number: int, running: _Running, error: TimeoutError | None = None) -> None:
        """Take a subrequest's next steps, up to what it waits for then."""
        try:
            wait = next(running.steps) if error is None else running.steps.throw(error)
        except StopIteration:
            del self._open[number]
        except Exception as failure:  # noqa: BLE001 - whatever it was, the function that waits is told
            del self._open[number]
            refused = isinstance(failure, FetchRefusedError)
            self._tell(Event(number, EventKind.FAILED, _reason(failure).encode(), is_refused=refused))
        else:
            running.wait = wait
            if wait.descriptor >= 0:
                self._watched.setdefault(wait.descriptor, []).append(number)
                self._watcher.watch(wait.descriptor, wait.events)

    def _unwatch(self, number: int, descriptor: int) -> None:
        watching = self._watched.get(descriptor)
        if watching and number in watching:
            watching.remove(number)
            if not watching:
                del self._watched[descriptor]
                self._watcher.forget(descriptor)

    def read(self, number: int) -> None:
        """Ask for the next piece of a response's body; it is an event. While one is on its way, nothing more comes."""
        if number in self.happened:
            return
        running = self._open.get(number)
        if running is None:
            self._tell(Event(number, EventKind.FAILED, _OVER))
        elif running.wait.descriptor == ASKED:
            self._resume(number, running)

    def cancel(self, number: int) -> None:
        """End a subrequest: nothing more happens to it."""
        running = self._open.pop(number, None)
        self.happened.pop(number, None)
        if running is not None:
            self._unwatch(number, running.wait.descriptor)
            running.steps.close()

    def __contains__(self, number: int) -> bool:
        return number in self._open or number in self.happened

    def take(self) -> Event | None:
        """Return the next event, or None."""
        return self.happened.popitem(last=False)[1] if self.happened else None

    @property
    def is_waiting(self) -> bool:
        """Whether an event has come, or may come without being asked for."""
        if self.happened:
            return True
        for running in self._open.values():  # noqa: SIM110 - asked in each entry: a generator takes longer than the look
            if running.wait.descriptor != ASKED:
                return True
        return False

    @property
    def until(self) -> float:
        """When the first of them has waited for too long, in seconds of the monotonic clock."""
        first = _NEVER
        for running in self._open.values():
            first = min(first, running.wait.until)
        return first

    def go_on(self, descriptors: Iterable[int]) -> None:
        """Let those go on that can: by what these descriptors brought, by another thread's word, or in vain."""
        for descriptor in descriptors:
            for number in self._watched.pop(descriptor, ()):
                if (running := self._open.get(number)) is not None:
                    self._resume(number, running)
        while self.woken:
            self._go_on(self.woken.popleft())
        if self._open:
            now = time.monotonic()
            for number, running in list(self._open.items()):
                if running.wait.until <= now:
                    self._go_on(number, TimeoutError(f"{running.wait.doing} took too long"))

    def _go_on(self, number: int, error: TimeoutError | None = None) -> None:
        running = self._open.get(number)
        if running is not None and running.wait.descriptor != ASKED:
            self._unwatch(number, running.wait.descriptor)
            self._resume(number, running, error)

    def end(self) -> None:
        """Close what is left: the call that started it is over."""
        if self._started or self.happened:
            self._started = 0
            self.happened.clear()
            self.woken.clear()
            self.fresh.clear()
            for number in list(self._open):
                self.cancel(number)

    def _tell(self, event: Event) -> None:
        self.happened[event.id] = event


def _reason(error: Exception) -> str:
    if isinstance(error, FetchRefusedError | UpstreamError | TimeoutError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
