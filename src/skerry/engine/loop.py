"""The event loop of a worker: accepts connections, and answers one request of one connection in each turn.

What many connections want is done in steps of one kind: all that is ready is read, then each request has its turn, then
all answers are sent. So the system's code and the engine's each stay in the processor's caches for a while.

Whichever thread leads runs it (see `leadership`); a turn that lost the lead ends on its own thread, and then its
connection comes back; the next leader goes on with what was read. Owns the connections: how many there are, when they
have waited long enough, and the drain. Does not own HTTP, nor what answers.

Invariant: what is attached to the selector or was read is used by the leader alone, so a turn takes no lock for its
connection. What was answered is sent before anybody else may lead.
"""

import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from skerry.engine.connection import Asked, Connection, ConnectionLimits
from skerry.engine.exchange import Peer
from skerry.engine.http1 import RequestError, RequestReader
from skerry.engine.leadership import Leadership
from skerry.engine.open_calls import OpenCall
from skerry.engine.readiness import Readiness
from skerry.engine.serving import Answer
from skerry.kit.records import Records

records = Records(__name__)

#: Connections that are read before their requests are answered.
READ_TOGETHER_MAX: Final = 64
#: Answers are held back, to be sent together, for so long, and for the turn in which this time ends.
SENT_TOGETHER_SECONDS: Final = 0.001
#: After this time what another thread was inside of is tried again.
RETRY_SECONDS: Final = 0.001
#: After this time a loop that could not accept tries again.
ACCEPT_RETRY_SECONDS: Final = 0.1
#: Who has accepted a connection leaves the next one so long to other workers on the same socket: one that is quicker to
#: wake would have them all, and the others nothing to do.
ACCEPT_TURN_SECONDS: Final = 0.0005

_NOTHING = Answer(())


class Server(Protocol):
    """What answers."""

    def answer(self, request: Asked, peer: Peer) -> Answer:
        """Answer one request, which may still be arriving from its peer."""

    def streams(self, revision: str) -> bool:
        """Tell whether a revision's requests are answered while they arrive."""

    def refuse(self, error: RequestError) -> bytes:
        """Answer what is no request."""

    def body_bytes_max(self, revision: str | None, /) -> int:
        """Return how long a request's body may be."""


