"""One connection of a worker, without blocking: what it waits for, how long it may, and when it ends.

Owns the socket, its place in the selector, the bytes that the peer has not taken yet, and the deadline. Does not own
what answers or who runs the loop, nor what is spoken: its first bytes tell (`http1`, `http2`). Invariant: one thread
at a time uses a connection: the leader while it is attached to the selector, the thread of the turn that it was
detached in otherwise.

The selector reports what is ready again and again, so nothing is read or written but on its word; a connection on
which several requests wait is "ready to be written to" and so gets its turn among the others.
"""

import contextlib
import select
import socket
import sys
import threading
import time
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Final, NamedTuple, TypeAlias

from skerry.engine.http1 import Request, RequestReader
from skerry.engine.http2 import PREFACE, StreamMessage, StreamReader

READ_BYTES = 64 * 1024
#: Of a request that did not come as a whole: large bodies take fewer turns of the loop.
MIDWAY_READ_BYTES = 256 * 1024

_NEVER: Final = sys.float_info.max


class ConnectionLimits(NamedTuple):
    """How many peers a worker has at once, and how long it waits for them.

    Attributes:
        connections_max: further ones wait in the backlog. Half of the descriptors that a process may have by default;
            log files and artifacts take some.
        idle_seconds_max: between two requests of HTTP/1. Envoy closes first (`gateway.envoy_config`): what it sends as
            we close would be lost.
        request_seconds_max: from a request's first byte to its last.
        send_seconds_max: a peer that takes no bytes for so long is gone.
        linger_seconds_max: after a refused request: how long its remaining bytes are read, so that the peer reads our
            answer before a reset.
        exact_seconds: how exact all of these are.
    """

    connections_max: int = 512
    idle_seconds_max: float = 120.0
    request_seconds_max: float = 60.0
    send_seconds_max: float = 30.0
    linger_seconds_max: float = 1.0
    exact_seconds: float = 1.0


Asked: TypeAlias = Request | StreamMessage
"""What is answered, one at a time."""


Reader: TypeAlias = RequestReader | StreamReader
"""What makes of bytes what is answered; the two have everything in common that is used here."""


