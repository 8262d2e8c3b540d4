"""Subrequests of a call that holds a thread: it waits for them, and does nothing else meanwhile; see `fetching`."""

import select
import time
from collections.abc import Callable, Iterator

from skerry.engine.fetching import NOT_GRANTED, SUBREQUESTS_MAX, FunctionFetcher, Subrequests
from skerry.engine.upstream.waits import WOKEN, Waker

#: An upstream that answered in this time the last time is waited for so long before another thread is asked to take
#: the event loop over: for a near one that costs more than the wait.
PATIENCE_SECONDS = 0.001


class ThreadSubrequests(Subrequests):
    """Those of a call whose thread waits for them, and does nothing else meanwhile; see `Subrequests`."""

    def __init__(
        self,
        fetcher: FunctionFetcher | None,
        *,
        refusal: str = NOT_GRANTED,
        subrequests_max: int = SUBREQUESTS_MAX,
        numbers: Iterator[int] | None = None,
    ) -> None:
        super().__init__(fetcher, self, refusal=refusal, subrequests_max=subrequests_max, numbers=numbers)
        self._poll = select.poll()
        self._polled: set[int] = set()
        self._waker: Waker | None = None
        self._waited_seconds = 0.0  # for the next event, in vain
        self._is_near = False  # the last event that was waited for came within `PATIENCE_SECONDS`
        self._also: int | None = None
        self._also_came = False

    def defers(self, subrequests: Subrequests) -> bool:
        """See `Watcher`: this thread has nothing else to do before."""
        return subrequests is not self

    def watch(self, descriptor: int, events: int) -> None:
        """See `Watcher`."""
        self._poll.register(descriptor, events)
        self._polled.add(descriptor)

    def forget(self, descriptor: int) -> None:
        """See `Watcher`."""
        if descriptor in self._polled:
            self._polled.discard(descriptor)
            self._poll.unregister(descriptor)

    def wake(self) -> None:
        """See `Watcher`."""
        if self._waker is not None:  # else it is made later, by who looks at `_woken` then
            self._waker.wake()

    def wait(self, seconds: float, before_wait: Callable[[], None], *, also: int | None = None) -> bool:
        """Wait for an event; False where the time ran out, or something else came.

        Args:
            seconds: how long; 0 to look what has come.
            before_wait: called where it may take long.
            also: a descriptor that ends the wait when it can be read.
        """
        if self.happened:
            return True
        if also is None:
            return self._wait(seconds, before_wait)
        self._also, self._also_came = also, False
        self._poll.register(also, select.POLLIN)
        try:
            return self._wait(seconds, before_wait)
        finally:
            self._poll.unregister(also)
            self._also = None

    def _wait(self, seconds: float, before_wait: Callable[[], None]) -> bool:
        if seconds <= 0:
            self._advance(seconds)
            return bool(self.happened)
        until = time.monotonic() + seconds
        if self._is_near and self._wait_for_event(min(seconds, PATIENCE_SECONDS)):
            return True
        before_wait()
        return self._wait_for_event(until - time.monotonic())

    def _wait_for_event(self, seconds: float) -> bool:
        began = time.monotonic()
        until = began + seconds
        while not self.happened and not self._also_came and (left := until - time.monotonic()) > 0:
            self._advance(left)
        happened = bool(self.happened)
        waited_seconds = self._waited_seconds + time.monotonic() - began
        self._is_near = happened and waited_seconds < PATIENCE_SECONDS
        self._waited_seconds = 0.0 if happened else waited_seconds
        return happened

    def _advance(self, seconds: float) -> None:
        """Wait for the first subrequest that can go on, for a time at most; let those go on that can."""
        self._have_waker()
        now = time.monotonic()
        seconds = 0.0 if self.woken else max(0.0, min(now + seconds, self.until) - now)
        ready = [descriptor for descriptor, _ in self._poll.poll(seconds * 1_000)]
        for descriptor in ready:
            if descriptor == self._also:
                self._also_came = True
            elif self._waker is not None and descriptor == self._waker.descriptor:
                self._waker.clear()
            else:
                self.forget(descriptor)  # it is watched until it was told of
        self.go_on(ready)

    def _have_waker(self) -> None:
        if self._waker is None:
            waits = [running.wait for running in self._open.values()]
            if any(wait.may_be_woken or wait.descriptor == WOKEN for wait in waits):
                self._waker = Waker()
                self._poll.register(self._waker.descriptor, select.POLLIN)

    def end(self) -> None:
        """See `Subrequests`."""
        self._waited_seconds = 0.0
        super().end()
