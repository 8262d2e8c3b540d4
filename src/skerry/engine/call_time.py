"""The time of one call: how long it may last, how long it may compute, and the way to stop it.

Wasmtime asks the host, on the thread of the guest, each time that a store's epoch deadline has come (`_look`). Then
the clock says whether the call has lasted too long, and the thread's own processor clock whether it has computed too
long: what a function waits for (a timer, a slow server, its turn on a busy machine) is not charged to it.

Owns the epoch deadline of its store: whoever wants to end a call `stop`s it, with the error that it shall end with.
Reading a processor clock is a system call, which would cost a small function 3 % of its speed. So it is read at the
first look or wait, and what came before is charged by the clock on the wall: a few hundredths of a second at most.
"""

import itertools
import time
import weakref
from typing import Final, Protocol

from wasmtime import Store

from skerry.engine.calls import EpochDeadline, deadline_callback
from skerry.engine.errors import CallError, FailureKind

#: How exact a limit of time is. Each tick wakes one thread: 50 a second cost a thousandth of a core.
TICK_SECONDS: Final = 0.02
#: Between two looks at a call that computes.
LOOK_TICKS: Final = 2

_UNSEEN_NS_MAX = int((LOOK_TICKS + 1) * TICK_SECONDS * 1e9)


class Looked(Protocol):
    """Whose calls are looked at."""

    def on_look(self) -> None:
        """Look at a call besides its time; it may be stopped. On the guest's thread, while it computes."""


class CallTime:
    """The time of one instance's calls, one after the other.

    Args:
        store: of the instance; its epoch deadline is ours.
        looked: is asked to look every `LOOK_TICKS`, too. It is not kept alive: it may own this one.

    Attributes:
        deadline_ns: when the present call ends, of the monotonic clock.
        stopped: why the present call was stopped; None while it was not.
    """

    __slots__ = (
        "__weakref__",
        "_base_ns",
        "_began_ns",
        "_charged_ns",
        "_cpu_seconds_max",
        "_looked",
        "_set_deadline",
        "_timeout_seconds",
        "deadline_ns",
        "stopped",
    )

    def __init__(self, store: Store, looked: Looked) -> None:
        self._looked = weakref.ref(looked)
        self._began_ns = self._charged_ns = self.deadline_ns = 0
        self._base_ns: int | None = None
        self._timeout_seconds = self._cpu_seconds_max = 0.0
        self.stopped: CallError | None = None
        number = next(_numbers)
        _times[number] = self
        self._set_deadline = EpochDeadline(store, _CALLBACK, number)

    def begin(self, timeout_seconds: float, cpu_seconds_max: float) -> None:
        """Begin a call on this thread, which is inside of it until it ends."""
        self._began_ns = now = time.monotonic_ns()
        self._timeout_seconds = timeout_seconds
        self._cpu_seconds_max = cpu_seconds_max
        self.deadline_ns = now + int(timeout_seconds * 1e9)
        self._base_ns = None
        self.stopped = None
        self._set_deadline(LOOK_TICKS)

    def before_wait(self) -> None:
        """Say that the call is about to wait: from here on, its thread's processor clock is read."""
        if self._base_ns is None:
            self._charged_ns = min(time.monotonic_ns() - self._began_ns, _UNSEEN_NS_MAX)
            self._base_ns = time.thread_time_ns()

    @property
    def cpu_ns(self) -> int:
        """For how long the present call has computed; on its thread only."""
        if self._base_ns is None:
            return time.monotonic_ns() - self._began_ns
        return self._charged_ns + time.thread_time_ns() - self._base_ns

    def stop(self, error: CallError) -> None:
        """Have the call end as soon as the guest goes on, with this error; the first one counts. Never raises."""
        if self.stopped is None:
            self.stopped = error
        self._set_deadline(0)

    def take_stopped(self) -> CallError | None:
        """Return why the call was stopped, and forget it: an error that is raised refers to all that met it."""
        stopped, self.stopped = self.stopped, None
        return stopped

    def stop_late(self) -> None:
        """Stop the call because its time is over."""
        message = f"the function did not answer within its limit of {self._timeout_seconds:g} s (runtime.timeout)"
        self.stop(CallError(FailureKind.TIMEOUT, message))

    def look(self) -> None:
        """Stop the call where it is over a limit."""
        self.before_wait()
        if time.monotonic_ns() >= self.deadline_ns:
            self.stop_late()
        elif self.cpu_ns >= self._cpu_seconds_max * 1e9:
            message = f"the function computed beyond its limit of {self._cpu_seconds_max:g} s (runtime.limits.cpuTime)"
            self.stop(CallError(FailureKind.CPU_TIME, message))
        elif looked := self._looked():
            looked.on_look()


_numbers = itertools.count(1)
_times: weakref.WeakValueDictionary[int, CallTime] = weakref.WeakValueDictionary()


def _look(number: int) -> int | None:
    """Return for how many ticks a call may go on; None ends it."""
    call = _times.get(number)
    if call is not None:
        if call.stopped is None:
            call.look()
        if call.stopped is not None:
            return None
    return LOOK_TICKS


_CALLBACK = deadline_callback(_look)
