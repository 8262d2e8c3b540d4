"""HTTP/1.1: requests out of bytes, responses into bytes.

Owns: parsing (llhttp, through httptools), its limits, what the function may see of a head, and how a reply is
written. Does not own sockets, time limits or what answers.

Envoy keeps its connections to a worker and sends requests of many clients and many functions over one of them.
So nothing that a function writes may change where its response ends: the head that it gives is checked against one
expression, and length, connection and trailer headers are ours alone.
"""

import http
import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import httptools
import orjson

from skerry.engine.errors import CallError, FailureKind

HEADERS_MAX = 200
HEADER_BYTES_MAX = 64 * 1024
TARGET_BYTES_MAX = 16 * 1024
#: What a message takes beside its headers' names and values, and its body: the target, line ends, lengths of chunks.
FRAMING_BYTES_MAX = TARGET_BYTES_MAX + 8 * 1024
_OVER_HEADERS = f"over {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of them"

#: Of a function's response, as the function wrote it. Envoy must take more of both (`gateway.envoy_config`): what it
#: refuses looks like a dead worker to it, so it would send the request again, and run the function each time.
REPLY_HEADERS_MAX = 100
REPLY_HEADER_BYTES_MAX = 60 * 1024
#: Most functions answer with the same few heads, so what they come to is kept: of short ones, and of so many.
KEPT_HEAD_BYTES_MAX = 512
KEPT_HEADS_MAX = 1024
#: In the answer to a request that failed; the function's log has more of the message.
ERROR_MESSAGE_CHARACTERS_MAX = 1024

