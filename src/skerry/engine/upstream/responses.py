"""One response of HTTP/1.1, out of bytes: parsed by llhttp, bounded, and told apart from what is no response.

A parser reads one response alone, so nothing that an upstream sends after it is taken for the answer to the next
request on the connection.
"""

import httptools

from skerry.engine.upstream.errors import UpstreamError
from skerry.engine.upstream.limits import FetchLimits

#: What a response takes beside its headers' names and values, and its body: status line, line ends, lengths of chunks.
FRAMING_BYTES_MAX = 8 * 1024
#: Interim responses (1xx) before the response itself.
INTERIM_MAX = 16

#: Of the connection, which is none of the function's.
_NOT_SHOWN = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"))
_LENGTH, _CODING, _TRANSFER = b"content-length", b"content-encoding", b"transfer-encoding"
_NOTED = _NOT_SHOWN | {_LENGTH, _CODING}


class ResponseHead:
    """Status and headers.

    Attributes:
        status: 200 to 999.
        reason: its phrase.
        fields: names, in lower case, and values by turns, as the function gets them.
        content_encoding: of the body.
        length: the Content-Length; None where it is not said.
        is_chunked: the body says itself where it ends.
        is_complete: what comes later is a trailer, which nobody is told of.
    """

    __slots__ = ("content_encoding", "fields", "is_chunked", "is_complete", "length", "reason", "status")

    def __init__(self) -> None:
        self.fields: list[bytes] = []
        self.is_complete = False
        self.clear()

    def clear(self) -> None:
        """Forget all that was taken."""
        self.fields.clear()
        self.status = 0
        self.reason = b""
        self.content_encoding = b""
        self.length: int | None = None
        self.is_chunked = False

    def add(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        if self.is_complete:
            return
        name = name.lower()
        if name in _NOTED:
            if name == _LENGTH and value.isdigit():
                self.length = int(value)
            elif name == _CODING:
                self.content_encoding = b"%b,%b" % (self.content_encoding, value) if self.content_encoding else value
            elif name in _NOT_SHOWN:
                self.is_chunked |= name == _TRANSFER
                return
        self.fields += (name, value)

    def lines(self, *, is_decoded: bool = False) -> bytes:
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
        is_untouched: nothing has come yet.
        keeps_alive: the connection may be used for another request then.
    """

    # What few responses ever change is of the class.
    has_head = False
    is_complete = False
    is_untouched = True
    keeps_alive = False
    _bytes_aside = 0
    _ends_with_connection = False
    _has_more = False
    _interim = 0
    _is_interim = False
    _problem: str | None = None

    def __init__(self, limits: FetchLimits, *, without_body: bool) -> None:
        self.head = ResponseHead()
        self.on_header = self.head.add
        self._limits = limits
        self._without_body = without_body
        self._pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what was received; raises UpstreamError for what is no response, or over a limit."""
        if not data:
            self._end()
            return
        self.is_untouched = False
        pieces_before = len(self._pieces)
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
        if len(self._pieces) > pieces_before:
            self._bytes_aside = 0
        elif not self.is_complete:
            self._bytes_aside += len(data)
            if self._bytes_aside > self._limits.header_bytes_max + FRAMING_BYTES_MAX:
                raise UpstreamError(self._over_limit())

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

    # Called by the parser, with `on_header`. Its error for an exception here is opaque: `_problem` keeps the sentence.

    def on_message_begin(self) -> None:
        """Begin a response; another one after the first is nobody's answer."""
        if self.is_complete:
            self._has_more = True

    def on_status(self, reason: bytes) -> None:
        """Take a piece of the reason phrase."""
        if not self.has_head:
            self.head.reason += reason

    def _over_limit(self) -> str:
        limits = f"{self._limits.headers_max} headers or {self._limits.header_bytes_max} bytes of them"
        return f"the response has over {limits}"

    def on_headers_complete(self) -> None:
        """Take what the parser knows by now."""
        if self.is_complete:
            return
        status = self._parser.get_status_code()
        fields, limits = self.head.fields, self._limits
        if len(fields) > 2 * limits.headers_max or sum(map(len, fields)) > limits.header_bytes_max:
            self._problem = self._over_limit()
            raise UpstreamError(self._problem)
        self._is_interim = status < 200
        if self._is_interim:
            return
        self.head.status = status
        self.head.is_complete = True
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
        self.head.clear()
