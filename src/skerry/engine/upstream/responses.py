"""One response of HTTP/1.1, out of bytes: parsed by llhttp, bounded, and told apart from what is no response.

A parser reads one response alone, so nothing that an upstream sends after it is taken for the answer to the next
request on the connection.
"""

import httptools

from skerry.engine.upstream.errors import UpstreamError
from skerry.engine.upstream.limits import FetchLimits

#: Interim responses (1xx) before the response itself.
INTERIM_MAX = 16

#: Of the connection, which is none of the function's.
_NOT_SHOWN = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"))
_LENGTH, _CODING, _TRANSFER = b"content-length", b"content-encoding", b"transfer-encoding"


class ResponseHead:
    """Status and headers.

    Attributes:
        status: 200 to 999.
        reason: its phrase.
        fields: names, in lower case, and values by turns, as the function gets them.
        content_encoding: of the body.
        length: the Content-Length; None where it is not said.
        is_chunked: the body says itself where it ends.
    """

    __slots__ = ("content_encoding", "fields", "is_chunked", "length", "reason", "status")

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.fields: list[bytes] = []
        self.content_encoding = b""
        self.length: int | None = None
        self.is_chunked = False

    def add(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        name = name.lower()
        if name == _LENGTH and value.isdigit():
            self.length = int(value)
        elif name == _CODING:
            self.content_encoding = b"%b,%b" % (self.content_encoding, value) if self.content_encoding else value
        elif name in _NOT_SHOWN:
            self.is_chunked |= name == _TRANSFER
            return
        self.fields += (name, value)

    def lines(self, *, is_decoded: bool) -> bytes:
        """Write it as a function gets it: UTF-8 lines of status, reason, then names and values by turns.

        Length and coding of the body are left out where they are not true of it any more.
        """
        fields = self.fields
        if is_decoded:
            pairs = zip(fields[::2], fields[1::2], strict=True)
            fields = [part for pair in pairs if pair[0] not in {_LENGTH, _CODING} for part in pair]
        text = b"\n".join((b"%d" % self.status, self.reason, *fields))
        return text if text.isascii() else text.decode("latin-1").encode()


class ResponseReader:
    """Reads one response; `feed` it until `is_complete`.

    Attributes:
        head: what has come of it.
        has_head: it is complete.
        is_complete: so is the body.
        keeps_alive: the connection may be used for another request then.
    """

    def __init__(self, limits: FetchLimits, *, without_body: bool) -> None:
        self.head = ResponseHead()
        self.has_head = False
        self.is_complete = False
        self.keeps_alive = False
        self._limits = limits
        self._without_body = without_body
        self._ends_with_connection = False
        self._is_interim = False
        self._interim = 0
        self._header_bytes = 0
        self._fed = False
        self._pieces: list[bytes] = []
        self._problem: str | None = None
        self._has_more = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing has come yet."""
        return not self._fed

    def feed(self, data: bytes) -> None:
        """Take what was received; raises UpstreamError for what is no response, or over a limit."""
        if not data:
            self._end()
            return
        self._fed = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise UpstreamError("the upstream switches to another protocol, unasked") from error
        except httptools.HttpParserError as error:
            if not self.is_complete:  # else it is what follows the response that is no HTTP
                raise UpstreamError(self._problem or f"what the upstream answers is not HTTP/1.1: {error}") from error
            self._has_more = True
        if self._has_more:
            self.keeps_alive = False

    def _end(self) -> None:
        """Take the end of the connection."""
        if not self.has_head or not self._ends_with_connection:
            raise UpstreamError("the upstream ended the connection before its response was complete")
        self.is_complete = True

    def take_body(self) -> bytes:
        """Return what has come of the body since the last call."""
        pieces = self._pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data

    # Called by the parser. Its error for an exception here is opaque: `_problem` keeps the sentence.

    def on_message_begin(self) -> None:
        """Begin a response; another one after the first is nobody's answer."""
        if self.is_complete:
            self._has_more = True

    def on_status(self, reason: bytes) -> None:
        """Take a piece of the reason phrase."""
        if not self.has_head:
            self.head.reason += reason
            self._header_bytes += len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, or trailer."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._limits.header_bytes_max or len(self.head.fields) >= 2 * self._limits.headers_max:
            self._fail_over_limit()
        if not self.has_head:  # else it is a trailer, or what follows
            self.head.add(name, value)

    def _fail_over_limit(self) -> None:
        limits = f"{self._limits.headers_max} headers or {self._limits.header_bytes_max} bytes of them"
        self._problem = f"the response has over {limits}"
        raise UpstreamError(self._problem)

    def on_headers_complete(self) -> None:
        """Take what the parser knows by now."""
        if self.is_complete:
            return
        status = self._parser.get_status_code()
        self._is_interim = status < 200
        if self._is_interim:
            return
        self.head.status = status
        self.has_head = True
        self.keeps_alive = self._parser.should_keep_alive()
        self._ends_with_connection = self.head.length is None and not self.head.is_chunked
        self.is_complete = self._without_body

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self.is_complete:
            self._has_more = True
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Take the end of the response, or forget an interim one."""
        if not self._is_interim:
            self.is_complete = True
            return
        self._interim += 1
        if self._interim > INTERIM_MAX:
            self._problem = f"the upstream sends over {INTERIM_MAX} interim responses"
            raise UpstreamError(self._problem)
        self.head = ResponseHead()
