"""What one instance of a component has with the host: its store, its resources, its time, and where it waits.

Owns the limits of an instance and the one wait that `wasi:io/poll` is made of. Does not own what a resource does.

A host function finds its guest through the thread (`entered`): a guest is entered by one thread at a time. Invariant:
nothing that a guest waits for outlasts its deadline; a wait says so before it begins (`Surroundings.before_wait`).
"""

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wasmtime import Engine as WasmEngine
from wasmtime import Store

from skerry.engine.call_time import CallTime
from skerry.engine.components.values import CrossingError
from skerry.engine.epoch_interruption import EpochInterruption
from skerry.engine.errors import CallError
from skerry.engine.fetching import Event
from skerry.engine.instances import BodySource, PooledInstance, Surroundings
from skerry.engine.invocation import abandoned
from skerry.engine.log_lines import LogLines
from skerry.engine.manifest import FunctionManifest
from skerry.engine.out_of_memory import by_its_cause
from skerry.engine.thread_fetching import ThreadSubrequests

#: Streams, bodies, headers, timers: what a guest has of the host at once.
RESOURCES_MAX = 10_000
#: A component is linked of several core modules: its own, adapters and shims, and those of components inside of it.
_INSTANCES_MAX = 64
#: Each up to the function's limit. Most have one; one that is composed of several has one each.
_MEMORIES_MAX = 4
_TABLES_MAX = 64
_TABLE_ELEMENTS_MAX = 1_000_000


class GuestEndedError(Exception):
    """A host function ends the guest's call.

    Attributes:
        failure: why; None where the guest has ended its program, and that was no failure.
    """

    def __init__(self, failure: CallError | None) -> None:
        super().__init__("the guest's call ends")
        self.failure = failure


class Pollable(NamedTuple):
    """What a guest can wait for.

    Attributes:
        is_ready: whether it has come.
        moment_ns: of the monotonic clock, when it comes; None where something else says so.
        descriptor: of the client's connection, where it comes from there.
    """

    is_ready: Callable[[], bool]
    moment_ns: int | None = None
    descriptor: Callable[[], int] | None = None


def always_ready() -> Pollable:
    """Return what has come already."""
    return Pollable(lambda: True)


def at_moment(moment_ns: int) -> Pollable:
    """Return what comes at a moment of the monotonic clock."""
    return Pollable(lambda: time.monotonic_ns() >= moment_ns, moment_ns)


class Resources:
    """What a guest's resources stand for, by number; `values.ResourceTable`."""

    def __init__(self, context_at: int) -> None:
        self.context_at = context_at
        self._things: dict[int, object] = {}
        self._last = 0

    def add(self, thing: object) -> int:
        """Keep an object; raises CrossingError at the limit."""
        if len(self._things) >= RESOURCES_MAX:
            raise CrossingError(f"the function has {RESOURCES_MAX} streams, bodies and other resources open already")
        self._last += 1
        self._things[self._last] = thing
        return self._last

    def get(self, number: int) -> Any:
        """Return an object; raises KeyError."""
        return self._things[number]

    def remove(self, number: int) -> Any:
        """Return an object that the guest has no more; raises KeyError."""
        return self._things.pop(number)

    def clear(self) -> None:
        """Forget all of them: they may refer to the guest, which would live on with them."""
        self._things.clear()


