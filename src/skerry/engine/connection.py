"""One connection of a worker, without blocking: what it waits for, how long it may, and when it ends.

Owns the socket, its place in the selector, the bytes that the peer has not taken yet, and the deadline. Does not own
what answers or who runs the loop. Invariant: one thread at a time uses a connection: the leader while it is attached
to the selector, the thread of the turn that it was detached in otherwise.

The selector reports what is ready again and again, so nothing is read or written but on its word; a connection on
which several requests wait is "ready to be written to" and so gets its turn among the others.
"""

import contextlib
import socket
import sys
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Final

from skerry.engine.http1 import CONTINUE, RequestReader

READ_BYTES = 64 * 1024
#: Between two requests. Envoy keeps an idle connection for an hour by default: we close first.
IDLE_SECONDS_MAX: Final = 120.0
#: From a request's first byte to its last.
REQUEST_SECONDS_MAX: Final = 60.0
#: A peer that takes no bytes for so long is gone.
SEND_SECONDS_MAX: Final = 30.0
#: After a refused request: how long its remaining bytes are read, so that the peer reads our answer before a reset.
LINGER_SECONDS_MAX: Final = 1.0

_NEVER = sys.float_info.max


class Connection:
    """See above. `read`, `flush` and `settle` raise OSError where the peer has gone; `close` it then.

    Attributes:
        reader: the requests that have arrived.
        deadline: in seconds of the monotonic clock; what it is not done with by then, it has waited for too long.
        is_midway: a request has arrived in part.
        ends: no further request is answered.
    """

    __slots__ = ("_events", "_lingers", "_selector", "_socket", "_unsent", "deadline", "ends", "is_midway", "reader")

    def __init__(self, sock: socket.socket, selector: BaseSelector, reader: RequestReader, *, now: float) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._selector = selector
        self._events = 0
        self._unsent = memoryview(b"")
        self._lingers = False
        self.reader = reader
        self.deadline = now + IDLE_SECONDS_MAX
        self.is_midway = False
        self.ends = False

    def read(self, now: float) -> bool:
        """Read what is there, once; returns whether there is something to answer."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError("the peer is done")
        if self._lingers:
            return False
        reader = self.reader
        reader.feed(data)
        if reader.requests or reader.error is not None:
            return True
        if not self.is_midway:
            self.is_midway = True
            self.deadline = now + REQUEST_SECONDS_MAX
        self._say_continue()
        return False

    def receive(self) -> None:
        """Read more of the request that is being answered, if there is more; raises OSError."""
        self._say_continue()
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("the peer is done")
        self.reader.feed(data)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def _say_continue(self) -> None:
        if self.reader.wants_continue:
            self.reader.wants_continue = False
            self.send(CONTINUE)

    def send(self, data: bytes) -> None:
        """Send what the peer takes now, and keep the rest for `flush`; where the peer has gone, the connection ends."""
        if self._unsent:
            self._unsent = memoryview(self._unsent.tobytes() + data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # nobody is left to be told
            self.abandon()
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]

    def abandon(self) -> None:
        """Expect nothing more of the peer: `settle` will say that it is over."""
        self.ends = True
        self.reader.give_up()
        self._unsent = memoryview(b"")

    def flush(self, now: float) -> bool:
        """Send more of what is left; returns whether that was all of it."""
        before = len(self._unsent)
        done = self.flush_now()
        if len(self._unsent) < before:
            self.deadline = now + SEND_SECONDS_MAX
        return done

    def flush_now(self) -> bool:
        """Do the same within a turn, in which nothing looks at the deadline."""
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        return not self._unsent

    def settle(self, now: float) -> bool:
        """Wait for whatever comes next, after a turn; False where nothing does: `close` it.

        Where it returns True the loop has the connection again, maybe on another thread: the caller leaves it alone.
        """
        if not self.ends:
            self._say_continue()
        if self._unsent:
            self.deadline = now + SEND_SECONDS_MAX
            self._attach(EVENT_WRITE)
        elif not self.ends:
            self.is_midway = False
            self.deadline = now + IDLE_SECONDS_MAX
            more = self.reader.requests or self.reader.error is not None
            self._attach(EVENT_WRITE if more else EVENT_READ)
        elif (self.reader.error is not None or self.reader.is_within_body) and not self._lingers:
            # Closing with unread bytes would reset the connection, and the peer might never see the answer.
            self._lingers = True
            self._socket.shutdown(socket.SHUT_WR)
            self.deadline = now + LINGER_SECONDS_MAX
            self._attach(EVENT_READ)
        else:
            return False
        return True

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests, and may be ended at any time."""
        return self._events == EVENT_READ and not self.is_midway and not self._lingers

    def _attach(self, events: int) -> None:
        before, self._events = self._events, events  # told before: the leader may have a turn with it at once
        if before == events:
            return
        if before:
            self._selector.modify(self._socket, events, self)
        else:
            self._selector.register(self._socket, events, self)

    def detach(self) -> None:
        """Leave the selector: the loop has no part in this connection until it settles again."""
        self.deadline = _NEVER
        if self._events:
            self._events = 0
            with contextlib.suppress(KeyError):  # attaching it had failed
                self._selector.unregister(self._socket)

    def close(self) -> None:
        """End the connection; never raises."""
        self.detach()
        self._socket.close()
