"""An upstream for trying things out: it answers every request alike, and keeps what it was asked.

Owns a Unix socket, for the length of `serve_sample_upstream`. Does not own what is made of the requests.

Invariant: the answer does not follow from the request, so whatever else a client gets was changed on the way.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httptools

Headers = tuple[tuple[str, str], ...]

#: What of a request's body is kept.
BODY_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response.

    Attributes:
        start: `GET /cart?full=1` of a request, `200` of a response.
        headers: (name in lower case, value), in order.
        body: at most `BODY_BYTES_MAX` bytes.
    """

    start: str
    headers: Headers
    body: bytes = b""


@dataclass(slots=True)
class SampleUpstream:
    """The upstream: `answer` is sent to everybody, `asked` holds the requests since it was cleared last."""

    answer: Message
    asked: list[Message] = field(default_factory=list)

    def response(self, *, is_head: bool) -> bytes:
        """Return the answer as HTTP/1.1."""
        headers = (*self.answer.headers, ("content-length", str(len(self.answer.body))), ("connection", "close"))
        lines = [f"HTTP/1.1 {self.answer.start} Sample", *(f"{name}: {value}" for name, value in headers), "", ""]
        return "\r\n".join(lines).encode() + (b"" if is_head else self.answer.body)


class _Connection(asyncio.Protocol):
    """One connection, of one request; the methods in the middle are those that the parser calls."""

    def __init__(self, upstream: SampleUpstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's transport
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((_text(name).lower(), _text(value)))

    def on_body(self, part: bytes) -> None:
        self._body += part[: BODY_BYTES_MAX - len(self._body)]

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        start = f"{method} {_text(self._target)}"
        self._upstream.asked.append(Message(start, tuple(self._headers), bytes(self._body)))
        self._transport.write(self._upstream.response(is_head=method == "HEAD"))
        self._transport.close()


def _text(content: bytes) -> str:
    return content.decode(errors="backslashreplace")


@asynccontextmanager
async def serve_sample_upstream(path: Path, answer: Message) -> AsyncIterator[SampleUpstream]:
    """Serve on a Unix socket for the length of the block; raises OSError where it can't be bound."""
    upstream = SampleUpstream(answer)
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Connection(upstream), path)
    try:
        yield upstream
    finally:
        server.close()
