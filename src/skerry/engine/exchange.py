"""A request and its answer, both streamed: what a function that handles pieces has of its connection.

Owns the framing of the answer (whole with its length where it is known in time, else in chunks), what is held back to
be sent together, and the limits. Does not own the socket.

Invariants: the request's body is read when the function asks for it, and nothing is read ahead, so a slow function
holds the sender up; what the peer has not taken holds the function up. An answer that has begun can't become an error
any more: `abort` ends the connection, which the peer takes for what it is.
"""

import select
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

from skerry.engine.errors import CallError, FailureKind
from skerry.engine.http1 import Request, checked_head, chunked_head_bytes, response_bytes
from skerry.engine.manifest import FunctionManifest

#: What is written is sent from this size on; what is less when the function waits or its answer ends.
SENT_TOGETHER_BYTES = 16 * 1024
#: A peer that takes no bytes for so long is gone.
SEND_SECONDS_MAX = 30.0

_WITHOUT_BODY = frozenset((HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED))
_GONE = "the client has gone"


def response_too_large(manifest: FunctionManifest) -> CallError:
    """Return what a call ends with whose response is over the limit."""
    limit = f"{manifest.response_body_bytes_max} bytes (runtime.limits.responseBody)"
    return CallError(FailureKind.RESPONSE_TOO_LARGE, f"the function's response is larger than its limit of {limit}")


class PeerGoneError(Exception):
    """Nobody is left to take the answer, or to send the rest of the request."""


class Peer(Protocol):
    """The connection of a request, as its exchange uses it; it never blocks."""

    def receive(self) -> None:
        """Read what is there, once; raises OSError where the peer has gone."""
        ...

    def send(self, data: bytes) -> None:
        """Send what the peer takes now, and keep the rest."""
        ...

    def flush_now(self) -> bool:
        """Send more of what is left; returns whether that was all of it; raises OSError."""
        ...

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        ...

    def abandon(self) -> None:
        """Expect nothing more of the peer, and send it nothing more."""
        ...


class Exchange:
    """See above.

    Args:
        request: whose head has arrived.
        peer: its connection; no one else uses it until the turn ends.
        manifest: of the function, whose time limit and limit of a response's body hold.
        before_wait: called before the thread waits for the peer.

    Attributes:
        has_begun: a part of the answer may have been sent.
        is_answered: the whole answer was given.
        status: of the answer; 0 where none was given.
    """

    def __init__(
        self, request: Request, peer: Peer, manifest: FunctionManifest, before_wait: Callable[[], None]
    ) -> None:
        self.has_begun = False
        self.is_answered = False
        self._request = request
        self._peer = peer
        self._manifest = manifest
        self._before_wait = before_wait
        self._deadline = time.monotonic() + manifest.timeout_seconds
        self.status = 0
        self._head = b""
        self._held = bytearray()
        self._body_bytes = 0
        self._gone: OSError | None = None
        if request.body:
            request.pieces.append(request.body)

    # ---- the request's body

    def take(self, bytes_max: int) -> bytes:
        """Return the next bytes of the request's body that are here; nothing where there are none yet, or no more.

        Raises:
            PeerGoneError: the rest will not come.
            RequestError: it is too large, or no HTTP.
        """
        request = self._request
        self.has_news()
        if request.error is not None:
            raise request.error
        if request.pieces:
            piece = request.pieces.popleft()
            if len(piece) > bytes_max:
                request.pieces.appendleft(piece[bytes_max:])
            return piece[:bytes_max]
        if self._gone is not None:
            raise PeerGoneError(_GONE) from self._gone
        return b""

    def has_news(self) -> bool:
        """Tell whether `take` has something to say, or the body has ended."""
        request = self._request
        if not request.pieces and not request.is_whole and self._gone is None:
            try:
                self._peer.receive()
            except OSError as error:
                self._gone = error
        return bool(request.pieces) or request.is_whole or request.error is not None or self._gone is not None

    @property
    def has_ended(self) -> bool:
        """Whether the request's body was taken to its end."""
        return self._request.is_whole and not self._request.pieces

    def fileno(self) -> int:
        """Return what can be read when more of the body may have come."""
        return self._peer.fileno()

    def collect(self) -> None:
        """Wait for the whole of the request's body, for a function that takes it as one; raises as `take` does."""
        request = self._request
        pieces = []
        while not self.has_ended:
            if data := self.take(1 << 30):
                pieces.append(data)
            elif not self.has_ended:
                self._wait(select.POLLIN)
        request.body = b"".join(pieces)

    # ---- the answer

    def begin(self, status: int, head: bytes) -> None:
        """Give status and header lines; raises CallError for what is no HTTP."""
        if not 200 <= status <= 599:
            raise CallError(FailureKind.BAD_RESPONSE, "the function's response has a status that is not HTTP's")
        self._head = checked_head(head)
        self.status = status

    def write(self, data: bytes) -> None:
        """Give more of the body; raises PeerGoneError, and CallError at the limit."""
        self._body_bytes += len(data)
        if self._body_bytes > self._manifest.response_body_bytes_max:
            raise response_too_large(self._manifest)
        self._held += data
        if len(self._held) >= SENT_TOGETHER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is held back; the function is about to wait, or there is enough of it."""
        if self.status and self._held and not self.is_answered:
            data = bytes(self._held)
            self._held.clear()
            self._send(self._framed(data))

    def finish(self) -> None:
        """Say that the answer is whole."""
        data = bytes(self._held)
        self._held.clear()
        self.is_answered = True
        if not self.has_begun:
            self.has_begun = True
            self._peer.send(response_bytes(self._request, self.status, self._head, data))
        elif not self._is_without_body:
            self._send((b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + b"0\r\n\r\n")

    def abort(self) -> None:
        """End the connection in the middle of the answer."""
        self._request.keep_alive = False
        self._peer.abandon()

    @property
    def _is_without_body(self) -> bool:
        return self._request.method == b"HEAD" or self.status in _WITHOUT_BODY

    def _framed(self, data: bytes) -> bytes:
        head = b""
        if not self.has_begun:
            self.has_begun = True
            head = chunked_head_bytes(self._request, self.status, self._head)
        if self._is_without_body:
            return head
        return b"%b%x\r\n%b\r\n" % (head, len(data), data)

    def _send(self, data: bytes) -> None:
        """Send, once the peer has taken all that was sent before."""
        try:
            while not self._peer.flush_now():
                self._wait(select.POLLOUT)
        except OSError as error:
            raise PeerGoneError(_GONE) from error
        self._peer.send(data)

    def _wait(self, event: int) -> None:
        seconds = min(SEND_SECONDS_MAX, self._deadline - time.monotonic())
        self._before_wait()
        waiting = select.poll()
        waiting.register(self._peer.fileno(), event)
        if seconds <= 0 or not waiting.poll(seconds * 1000):
            raise PeerGoneError("the client took too long")
