"""One connection to an upstream, without blocking: TCP, and TLS over it.

Where it leads is decided before (`dialing`); what is said over it is HTTP/1.1 (here) or HTTP/2 (`http2`). What a
request still has to send goes out while its response is being received, so an upstream may answer while it reads.
"""

import select
import socket
import ssl
import time
from collections.abc import Callable

from skerry.engine.upstream.errors import GoneError, UpstreamError
from skerry.engine.upstream.limits import FetchLimits
from skerry.engine.upstream.requests import Origin, OutgoingRequest
from skerry.engine.upstream.responses import ResponseReader
from skerry.engine.upstream.waits import Steps, Wait
from skerry.kit.addresses import Address

READ_BYTES = 64 * 1024
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Connection:
    """See above; used by one subrequest at a time.

    Attributes:
        origin: what it is used for.
        address: where it leads.
        descriptor: the socket's.
        protocol: that was chosen in its handshake; "" for none.
        idle_since, cleared_by, is_shared: see `Carrier`.
    """

    def __init__(self, sock: socket.socket, origin: Origin, address: Address, protocol: str = "") -> None:
        self._socket = sock
        self.descriptor = sock.fileno()
        self._unsent = memoryview(b"")
        self._is_cut = False
        self.origin = origin
        self.address = address
        self.idle_since = time.monotonic()
        self._was_used = False
        self.protocol = protocol
        self.cleared_by: object = None
        self.is_shared = False

    def read_now(self) -> bytes | None:
        """Return what has come; None for nothing yet, b"" for the end. Raises UpstreamError."""
        try:
            return self._socket.recv(READ_BYTES)
        except _NOT_NOW:
            return None
        except ConnectionResetError:
            return b""
        except OSError as error:
            raise UpstreamError(f"the connection broke: {error}") from error

    def write_now(self, data: "bytes | bytearray | memoryview") -> int:
        """Send what the peer takes now; return how many bytes that was. Raises OSError."""
        try:
            return self._socket.send(data) if data else 0
        except _NOT_NOW:
            return 0

    def _flush(self) -> None:
        try:
            while self._unsent and (sent := self.write_now(self._unsent)):
                self._unsent = self._unsent[sent:]
        except OSError:  # the peer takes no more; what it has answered can still be read
            self._unsent = memoryview(b"")
            self._is_cut = True

    def ask(
        self,
        request: OutgoingRequest,
        body: bytes,
        limits: FetchLimits,
        wake: Callable[[], None],  # noqa: ARG002 - of `Carrier`
    ) -> "Steps[Http1Response]":
        """Send a request, and receive the head of its response; see `Carrier`."""
        self._unsent = memoryview(request.http1_bytes(body))
        self._flush()
        response = Http1Response(self, limits, without_body=request.method == b"HEAD")
        until, doing = time.monotonic() + limits.head_seconds_max, "waiting for the response"
        yield self._wait(until, doing)
        while not response.has_head:
            data = None if self._unsent else self.read_now()
            if data is None:
                data = yield from self.receive(until, doing)
            if not data and self._was_used and response.is_untouched:
                raise GoneError("the upstream ended the connection without an answer")
            response.feed(data)
        return response

    def receive(self, until: float, doing: str) -> Steps[bytes]:
        """Return what comes next, empty at the end; what is still to be sent is sent meanwhile."""
        while True:
            if self._unsent:
                self._flush()
            data = self.read_now()
            if data is not None:
                return data
            yield self._wait(until, doing)

    def _wait(self, until: float, doing: str) -> Wait:
        events = select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN
        return Wait(self.descriptor, events, until, doing)

    def rest(self) -> bool:
        """Note that a request is over; returns whether it was sent as a whole."""
        self._was_used = True
        return not self._unsent and not self._is_cut

    @property
    def is_alive(self) -> bool:
        """Whether the peer has neither ended the connection nor said anything since the last response."""
        try:
            self._socket.recv(1)  # of TLS too, where a message that holds no data may have come
        except _NOT_NOW:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


class Http1Response(ResponseReader):
    """A response over a connection; see `Received`."""

    def __init__(self, connection: Connection, limits: FetchLimits, *, without_body: bool) -> None:
        super().__init__(limits, without_body=without_body)
        self._connection = connection
        self._idle_seconds_max = limits.idle_seconds_max

    def more(self) -> Steps[None]:
        """Receive more of the body."""
        until = time.monotonic() + self._idle_seconds_max
        self.feed((yield from self._connection.receive(until, "waiting for more of the response's body")))

    def end(self) -> bool:
        """Say that nothing more of it is wanted."""
        return self._connection.rest() and self.is_complete and self.keeps_alive