_HOST = re.compile(rb"[-A-Za-z0-9._:\[\]]{1,255}")
#: Headers between Envoy and us, which are not the function's business; `x-skerry-*` likewise.
HOP_BY_HOP = frozenset(
    (b"connection", b"expect", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_NOTED = frozenset(
    (
        b"content-length",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"upgrade",
        b"x-forwarded-proto",
        b"x-skerry-revision",
    )
)
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REPLY_HEAD = re.compile(rb"(?:" + _TOKEN + rb": [\t\x20-\x7e\x80-\xff]*\r\n)*")
_REPLY_OURS = re.compile(
    rb"^(?:connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|x-skerry-[^:]*)"
    rb":[^\r]*\r\n",
    re.IGNORECASE | re.MULTILINE,
)
_STATUS_LINE: Final = {
    status: f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ''}\r\n".encode()
    for status in range(200, 600)
}
#: A response that ends with its head. 205 is none of them: it has no body, and says so by its length (RFC 9110).
_NO_BODY_STATUS = frozenset((204, 304))
_RESET_CONTENT = 205
#: What is shorter is copied behind its head: that takes less time than to hand the system two places.
JOINED_BODY_BYTES_MAX: Final = 32 * 1024
#: When to try again what was refused for want of room: turns end in less than a second, mostly.
RETRY_AFTER_SECONDS: Final = 1
_RETRY_STATUS = frozenset((429, 503))
_WEBSOCKET_MESSAGE = "functions take no WebSocket connections; an HTTPRoute can lead them to a Backend"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


#: Tells how long a request's body may be, in bytes, by its revision.
BodyLimit = Callable[[str | None], int]


class RequestError(Exception):
    """A request that is answered without a function: status, kind and sentence; the connection ends after it.

    Attributes:
        revision: that it was for; None where nobody knows.
    """

    def __init__(self, status: int, kind: FailureKind, message: str, revision: str | None = None) -> None:
        super().__init__(message)
        self.revision = revision
        self.status = status
        self.kind = kind
        self.message = message


class Request:
    """One request as it came over the wire.

    Attributes:
        body: the whole body, of a request that was read whole before it is answered.
        pieces: what has arrived of the body and was not taken, of one that is answered while it arrives.
        is_whole: nothing more of it arrives.
        error: why the rest is lost.
    """

    __slots__ = (
        "body", "error", "headers", "host", "is_websocket", "is_whole", "keep_alive", "method", "pieces", "revision",
        "scheme", "target",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: list[bytes] = []  # name and value by turns, names in lower case
        self.host = b""
        self.scheme = b"http"
        self.revision: str | None = None
        self.body = b""
        self.is_websocket = False
        self.pieces: deque[bytes] = deque()
        self.is_whole = True
        self.error: RequestError | None = None
        self.keep_alive = True

    def head_lines(self) -> bytes:
        """Return the head as `host.Instance.handle` takes it; raises RequestError for what no function can be asked."""
        if self.is_websocket:
            raise RequestError(501, FailureKind.NOT_IMPLEMENTED, _WEBSOCKET_MESSAGE)
        target = self.target
        if target[:1] == b"/":
            if not _HOST.fullmatch(self.host):
                raise RequestError(400, FailureKind.BAD_REQUEST, "the request has no valid Host header")
            target = self.scheme + b"://" + self.host + target
        head = b"\n".join((self.method, target, *self.headers))
        return head if head.isascii() else head.decode("latin-1").encode()


class RequestReader:
    """The requests of one connection, in order.

    Attributes:
        requests: what has arrived and is not answered yet; at most what one `feed` holds.
        error: why there is nothing to be read after these; answer it and end the connection.
        is_midway: whether a request has arrived in part, where something has arrived and `requests` is empty.
        is_engaged: never: a connection has nothing to keep between two requests.
        may_prompt: `prompt` may have something.
        idle_seconds_max: how long the peer may say nothing between two of them.

    Args:
        body_bytes_max: of a request.
        streams: tells whether a revision's requests are answered while their bodies arrive.
        idle_seconds_max: of the reader's.
    """

    is_midway = True
    is_engaged = False

    def __init__(self, body_bytes_max: BodyLimit, streams: Callable[[str], bool], *, idle_seconds_max: float) -> None:
        self.requests: deque[Request] = deque()
        self.error: RequestError | None = None
        self.may_prompt = False
        self.idle_seconds_max = idle_seconds_max
        self._limit_of = body_bytes_max
        self._streams = streams
        self._is_chunked = False
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._chunks: list[bytes] = []
        self._body_bytes = self._body_bytes_max = 0
        self._has_head = False
        self._bytes_aside = 0  # since anything of a request was complete
        self._length = 0

    def feed(self, data: bytes) -> None:
        """Take what was read from the peer."""
        self._bytes_aside += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.requests[-1].keep_alive = False  # answered as if it had not asked; what follows is not HTTP
        except httptools.HttpParserError as error:
            if self.error is None:
                self.error = RequestError(400, FailureKind.BAD_REQUEST, f"not an HTTP/1.1 request: {error}")
                self._request.error = self.error
        if self._bytes_aside > HEADER_BYTES_MAX + FRAMING_BYTES_MAX and self.error is None:
            self._refuse(431, _OVER_HEADERS)

    @property
    def is_within_body(self) -> bool:
        """Whether a request that was handed out has not arrived whole."""
        return not self._request.is_whole

    def give_up(self) -> None:
        """Expect nothing more: whatever is wrong with what came needs no answer."""
        self.error = None
        self._request.is_whole = True

    def prompt(self) -> bytes:
        """Return what the peer is told in the midst of a request, after all before it: that it may send the body."""
        if not self.may_prompt or self.requests:
            return b""
        self.may_prompt = False
        return CONTINUE

    def farewell(self, send: Callable[[bytes], None]) -> None:
        """Say, during a request, that it is the last one here: nothing does, no other is sent before its response."""

    def late(self, seconds: float) -> RequestError:
        """Return what a peer is answered whose request has not arrived in this time."""
        return RequestError(408, FailureKind.BAD_REQUEST, f"the request took longer than {seconds:g} s to arrive")

    # Called by the parser. An exception here would end it with an opaque error: failures are kept in `error`.

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        request = self._request
        request.target += url
        if len(request.target) > TARGET_BYTES_MAX:
            self._fail(414, f"the URL is longer than {TARGET_BYTES_MAX} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        if self._has_head:
            return  # a trailer
        name = name.lower()
        if name in _NOTED:
            self._note(name, value)
        if name not in HOP_BY_HOP and not name.startswith(b"x-skerry-"):
            self._request.headers += (name, value)

    def _note(self, name: bytes, value: bytes) -> None:
        """Take a header that means something to us."""
        if name == b"x-skerry-revision":
            self._request.revision = value.decode("latin-1")
        elif name == b"host":
            self._request.host = value
        elif name == b"x-forwarded-proto" and value == b"https":
            self._request.scheme = b"https"
        elif name == b"content-length":
            self._length = int(value)  # llhttp has checked the digits
        elif name == b"upgrade":
            self._request.is_websocket = value.lower() == b"websocket"
        elif name == b"transfer-encoding":
            self._is_chunked = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self.may_prompt = True

    def on_headers_complete(self) -> None:
        """Take what the parser knows by now."""
        request, headers = self._request, self._request.headers
        self._has_head, self._bytes_aside = True, 0
        if len(headers) > 2 * HEADERS_MAX or sum(map(len, headers)) > HEADER_BYTES_MAX:
            self._fail(431, _OVER_HEADERS)
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive()
        if self._length:
            self._expect(self._length)
        if (self._length or self._is_chunked) and request.revision is not None and self._streams(request.revision):
            request.is_whole = False
            self.requests.append(request)

    def _expect(self, body_bytes: int) -> None:
        """Refuse a body of so many bytes where that is over the limit, which is asked for once."""
        limit = self._body_bytes_max = self._body_bytes_max or self._limit_of(self._request.revision)
        if body_bytes > limit:
            self._chunks.clear()
            message = f"the request's body is larger than the limit of {limit} bytes (runtime.limits.requestBody)"
            self._fail(413, message, FailureKind.BODY_TOO_LARGE)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(body)
        self._bytes_aside = 0
        if self._body_bytes > self._body_bytes_max:
            self._expect(self._body_bytes)
        (self._chunks if self._request.is_whole else self._request.pieces).append(body)

    def on_message_complete(self) -> None:
        """Keep the request as complete."""
        request = self._request
        if not request.is_whole:
            request.is_whole = True
        else:
            request.body = b"".join(self._chunks)
            self._chunks.clear()
            self.requests.append(request)
        self._request = Request()
        self._body_bytes = self._body_bytes_max = self._bytes_aside = self._length = 0
        self.may_prompt = self._is_chunked = self._has_head = False

    def _refuse(self, status: int, message: str, kind: FailureKind = FailureKind.BAD_REQUEST) -> RequestError:
        self.error = self._request.error = RequestError(status, kind, message, self._request.revision)
        return self.error

    def _fail(self, status: int, message: str, kind: FailureKind = FailureKind.BAD_REQUEST) -> None:
        raise self._refuse(status, message, kind)  # makes the parser stop


def checked_head(head: bytes) -> bytes:
    """Return a function's header lines without those that are ours.

    Raises:
        CallError: they are over a limit, or no header lines.
    """
    return _checked_again(head) if len(head) <= KEPT_HEAD_BYTES_MAX else _checked(head)


def _checked(head: bytes) -> bytes:
    if len(head) > REPLY_HEADER_BYTES_MAX or head.count(b"\n") > REPLY_HEADERS_MAX:
        limits = f"{REPLY_HEADERS_MAX} headers or {REPLY_HEADER_BYTES_MAX} bytes of them"
        raise CallError(FailureKind.BAD_RESPONSE, f"the function's response has over {limits}")
    try:
        sent = head if head.isascii() else head.decode().encode("latin-1")
    except UnicodeError:
        sent = b"\n"
    if not _REPLY_HEAD.fullmatch(sent):
        raise CallError(FailureKind.BAD_RESPONSE, "the function's response has headers that are not HTTP")
    return _REPLY_OURS.sub(b"", sent)


_checked_again = lru_cache(KEPT_HEADS_MAX)(_checked)


def response_bytes(request: Request | None, status: int, head: bytes, body: bytes) -> bytes:
    """Write a whole response, as `response_parts` does, in one piece."""
    return b"".join(response_parts(request, status, head, body))


def response_parts(request: Request | None, status: int, head: bytes, body: bytes) -> tuple[bytes, ...]:
    """Write a whole response: in one part, or in two where its body is large, since that would be a copy of it.

    Args:
        request: what it answers; None for one that could not be read (the connection ends).
        status: 200 to 599.
        head: header lines that passed `checked_head`.
        body: the body; not sent to a HEAD request.
    """
    closing = b"" if request is not None and request.keep_alive else b"connection: close\r\n"
    if status in _NO_BODY_STATUS:
        return (b"".join((_STATUS_LINE[status], head, closing, b"\r\n")),)
    if status == _RESET_CONTENT:
        body = b""
    length = b"content-length: %d\r\n" % len(body)
    if request is not None and request.method == b"HEAD":
        body = b""
    if len(body) > JOINED_BODY_BYTES_MAX:
        return b"".join((_STATUS_LINE[status], head, length, closing, b"\r\n")), body
    return (b"".join((_STATUS_LINE[status], head, length, closing, b"\r\n", body)),)


def chunked_head_bytes(request: Request, status: int, head: bytes) -> bytes:
    """Write the head of a response whose body follows in chunks, or that has none; arguments as `response_bytes`."""
    closing = b"" if request.keep_alive else b"connection: close\r\n"
    chunked = b"" if status in _NO_BODY_STATUS else b"transfer-encoding: chunked\r\n"
    return b"".join((_STATUS_LINE[status], head, chunked, closing, b"\r\n"))


def error_bytes(request: Request | None, status: int, kind: FailureKind, message: str) -> bytes:
    """Write the answer to a request that no function answered."""
    head = "".join(f"{name}: {value}\r\n" for name, value in error_fields(status, kind)).encode()
    return response_bytes(request, status, head, error_text(kind, message))


def error_fields(status: int, kind: FailureKind) -> list[tuple[str, str]]:
    """Return the headers of such an answer."""
    again = [("retry-after", str(RETRY_AFTER_SECONDS))] if status in _RETRY_STATUS else []
    return [("content-type", "application/json"), ("x-skerry-error", kind), *again]


def error_text(kind: FailureKind, message: str) -> bytes:
    """Return the body of such an answer; a message over the limit is cut."""
    if len(message) > ERROR_MESSAGE_CHARACTERS_MAX:
        message = f"{message[: ERROR_MESSAGE_CHARACTERS_MAX - 1]}…"
    return orjson.dumps({"error": kind, "message": message})


def reply_parts(request: Request, status: int, head: bytes, body: bytes) -> tuple[bytes, ...]:
    """Write a function's response, as `response_parts` does; raises CallError for one that is none."""
    if not 200 <= status <= 599:
        raise CallError(FailureKind.BAD_RESPONSE, "the function's response has a status that is not HTTP's")
    return response_parts(request, status, checked_head(head), body)