class Loop:
    """The connections of one worker; `lead` runs on whichever thread leads."""

    def __init__(
        self,
        listener: socket.socket,
        server: Server,
        leadership: Leadership,
        readiness: Readiness[OpenCall],
        limits: ConnectionLimits,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._server = server
        self._leadership = leadership
        self._readiness = readiness
        self._limits = limits
        self._selector = selectors.DefaultSelector()
        self._accepts = True
        self._may_share_listener = listener.family != socket.AF_UNIX  # each worker of a node has a path of its own
        self._woken, self._waker = os.pipe()
        for told in (listener, readiness, self._woken):
            self._selector.register(told, selectors.EVENT_READ)
        self._connections: set[Connection] = set()
        self._asking: deque[Connection | OpenCall] = deque()  # with a request that was read; to whom something happened
        self._reported: list[OpenCall] = []  # what they wait for has come
        self._elsewhere: deque[tuple[Connection | None, Answer]] = deque()  # came on a thread that did not lead
        self._turn: Connection | None = None  # whose request is being answered
        self._answered: deque[tuple[Connection, tuple[bytes, ...]]] = deque()  # with what was not sent yet
        self._works = 0
        self._ended = threading.Condition()  # of connections and works
        self._stopping = False
        self._now = self._tidies_at = time.monotonic()

    def lead(self) -> None:
        """Run the loop for as long as this thread leads."""
        while self._answer_all():
            if self._now >= self._tidies_at:  # here nothing is between its reading and its answer
                self._tidy(self._now)
            ready = self._selector.select(self._seconds_idle())
            self._now = now = time.monotonic()
            self._readiness.awake()
            asking = self._asking
            for key, events in ready[:READ_TOGETHER_MAX]:  # the others will be reported again
                if key.data is None:
                    self._take_notice(key.fileobj, now)
                elif self._advance(key.data, events, now):
                    asking.append(key.data)
            asking.extend(self._reported)  # after all that are asked anew: one kind of step after the other
            self._reported.clear()
            asking.extend(self._readiness.ready(now))

    def _seconds_idle(self) -> float:
        until = self._readiness.sleep_until(self._tidies_at)
        if self._readiness.started:
            until = self._now + RETRY_SECONDS
        return 0.0 if self._elsewhere else max(0.0, until - self._now)

    def _advance(self, connection: Connection, events: int, now: float) -> bool:
        """Do what a connection is ready for; returns whether there is something to answer."""
        if connection.waits:
            connection.detach()
            return False
        try:
            if not events & selectors.EVENT_WRITE:
                return connection.read(now)
            if not connection.flush(now):
                return False
        except OSError:
            self._close(connection)
            return False
        if connection.ends:
            self._settle(connection, now)
        return not connection.ends

    def _answer_all(self) -> bool:
        """Answer what was read; returns whether the thread still leads."""
        asking = self._asking
        leads = self._leadership.is_mine
        while leads and (asking or self._elsewhere):
            if self._elsewhere:
                self._finish(*self._elsewhere.popleft())
            elif isinstance(next_one := asking.popleft(), Connection):
                leads = self._serve(next_one)
            else:
                leads = self._go_on(next_one)
            if leads and asking and time.monotonic() - self._now > SENT_TOGETHER_SECONDS:
                self._send_answers()
        if leads:
            self._send_answers()
        return leads

    def _serve(self, connection: Connection) -> bool:
        """Answer one request; returns whether the thread still leads."""
        leadership = self._leadership
        self._turn = connection
        leadership.begin_turn(self)
        answer = _NOTHING
        try:
            answer = self._answer(connection)
        except ConnectionError:  # the peer takes no answer
            connection.abandon()
        except Exception:  # noqa: BLE001 - a turn's edge: a defect of ours ends one connection, not the worker
            _report_defect()
            connection.abandon()
        leads = leadership.end_turn()
        if answer.waits_for is not None:
            self._set_aside(connection, answer.waits_for)
            return leads
        if leads:
            self._answered.append((connection, answer.parts))
        else:
            self._send(connection, answer.parts, time.monotonic())
        if answer.work is not None:
            if leads:
                self._send_answers()
            self._work(answer.work)
            leads = leadership.is_mine
        return leads

    def _go_on(self, call: OpenCall) -> bool:
        """Go on with a call that something has happened to; returns whether the thread still leads."""
        leadership = self._leadership
        self._turn = None
        leadership.begin_turn(self)
        try:
            for each in call.advance():
                self._continue(each)
        except Exception:  # noqa: BLE001 - a turn's edge, as in `_guarded`; the calls end at their time limits
            _report_defect()
        return leadership.end_turn()

    def _continue(self, call: OpenCall) -> None:
        """Take the next step of what waits for a call; only the thread that leads may do something about it."""
        try:
            connection = call.waiting.pop()
        except IndexError:  # another thread has
            return
        answer = self._guarded(connection, call.go_on)
        if self._leadership.is_mine:
            self._finish(connection, answer)
        else:
            self._elsewhere.append((connection, answer))
            self._readiness.wake_loop()

    def _guarded(self, connection: Connection | None, answer: Callable[[], Answer]) -> Answer:
        try:
            return answer()
        except Exception:  # noqa: BLE001 - as in `_serve`
            _report_defect()
        if connection is not None:
            connection.abandon()
        return _NOTHING

    def _finish(self, connection: Connection | None, answer: Answer) -> None:
        """Send an answer that was waited for with those of others; without a connection, what was left is done."""
        if answer.waits_for is not None:
            self._set_aside(connection, answer.waits_for)
        elif connection is None:
            self._end_work()
        else:
            connection.waits = False
            self._answered.append((connection, answer.parts))
            if answer.work is not None:
                self._send_answers()
                self._work(answer.work)

    def _set_aside(self, connection: Connection | None, call: OpenCall) -> None:
        """Leave a request, or what it left to be done, alone until its call `is_due`."""
        if connection is not None:
            connection.wait()
        call.waiting.append(connection)
        if call.is_due:  # another thread was inside meanwhile
            call.wake()

    def step_aside(self, *, listens: bool) -> None:
        """Let go of the leader's turn, which takes long; see `Held`."""
        if self._turn is not None:
            self._turn.step_aside(listens=listens)
        self._send_answers()

    def _send_answers(self) -> None:
        """Send what was answered, and what calls have started."""
        if not self._answered and not self._readiness.started:
            return
        self._now = now = time.monotonic()
        started = self._readiness.started
        for _ in range(len(started)):
            try:
                call = started.popleft()
            except IndexError:  # the watchdog sends, too, while the leader is in a turn
                break
            if not call.send():
                started.append(call)
        while self._answered:
            try:
                connection, parts = self._answered.popleft()
            except IndexError:
                break
            self._send(connection, parts, now)

    def _send(self, connection: Connection, parts: tuple[bytes, ...], now: float) -> None:
        if parts:
            connection.send(*parts)
        self._settle(connection, now)

    def _answer(self, connection: Connection) -> Answer:
        reader = connection.reader
        if not reader.requests:
            if reader.error is None:
                return _NOTHING
            connection.ends = True
            return Answer((self._server.refuse(reader.error),))
        request = reader.requests.popleft()
        if self._stopping or len(self._connections) >= self._limits.connections_max:
            request.keep_alive = False  # said in the response: the peer opens a new connection, others get a turn
        answer = self._server.answer(request, connection)
        connection.ends = connection.ends or not request.keep_alive or not request.is_whole
        return answer

    def _work(self, work: Callable[[], Answer]) -> None:
        """Do what an answer left to be done, as far as it goes without a wait."""
        with self._ended:
            self._works += 1
        if self._leadership.is_mine:
            self._turn = None
            self._leadership.begin_turn(self)
        answer = self._guarded(None, work)
        self._leadership.end_turn()
        if answer.waits_for is not None:
            self._set_aside(None, answer.waits_for)
        else:
            self._end_work()

    def _end_work(self) -> None:
        with self._ended:
            self._works -= 1
            self._ended.notify_all()

    def _settle(self, connection: Connection, now: float) -> None:
        try:
            goes_on = connection.settle(now)
        except OSError:
            goes_on = False
        if not goes_on:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        connection.close()
        with self._ended:
            self._connections.discard(connection)
            self._ended.notify_all()

    def _take_notice(self, told: object, now: float) -> None:
        if told is self._listener:
            self._accept(now)
        elif told is self._readiness:
            self._reported = self._readiness.reported()
            for call in self._reported:
                call.look_ahead()
        else:
            os.read(self._woken, 1)
            self._tidies_at = now

    def _accept(self, now: float) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:  # another worker on the same socket was quicker
            return
        except OSError as error:  # out of descriptors, or the peer has gone: both pass
            records.warning("a connection could not be accepted", reason=str(error))
            self._pause(now)
            return
        server, limits = self._server, self._limits
        reader = RequestReader(server.body_bytes_max, server.streams, idle_seconds_max=limits.idle_seconds_max)
        connection = Connection(sock, self._selector, reader, limits, now=now)
        with self._ended:
            self._connections.add(connection)
        self._settle(connection, now)
        if len(self._connections) >= self._limits.connections_max:
            self._pause(now)
        elif self._may_share_listener:
            self._pause(now, ACCEPT_TURN_SECONDS)

    def _pause(self, now: float, seconds: float = ACCEPT_RETRY_SECONDS) -> None:
        self._accepts = False
        self._selector.unregister(self._listener)
        self._tidies_at = now + seconds

    def _tidy(self, now: float) -> None:
        """Do what nothing tells of: deadlines, the drain, and to accept again."""
        for connection in list(self._connections):
            if self._stopping and connection.is_idle:
                self._close(connection)
            elif now >= connection.deadline:
                self._give_up(connection)
        if self._stopping and self._accepts:
            self._pause(now)
        elif not self._stopping and not self._accepts and len(self._connections) < self._limits.connections_max:
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._accepts = True
        self._tidies_at = now + (self._limits.exact_seconds if self._accepts else ACCEPT_RETRY_SECONDS)

    def _give_up(self, connection: Connection) -> None:
        late = connection.reader.late(self._limits.request_seconds_max)
        if connection.is_midway and not connection.ends and late is not None:
            connection.reader.error = late
            connection.ends = True
            connection.send(self._server.refuse(late))
            self._settle(connection, self._now)
        else:
            self._close(connection)

    def stop(self) -> None:
        """Accept nothing more and end idle connections; running requests finish. Called on any thread."""
        self._stopping = True
        os.write(self._waker, b"!")

    def close(self) -> None:
        """Release the descriptors, once no thread leads any more; the listener belongs to the caller."""
        for connection in self._connections:
            connection.close()
        self._selector.close()
        os.close(self._woken)
        os.close(self._waker)

    def wait_until_drained(self, seconds: float) -> bool:
        """Wait, after `stop`, for the end of every connection and work; False where the time ran out."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._connections and not self._works, seconds)


def _report_defect() -> None:
    if error := sys.exception():
        records.defect("a request met a defect", error)
