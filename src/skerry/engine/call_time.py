"""The time of one call: how long it may last, how long it may compute, and the way to stop it.

A call that computes is looked at every few hundredths of a second (`interruption`). Then the clock says whether it has
lasted too long, and the processor clock of its thread whether it has computed too long: what a function waits for (a
timer, a slow server, its turn on a busy machine) is not charged to it.

Whoever wants to end a call `stop`s it, with the error that it shall end with.
Reading a processor clock is a system call, which would cost a small function 3 % of its speed. So it is read at the
first look or wait, and what came before is charged by the clock on the wall: a few hundredths of a second at most.
"""

import time
from typing import Protocol

from skerry.engine.errors import CallError, FailureKind
from skerry.engine.interruption import LOOK_TICKS, TICK_SECONDS, Interruption
from skerry.engine.present_thread import present_thread

_UNSEEN_NS_MAX = int((LOOK_TICKS + 1) * TICK_SECONDS * 1e9)


class Looked(Protocol):
    """Whose calls are looked at."""

    def on_look(self) -> None:
        """Look at a call besides its time, while it computes; it may be stopped. On any thread, while it is inside."""


class CallTime:
    """The time of one instance's calls, one after the other.

    Args:
        interruption: of the instance's guest.

    Attributes:
        deadline_ns: when the present call ends, of the monotonic clock.
        stopped: why the present call was stopped; None while it was not.
    """

    __slots__ = (
        *("_base", "_began_ns", "_clock", "_cpu_seconds_max", "_earlier_ns", "_interruption", "_looked", "_seen_ns"),
        *("_timeout_seconds", "deadline_ns", "stopped"),
    )

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._looked: Looked | None = None  # only while a call lasts: it may own this one
        self._clock = self._began_ns = self._seen_ns = self._earlier_ns = self.deadline_ns = 0
        self._base: tuple[int, int] | None = None  # what was charged so far, and the thread's clock then
        self._timeout_seconds = self._cpu_seconds_max = 0.0
        self.stopped: CallError | None = None

    def begin(self, looked: Looked, timeout_seconds: float, cpu_seconds_max: float) -> None:
        """Begin a call on this thread, which is inside of it until its `end`; see `go_on`."""
        self.go_on(looked, time.monotonic_ns() + int(timeout_seconds * 1e9), timeout_seconds, cpu_seconds_max, 0)

    def go_on(
        self, looked: Looked, deadline_ns: int, timeout_seconds: float, cpu_seconds_max: float, earlier_ns: int
    ) -> None:
        """Go on with a call that had ended, on this thread.

        Args:
            looked: is asked to look every `LOOK_TICKS`, too.
            deadline_ns: when it ends, of the monotonic clock.
            timeout_seconds: how long it may last in all.
            cpu_seconds_max: how long it may compute in all.
            earlier_ns: for so long it has computed before.
        """
        self._looked = looked
        self._clock = present_thread.clock
        self._began_ns = time.monotonic_ns()
        self._earlier_ns = earlier_ns
        self._timeout_seconds = timeout_seconds
        self._cpu_seconds_max = cpu_seconds_max
        self.deadline_ns = deadline_ns
        self._base = None
        self._seen_ns = 0
        self.stopped = None
        self._interruption.begin(self)

    def end(self) -> int:
        """End the call; return for how many nanoseconds it has computed."""
        self._interruption.end()
        self._looked = None
        return self._earlier_ns + time.monotonic_ns() - self._began_ns if self._base is None else self.cpu_ns

    def before_wait(self) -> None:
        """Say that the call is about to wait: from here on, its thread's processor clock is read."""
        if self._base is None:
            charged_ns = min(time.monotonic_ns() - self._began_ns, _UNSEEN_NS_MAX)
            self._base = self._earlier_ns + charged_ns, time.clock_gettime_ns(self._clock)

    @property
    def cpu_ns(self) -> int:
        """For how long the present call has computed."""
        if self._base is None:
            return self._earlier_ns + time.monotonic_ns() - self._began_ns
        charged_ns, then_ns = self._base
        return charged_ns + time.clock_gettime_ns(self._clock) - then_ns

    def stop(self, error: CallError) -> None:
        """Have the call end as soon as the guest goes on, with this error; the first one counts. Never raises.

        On the call's thread, or in a look at it.
        """
        if self.stopped is None:
            self.stopped = error
        self._interruption.stop()

    def take_stopped(self) -> CallError | None:
        """Return why the call was stopped, and forget it: an error that is raised refers to all that met it."""
        stopped, self.stopped = self.stopped, None
        return stopped

    def stop_late(self) -> None:
        """Stop the call because its time is over."""
        self.stop(late(self._timeout_seconds))

    def look(self) -> None:
        """Stop the call where it is over a limit."""
        self.before_wait()
        before_ns, self._seen_ns = self._seen_ns, self.cpu_ns
        if time.monotonic_ns() >= self.deadline_ns:
            self.stop_late()
        elif self._seen_ns >= self._cpu_seconds_max * 1e9:
            message = f"the function computed beyond its limit of {self._cpu_seconds_max:g} s (runtime.limits.cpuTime)"
            self.stop(CallError(FailureKind.CPU_TIME, message))
        elif self._seen_ns > before_ns and self._looked is not None:
            self._looked.on_look()


def late(timeout_seconds: float) -> CallError:
    """Return what a call ends with that has lasted too long."""
    message = f"the function did not answer within its limit of {timeout_seconds:g} s (runtime.timeout)"
    return CallError(FailureKind.TIMEOUT, message)