class Connection:
    """See above. `read`, `flush` and `settle` raise OSError where the peer has gone; `close` it then.

    Attributes:
        reader: the requests that have arrived.
        deadline: in seconds of the monotonic clock; what it is not done with by then, it has waited for too long.
        is_midway: a request has arrived in part.
        ends: no further request is answered.
        waits: it is given no turn until its request is answered; it may still be attached.
    """

    __slots__ = (
        *("_events", "_is_new", "_limits", "_lingers", "_selector", "_sending", "_socket", "_unsent"),
        *("deadline", "ends", "is_midway", "reader", "waits"),
    )

    def __init__(
        self,
        sock: socket.socket,
        selector: BaseSelector,
        reader: RequestReader,
        limits: ConnectionLimits,
        *,
        now: float,
    ) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._selector = selector
        self._limits = limits
        self._events = 0
        self._unsent = memoryview(b"")
        self._sending = threading.Lock()  # `step_aside` may be called on a thread that does not have the connection
        self._lingers = False
        self._is_new = True
        self.reader: Reader = reader
        self.deadline = now + reader.idle_seconds_max
        self.is_midway = False
        self.ends = False
        self.waits = False

    def read(self, now: float) -> bool:
        """Read what is there, once; returns whether there is something to answer."""
        try:
            data = self._socket.recv(MIDWAY_READ_BYTES if self.is_midway else READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError("the peer is done")
        if self._lingers:
            return False
        if self._is_new:
            self._choose_reader(data)
        reader = self.reader
        reader.feed(data)
        if reader.may_prompt:
            self._say_prompt()
        if reader.requests or reader.error is not None:
            return True
        if not reader.is_midway:
            self.is_midway = False
            self.deadline = now + reader.idle_seconds_max
        elif not self.is_midway:
            self.is_midway = True
            self.deadline = now + self._limits.request_seconds_max
        return False

    def receive(self) -> None:
        """Read more of the request that is being answered, if there is more; raises OSError."""
        self._say_prompt()
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

    def _choose_reader(self, data: bytes) -> None:
        """Tell HTTP/2 by its preface, whose begin no method of HTTP/1 has, and which peers send in one piece."""
        self._is_new = False
        if data[:4] == PREFACE[:4]:
            self.reader = StreamReader(self.exchange)

    def _say_prompt(self) -> None:
        if prompt := self.reader.prompt():
            self.send(prompt)

    def exchange(self, data: bytes, deadline_ns: int) -> bytes:
        """Send, and wait for the message that the peer says next; see `http2.Stream.exchange`.

        The connection must have left the loop (`detach`).
        """
        self.send(data)
        poll = select.poll()
        reader = self.reader
        while not reader.requests:
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0:
                raise TimeoutError("the peer did not answer in time")
            if self.ends or not reader.is_engaged:
                raise ConnectionResetError("the peer has ended what it had asked for")
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            poll.poll(left_ns / 1e6)
            self.flush_now()
            self.receive()
        message = reader.requests.popleft()
        if not isinstance(message, StreamMessage):
            raise ConnectionResetError("the peer has asked for something else meanwhile")
        return message.data

    def send(self, *parts: bytes) -> None:
        """Send what the peer takes now, and keep the rest for `flush`; where the peer has gone, the connection ends."""
        with self._sending:
            self._send(parts)

    def _send(self, parts: tuple[bytes, ...]) -> None:
        if self._unsent:
            self._unsent = memoryview(b"".join((self._unsent, *parts)))
            return
        try:
            sent = self._socket.send(parts[0]) if len(parts) == 1 else self._socket.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:  # nobody is left to be told
            self.abandon()
            return
        if sent < sum(map(len, parts)):
            self._unsent = _rest(parts, sent)

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
            self.deadline = now + self._limits.send_seconds_max
        return done

    def flush_now(self) -> bool:
        """Do the same within a turn, in which nothing looks at the deadline."""
        with self._sending:
            if self._unsent:
                with contextlib.suppress(BlockingIOError):
                    sent = self._socket.send(self._unsent)  # no call in a slice: mypyc makes it twice
                    self._unsent = self._unsent[sent:]
            return not self._unsent

    def settle(self, now: float) -> bool:
        """Wait for whatever comes next, after a turn; False where nothing does: `close` it.

        Where it returns True the loop has the connection again, maybe on another thread: the caller leaves it alone.
        """
        if self.reader.may_prompt and not self.ends:
            self._say_prompt()
        if self._unsent:
            self.deadline = now + self._limits.send_seconds_max
            self._attach(EVENT_WRITE)
        elif not self.ends:
            self.is_midway = False
            self.deadline = now + self.reader.idle_seconds_max
            more = self.reader.requests or self.reader.error is not None
            self._attach(EVENT_WRITE if more else EVENT_READ)
        elif (self.reader.error is not None or self.reader.is_within_body) and not self._lingers:
            # Closing with unread bytes would reset the connection, and the peer might never see the answer.
            self._lingers = True
            self._socket.shutdown(socket.SHUT_WR)
            self.deadline = now + self._limits.linger_seconds_max
            self._attach(EVENT_READ)
        else:
            return False
        return True

    @property
    def is_idle(self) -> bool:
        """Whether it is between two requests, and may be ended at any time."""
        occupied = self.is_midway or self.waits or self._lingers or self.reader.is_engaged
        return self._events == EVENT_READ and not occupied

    def _attach(self, events: int) -> None:
        before, self._events = self._events, events  # told before: the leader may have a turn with it at once
        if before == events:
            return
        if before:
            self._selector.modify(self._socket, events, self)
        else:
            self._selector.register(self._socket, events, self)

    def step_aside(self, *, listens: bool) -> None:
        """Leave the loop for a turn that takes long.

        Unless the turn `listens`, the peer is asked to begin nothing else here: it could give up what it waits for, and
        what it begins next would wait for the turn's end.
        """
        self.detach()
        if not listens:
            self.reader.farewell(self.send)

    def wait(self) -> None:
        """Wait for the answer of a request, with no deadline of its own.

        It stays attached: a peer that says nothing meanwhile costs nothing. Where it does, the loop detaches it.
        """
        self.waits = True
        self.deadline = _NEVER

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


def _rest(parts: tuple[bytes, ...], sent: int) -> memoryview:
    """Return what is left of the parts after so many bytes: without a copy where that is of the last one alone."""
    before = sum(map(len, parts[:-1]))
    if sent < before:
        return memoryview(b"".join(parts))[sent:]
    return memoryview(parts[-1])[sent - before :]
