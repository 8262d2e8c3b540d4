"""What requests wait for that hold no thread: upstreams' descriptors, other threads' word, moments in time.

The event loop asks it, whose selector has its descriptor, and goes on with those for whom something has come. What is
waited for may be added on any thread.

A descriptor stays known to the system from one wait to the next, and is armed for one report each time: one call of the
system, where to add and to remove it would be two, and neither has to be undone when it is closed.
"""

import os
import select
import sys
import threading
from collections import deque
from typing import Final, Generic, Protocol, TypeVar

_NEVER: Final = sys.float_info.max


class Waiter(Protocol):
    """Who waits.

    Attributes:
        until: in seconds of the monotonic clock: it is ready then, whatever has come.
    """

    until: float

    def note(self, descriptor: int) -> None:
        """Learn that one of its descriptors is ready."""


W = TypeVar("W", bound=Waiter)


class Readiness(Generic[W]):
    """See above; used by one loop, and by any thread where that is said.

    Attributes:
        started: those who have something to send.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake_descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_descriptor, select.EPOLLIN)
        self._lock = threading.Lock()
        self._watching: dict[int, tuple[int, list[W]]] = {}  # descriptor -> events, and whom they are for
        self._woken: deque[W] = deque()
        self.started: deque[W] = deque()
        self._parked: set[W] = set()
        self._first = _NEVER  # no later than the first moment of those that are parked
        self._sleeps = False

    def fileno(self) -> int:
        """Return a descriptor that can be read when somebody is ready, but for the moments."""
        return self._epoll.fileno()

    def watch(self, descriptor: int, events: int, waiter: W) -> None:
        """Tell a waiter once when a descriptor is ready; on any thread.

        Args:
            descriptor: may be that of others, too: all are told then.
            events: of `select.poll`.
            waiter: to be told.
        """
        with self._lock:
            before, waiters = self._watching.get(descriptor, (0, []))
            waiters.append(waiter)
            events |= before
            self._watching[descriptor] = events, waiters
            try:
                self._epoll.modify(descriptor, events | select.EPOLLONESHOT)
            except FileNotFoundError:  # a new one
                self._epoll.register(descriptor, events | select.EPOLLONESHOT)

    def forget(self, descriptor: int, waiter: W) -> None:
        """Tell a waiter of a descriptor no more; on any thread, before the descriptor is closed."""
        with self._lock:
            events, waiters = self._watching.get(descriptor, (0, []))
            if waiter in waiters:
                waiters.remove(waiter)
            if events and not waiters:
                del self._watching[descriptor]

    def wake(self, waiter: W) -> None:
        """Make a waiter ready; on any thread."""
        self._woken.append(waiter)
        self.wake_loop()

    def start(self, waiter: W) -> None:
        """Have the loop send what a waiter has started, with all else that it sends; on any thread."""
        self.started.append(waiter)
        self.wake_loop()

    def park(self, waiter: W) -> None:
        """Make a waiter ready at its moment, until it is `unpark`ed; on any thread. Say it again where that changes."""
        self._parked.add(waiter)
        if waiter.until < self._first:
            self._first = waiter.until
            self.wake_loop()

    def unpark(self, waiter: W) -> None:
        """Forget a waiter's moment; on any thread."""
        self._parked.discard(waiter)

    def wake_loop(self) -> None:
        """Have the loop look at what was prepared for it; on any thread."""
        if self._sleeps:
            os.eventfd_write(self._wake_descriptor, 1)

    def sleep_until(self, moment: float) -> float:
        """Return until when the loop may sleep; what comes from now on wakes it. `awake` ends that."""
        self._sleeps = True  # said before the look: who comes after it writes to the descriptor
        return 0.0 if self._woken else min(moment, self._first)

    def awake(self) -> None:
        """Say that the loop looks by itself."""
        self._sleeps = False

    def ready(self, now: float) -> list[W]:
        """Return those for whom something has come, each once for each thing."""
        found: list[W] = []
        while self._woken:
            found.append(self._woken.popleft())
        if now >= self._first:
            found += self._due(now)
        return found

    def reported(self) -> list[W]:
        """Return those whose descriptors are ready; to be called when this one's descriptor is."""
        found: list[W] = []
        for descriptor, _ in self._epoll.poll(0):
            if descriptor == self._wake_descriptor:
                os.eventfd_read(descriptor)
                continue
            with self._lock:
                _, waiters = self._watching.pop(descriptor, (0, ()))
            for waiter in waiters:
                waiter.note(descriptor)
            found += waiters
        return found

    def _due(self, now: float) -> list[W]:
        self._first = _NEVER
        due = []
        for waiter in list(self._parked):
            if waiter.until <= now:
                due.append(waiter)
            elif waiter.until < self._first:
                self._first = waiter.until
        return due

    def close(self) -> None:
        """Release the descriptors."""
        self._epoll.close()
        os.close(self._wake_descriptor)