class Guest:
    """See above.

    Args:
        engine: with epoch interruption, whose epoch rises every `interruption.TICK_SECONDS`.
        manifest: of the function: its variables and limits.
        surroundings: what the function can reach.

    Attributes:
        env: the function's variables.
        time: of the present call; it knows why the call was stopped.
        has_exited: the guest has ended its program, and that was no failure.
        before_poll: called before a wait, for what was held back until then.
        takers: of what happens to subrequests, by subrequest.
        output: the lines of standard output, of the present call.
        errors: the lines of standard error, of the present call.
        passing_body: of the message that it filters; None in any other call.
    """

    output: LogLines
    errors: LogLines

    def __init__(self, engine: WasmEngine, manifest: FunctionManifest, surroundings: Surroundings) -> None:
        self.store = Store(engine)
        self.store.set_limits(
            memory_size=manifest.memory_bytes_max,
            table_elements=_TABLE_ELEMENTS_MAX,
            instances=_INSTANCES_MAX,
            tables=_TABLES_MAX,
            memories=_MEMORIES_MAX,
        )
        context = self.store._context()  # noqa: SLF001 - wasmtime-py has no public way to its address
        self.resources = Resources(ctypes.cast(context, ctypes.c_void_p).value or 0)
        self.env = manifest.env
        self.surroundings = surroundings
        self.time = CallTime(EpochInterruption(self.store))
        self.has_exited = False
        self.before_poll: Callable[[], None] = _do_nothing
        self.subrequests = ThreadSubrequests(surroundings.fetcher, subrequests_max=manifest.subrequests_max)
        self._manifest = manifest
        self.takers: dict[int, Callable[[Event], None]] = {}
        self.passing_body: BodySource | None = None
        self._instance: PooledInstance | None = None

    def enter(self, instance: PooledInstance | None, timeout_seconds: float) -> None:
        """Begin with a call, on this thread; without an instance, with the making of one."""
        entered.guest = self
        self._instance = instance
        self.has_exited = False
        self.time.begin(self, timeout_seconds, self._manifest.cpu_seconds_max)
        self.output = LogLines(self.surroundings.log, self.before_wait)
        self.errors = LogLines(self.surroundings.log, self.before_wait)

    def leave(self) -> int:
        """End with a call, whatever came of it: nothing that it started goes on, and nothing keeps the guest alive.

        Returns for how many nanoseconds it has computed.
        """
        cpu_ns = self.time.end()
        self.subrequests.end()
        self.takers.clear()
        self.output.close()
        self.errors.close()
        del self.output, self.errors
        self._instance = self.passing_body = None
        entered.guest = None
        return cpu_ns

    def cause_of(self, failure: CallError) -> CallError:
        """Return what the present call really failed of: nothing can look into a component's memory, but it can say."""
        lacks_memory = self.errors.tells_of_memory or self.output.tells_of_memory
        return by_its_cause(failure, self._manifest) if lacks_memory else failure

    def start_subrequest(self, head: bytes, body: bytes, taker: Callable[[Event], None]) -> int:
        """Send a request (`fetching.Subrequests.start`), whose events are the taker's; returns its number."""
        invocation = self.surroundings.invocation
        invocation.subrequests += 1
        if b"\ntraceparent\n" not in head:  # what the function says itself counts
            head += invocation.trace_fields()
        number = self.subrequests.start(head, body)
        self.takers[number] = taker
        return number

    def before_wait(self) -> None:
        """Say that this thread is about to wait."""
        self.time.before_wait()
        if self._instance is not None:
            self.surroundings.before_wait(self._instance)

    def on_look(self) -> None:
        """Say that the guest goes on computing; `call_time.Looked`."""
        if self._instance is not None:
            self.surroundings.on_look(self._instance)

    def wait(self, pollables: Sequence[Pollable]) -> list[int]:
        """Wait for the first of some; return the indexes of those that have come. Raises GuestEndedError."""
        invocation = self.surroundings.invocation
        descriptor = next((each.descriptor() for each in pollables if each.descriptor is not None), invocation.caller)
        while True:
            self.take_events()
            ready = [index for index, pollable in enumerate(pollables) if pollable.is_ready()]
            if ready:
                return ready
            self.before_poll()
            until = min([self.time.deadline_ns, *(each.moment_ns for each in pollables if each.moment_ns is not None)])
            wait_ns = until - time.monotonic_ns()
            if wait_ns > 0:
                self.subrequests.wait(wait_ns / 1e9, self.before_wait, also=descriptor)
            if invocation.is_abandoned:
                self.time.stop(abandoned())
            if self.time.stopped is not None or time.monotonic_ns() >= self.time.deadline_ns:
                self.time.stop_late()  # unless it was stopped already
                raise GuestEndedError(self.time.stopped)

    def take_events(self) -> None:
        """Look what has come of subrequests, and tell those who take it."""
        if self.takers:
            self.subrequests.wait(0, _do_nothing)
        while (event := self.subrequests.take()) is not None:
            taker = self.takers.get(event.id)
            if taker is not None:
                taker(event)


def _do_nothing() -> None:
    """Nothing is held back before a wait."""


class _Entered(threading.local):
    guest: Guest | None = None


def present_guest() -> Guest:
    """Return the guest that the thread is inside of."""
    if entered.guest is None:
        raise RuntimeError("the thread is inside of no guest")
    return entered.guest


entered = _Entered()
