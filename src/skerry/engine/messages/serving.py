"""Connections over which messages are answered: one after the other, each connection on a thread of its own.

A connection begins with `{"deployment": NAME}`, which is answered with `{"error": null}` once the function has loaded,
or with why it does not. The socket that came along has the messages; each is taken when the one before it is answered,
and answered with `{"seconds": float, "answer": message}`, after a line `{"log": [level, text]}` for each that the
function wrote meanwhile. A caller who goes away ends the call.

Owns the protocol and the threads. Does not own instances (`pool`) nor what went into a binary (`calling`).
"""

import socket
import threading
import time
from contextlib import suppress

import orjson

from skerry.engine.errors import EngineError, OverloadedError
from skerry.engine.leases import Lease
from skerry.engine.manifest import FunctionManifest
from skerry.engine.measures import Use
from skerry.engine.messages import calling, frames
from skerry.engine.serving import Called, FunctionServer
from skerry.kit.records import Records

records = Records(__name__)

#: What one run may write to its log; what is over it is dropped, and a line tells so.
LOG_BYTES_MAX = 1 << 20
#: What a line is counted for besides its text: empty ones are not free.
_LINE_BYTES = 16
_WARN = 2


class RunLog:
    """Where the lines of runs go that are written now: `serving.FunctionLog`, told apart by thread."""

    def __init__(self) -> None:
        self.dropped_lines = 0
        self._present = threading.local()

    def begin(self, connection: socket.socket) -> None:
        """Send what the functions of this thread write to a connection, from now on."""
        self._present.connection, self._present.left = connection, LOG_BYTES_MAX
        self._present.dropped = 0

    def end(self) -> None:
        """Forget the connection of this thread, after a line about what was dropped."""
        connection, dropped = self._present.connection, self._present.dropped
        self._present.connection = None
        if dropped:
            _send(connection, _WARN, f"[{dropped} more bytes were dropped: a run may print {LOG_BYTES_MAX}]")

    def write(self, manifest: FunctionManifest, level: int, message: bytes, request_id: str = "") -> bool:  # noqa: ARG002 - `FunctionLog`
        """Send a line to who waits for the answer; what is said while a function loads is of no run."""
        connection = getattr(self._present, "connection", None)
        if connection is None:
            return True
        size = len(message) + _LINE_BYTES
        if self._present.left < size:
            self._present.dropped += len(message)
            self.dropped_lines += 1
            return False
        self._present.left -= size
        _send(connection, level, message.decode(errors="replace"))
        return True

    def sweep(self) -> None:
        """Do nothing: each run tells of what it dropped."""


def _send(connection: socket.socket, level: int, text: str) -> None:
    with suppress(OSError):  # the caller has gone, which ends the call
        frames.send(connection, frames.line(level, text))


class MessageServer:
    """Answers connections.

    Args:
        functions: has the instances, with `log` for what they write.
        log: see above.
        threads_max: connections at once; one more is closed.
    """

    def __init__(self, functions: FunctionServer, log: RunLog, *, threads_max: int) -> None:
        self._functions = functions
        self._log = log
        self._places = threading.Semaphore(threads_max)

    def take(self, connection: socket.socket) -> None:
        """Answer a connection until it ends, on a thread of its own."""
        if not self._places.acquire(blocking=False):
            with connection, suppress(OSError):
                frames.send(connection, frames.hello(orjson.loads(calling.failed(_FULL))["context"]["error"]))
            return
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._answer_all(connection)
        except OSError:
            pass  # the caller has gone
        except (ValueError, KeyError, TypeError) as error:
            records.warning("a connection with messages ended", reason=str(error))
        finally:
            self._places.release()

    def _answer_all(self, connection: socket.socket) -> None:
        first = frames.receive_first(connection)
        if first is not None:
            begin, messages = first
            with messages:
                self._answer_messages(connection, orjson.loads(begin)["deployment"], messages)

    def _answer_messages(self, connection: socket.socket, deployment: str, messages: socket.socket) -> None:
        try:
            with self._functions.pool.lease(deployment) as lease:
                calling.check(lease.instance)
        except EngineError as error:
            frames.send(connection, frames.hello(orjson.loads(calling.failed(error))["context"]["error"]))
            return
        frames.send(connection, frames.hello(None))
        while (message := frames.take(messages)) is not None:
            began_seconds = time.perf_counter()
            answer = self._answered(connection, deployment, message)
            frames.send(connection, frames.answer(answer, time.perf_counter() - began_seconds))

    def _answered(self, connection: socket.socket, deployment: str, message: bytes) -> bytes:
        def ask(lease: Lease) -> Called[bytes]:
            instance = lease.instance
            instance.invocation.caller = connection.fileno()
            self._log.begin(connection)
            try:
                answer = calling.call(instance, message, lease.manifest.timeout_seconds)
            finally:
                self._log.end()
                instance.invocation.caller = None
            return Called(answer, 200)

        try:
            return self._functions.call(Use(deployment), (), ask)[0]
        except EngineError as error:
            return calling.failed(error)


_FULL = OverloadedError("the worker has as many connections as it may")
