"""The event loop of a worker: accepts connections, and answers one request of one connection in each turn.

Whichever thread leads runs it (see `leadership`); a turn that lost the lead ends on its own thread, and then its
connection comes back. Owns the connections: how many there are, when they have waited long enough, and the drain.
Does not own HTTP, nor what answers.

Invariant: what is attached to the selector is used by the leader alone, so a turn takes no lock for its connection.
"""

import os
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final, Protocol

from skerry.engine.connection import REQUEST_SECONDS_MAX, Asked, Connection
from skerry.engine.exchange import Peer
from skerry.engine.http1 import RequestError, RequestReader
from skerry.engine.leadership import Leadership
from skerry.engine.serving import Answer

#: Further connections wait in the backlog. Half of the descriptors that a process may have by default; log files
#: and artifacts take some.
CONNECTIONS_MAX = 512
#: How exact the deadlines of connections are.
SWEEP_SECONDS: Final = 1.0
#: After this time a loop that could not accept tries again.
ACCEPT_RETRY_SECONDS: Final = 0.1


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

    def __init__(self, listener: socket.socket, server: Server, leadership: Leadership) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._server = server
        self._leadership = leadership
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._accepts = True
        self._woken, self._waker = os.pipe()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._connections: set[Connection] = set()
        self._works = 0
        self._ended = threading.Condition()  # of connections and works
        self._stopping = False
        self._now = self._tidies_at = time.monotonic()

    def lead(self) -> None:
        """Run the loop for as long as this thread leads."""
        leadership = self._leadership
        while leadership.is_mine:
            ready = self._selector.select(max(0.0, self._tidies_at - self._now))
            self._now = now = time.monotonic()
            for key, events in ready:
                if key.data is None:
                    self._take_notice(key.fileobj, now)
                elif not self._advance(key.data, events, now):
                    return  # what else is ready will be reported to the one who leads now
            if now >= self._tidies_at:
                self._tidy(now)

    def _advance(self, connection: Connection, events: int, now: float) -> bool:
        """Do what a connection is ready for; returns whether the thread still leads."""
        try:
            if events & selectors.EVENT_WRITE:
                if not connection.flush(now):
                    return True
                if connection.ends:
                    self._settle(connection, now)
                    return True
            elif not connection.read(now):
                return True
        except OSError:
            self._close(connection)
            return True
        return self._serve(connection)

    def _serve(self, connection: Connection) -> bool:
        """Answer one request, if there is one; returns whether the thread still leads."""
        leadership = self._leadership
        leadership.begin_turn(connection)
        work = None
        try:
            work = self._answer(connection)
        except ConnectionError:  # the peer takes no answer
            connection.abandon()
        except Exception:  # noqa: BLE001 - a turn's edge: a defect of ours ends one connection, not the worker
            _report_defect()
            connection.abandon()
        leads = leadership.end_turn()
        self._settle(connection, self._now if leads else time.monotonic())
        if work is not None:
            leads = self._work(work)
        return leads

    def _answer(self, connection: Connection) -> Callable[[], object] | None:
        reader = connection.reader
        if not reader.requests:
            if reader.error is not None:
                connection.ends = True
                connection.send(self._server.refuse(reader.error))
            return None
        request = reader.requests.popleft()
        if self._stopping or len(self._connections) >= CONNECTIONS_MAX:
            request.keep_alive = False  # said in the response: the peer opens a new connection, others get a turn
        answer = self._server.answer(request, connection)
        connection.ends = connection.ends or not request.keep_alive or not request.is_whole
        connection.send(*answer.parts)
        return answer.work

    def _work(self, work: Callable[[], object]) -> bool:
        """Run what an answer left to be done; returns whether the thread still leads."""
        with self._ended:
            self._works += 1
        if self._leadership.is_mine:
            self._leadership.begin_turn(None)
        try:
            work()
        except Exception:  # noqa: BLE001 - as in `_serve`
            _report_defect()
        with self._ended:
            self._works -= 1
            self._ended.notify_all()
        return self._leadership.end_turn()

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
        else:
            os.read(self._woken, 1)
            self._tidies_at = now

    def _accept(self, now: float) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:  # another worker on the same socket was quicker
            return
        except OSError as error:  # out of descriptors, or the peer has gone: both pass
            sys.stderr.write(f"skerry engine worker: accept failed: {error}\n")
            self._pause(now)
            return
        reader = RequestReader(body_bytes_max=self._server.body_bytes_max, streams=self._server.streams)
        connection = Connection(sock, self._selector, reader, now=now)
        with self._ended:
            self._connections.add(connection)
        self._settle(connection, now)
        if len(self._connections) >= CONNECTIONS_MAX:
            self._pause(now)

    def _pause(self, now: float) -> None:
        self._accepts = False
        self._selector.unregister(self._listener)
        self._tidies_at = now + ACCEPT_RETRY_SECONDS

    def _tidy(self, now: float) -> None:
        """Do what nothing tells of: deadlines, the drain, and to accept again."""
        for connection in list(self._connections):
            if self._stopping and connection.is_idle:
                self._close(connection)
            elif now >= connection.deadline:
                self._give_up(connection)
        if self._stopping and self._accepts:
            self._pause(now)
        elif not self._stopping and not self._accepts and len(self._connections) < CONNECTIONS_MAX:
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._accepts = True
        self._tidies_at = now + (SWEEP_SECONDS if self._accepts else ACCEPT_RETRY_SECONDS)

    def _give_up(self, connection: Connection) -> None:
        late = connection.reader.late(REQUEST_SECONDS_MAX)
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
    sys.stderr.write(f"skerry engine worker: a request met a defect\n{traceback.format_exc()}")
