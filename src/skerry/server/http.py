"""Requests and answers as every front door sees them: a thin cut over ASGI, with bounds.

Owns: reading a body up to its limit, header and query access, the shapes of an answer. Does not own routes,
authentication or what an error becomes (`app` does).
"""

import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol

import orjson

from skerry.api.errors import (
    ApiError,
    BadRequest,
    RequestEntityTooLarge,
    RequestTimeout,
    ServiceUnavailable,
    Timeout,
    UnsupportedMediaType,
)
from skerry.kit.deadlines import Limit, within
from skerry.kit.logs import get_logger
from skerry.kit.tasks import background
from skerry.server.access import Act, Decision
from skerry.server.auth import User
from skerry.server.conversations import Conversation

log = get_logger(__name__)

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: Sends an answer in one piece: its status, its headers as lines, and its body.
SendWhole = Callable[[int, bytes, bytes], Awaitable[None]]

#: Where the listening server puts a `SendWhole` into ASGI's `extensions`: two messages, each with a look at every
#: header, take as long as TLS.
SEND_WHOLE = "skerry.send_whole"

#: Takes the body of a request, where all of it is here; None where it is not.
TakeBody = Callable[[], bytes | None]

#: Where the listening server puts a `TakeBody`: nearly every body comes with its head, and needs no time limit and no
#: message of ASGI's.
TAKE_BODY = "skerry.take_body"

#: What is read of a body that is too large, so that its sender gets to read the answer.
DRAINED_BYTES_MAX = 16 * 1024 * 1024
#: How long a body may take to arrive: less than a request may take in all, so that its sender is told which it was.
BODY_SECONDS = 30.0
#: How long a streaming answer may take to begin: as long as another one in all.
OPENING_SECONDS = 60.0
#: Fields of one query string.
QUERY_FIELDS_MAX = 100
#: Queries whose fields are at hand, and how long they may be: clients ask the same again and again.
_QUERIES_REMEMBERED = 256
_QUERY_REMEMBERED_BYTES_MAX = 256

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Request:
    """One request, after authentication.

    Attributes:
        method: such as "GET".
        path: percent-decoded, without a trailing slash.
        user: who asks, or whom they act as.
        impersonator: who asks, where they act as someone else.
        decision: why it is allowed or not, for the audit log; whoever asks for access fills it.
        created_name: of what it creates, likewise; "" where nothing was read of it.
        verb: what is asked, for logs and metrics; the door that understands the request fills it.
        resource: of what; likewise.
        is_routine: whether it is what a machine says all the time, such as a report: told of in the audit log where
            reads are; the door fills it.
        headers: by their names in lower case; of repeated ones, the first.
    """

    decision: Decision | None

    def __init__(self, scope: Mapping[str, Any], receive: Receive, user: User) -> None:
        self.method: str = scope.get("method", "GET")  # a handshake is a GET, which ASGI leaves out
        self.path: str = scope["path"].rstrip("/") or "/"
        self.user = user
        self.impersonator: User | None = None
        self.decision = None
        self.created_name = ""
        self.verb = ""
        self.resource = ""
        self.is_routine = False
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self._scope = scope
        self._receive = receive

    @property
    def is_handshake(self) -> bool:
        """Whether it asks for a conversation, on a path where there is one."""
        return bool(self._scope["type"] == "websocket")

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they came, names in lower case."""
        return self._scope["headers"]  # type: ignore[no-any-return] # ASGI's own shape

    @property
    def uri(self) -> str:
        """The path and query as they came."""
        query = self._scope["query_string"].decode("latin-1")
        return f"{self._scope['path']}?{query}" if query else str(self._scope["path"])

    @property
    def client_host(self) -> str:
        """The address of whoever connected; "" where it is not known."""
        client = self._scope.get("client")
        return str(client[0]) if client else ""

    @property
    def extensions(self) -> Mapping[str, Any]:
        """What the server knows of the connection, by ASGI's names and ours."""
        return self._scope.get("extensions") or {}

    def header(self, name: bytes) -> str:
        """Return a header's value, "" where it is absent."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value else ""

    @property
    def query(self) -> Mapping[str, str]:
        """The query's fields; of repeated ones, the first. Raises BadRequest, as `query_lists`."""
        return _read_query(self._scope["query_string"])[0]

    @property
    def query_lists(self) -> Mapping[str, Sequence[str]]:
        """The query's fields with every value.

        Raises:
            BadRequest: it is not UTF-8, or has more than `QUERY_FIELDS_MAX` fields.
        """
        return _read_query(self._scope["query_string"])[1]

    async def body(self, bytes_max: int) -> bytes:
        """Read the body.

        Raises:
            UnsupportedMediaType: it is compressed; unpacked, it could be of any size.
            RequestEntityTooLarge: it is over `bytes_max`.
            RequestTimeout: it did not arrive within `BODY_SECONDS`.
            BadRequest: the sender went away.
        """
        if (encoding := self.header(b"content-encoding").strip().lower()) not in {"", "identity"}:
            raise UnsupportedMediaType(f"Content-Encoding {encoding} is not accepted: send the body as it is")
        take: TakeBody | None = self.extensions.get(TAKE_BODY)
        body = take() if take else None
        if body is None:
            body = await self._arriving_body(bytes_max)
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        return body

    async def _arriving_body(self, bytes_max: int) -> bytes:
        """Read a body as it arrives; of one that is too large, more than `bytes_max`."""
        if self._declared_bytes > max(bytes_max, DRAINED_BYTES_MAX):
            raise _too_large(bytes_max)  # at once: its sender may have waited for leave to send it
        parts, size, more = [], 0, True
        try:
            with within(BODY_SECONDS):
                while more and size <= max(bytes_max, DRAINED_BYTES_MAX):
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise BadRequest("the request's body ended early")
                    part: bytes = message.get("body", b"")
                    if size <= bytes_max:
                        parts.append(part)
                    size += len(part)
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise RequestTimeout(f"the request's body did not arrive within {BODY_SECONDS:.0f}s") from error
        return b"".join(parts)

    @property
    def _declared_bytes(self) -> int:
        """How long the body is to be, as its sender says; 0 where that is not said."""
        text = self.header(b"content-length")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _too_large(bytes_max: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Request entity too large: limit is {bytes_max}")


def _read_query(given: bytes) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    """Return the fields of a query, each with its first value and with all."""
    return _parse_query(given) if len(given) <= _QUERY_REMEMBERED_BYTES_MAX else _parse_query.__wrapped__(given)


@lru_cache(_QUERIES_REMEMBERED)
def _parse_query(given: bytes) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
    text = given.decode("latin-1")
    try:
        found = urllib.parse.parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise BadRequest(f"the query string can't be read: {error}") from error
    return {key: values[0] for key, values in found.items()}, found


class Response(NamedTuple):
    """An answer in one piece.

    Attributes:
        headers: besides Content-Type and Content-Length; names in lower case.
    """

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Streaming:
    """An answer that goes on.

    Attributes:
        parts: opened before the answer's first byte, within `OPENING_SECONDS`, so what it raises on entry is answered
            as an error.
        seconds: after which the answer ends, cleanly.
    """

    parts: AbstractAsyncContextManager[AsyncIterator[bytes]]
    seconds: float
    content_type: str = JSON


Answer = Response | Streaming | Conversation


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that may be asked; every one has its place in docs/reference/who-may.md.

    Attributes:
        method: such as "GET".
        path: with names in braces, such as "/api/v1/namespaces/{namespace}/secrets".
        watch: whether it is the watch of a collection (`?watch=true`), which is a verb of its own.
        act: what the caller must be allowed, in the namespace default; None where method and path tell it.
        converses: whether it is answered by a conversation, to a handshake of WebSocket. Elsewhere a wish to upgrade
            is passed over, as HTTP allows.
    """

    method: str
    path: str
    watch: bool = False
    act: Act | None = None
    converses: bool = False


class Door(Protocol):
    """One front door: a spelling of the verbs."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """How the paths begin that this door answers: one segment or two, such as "/apis" or "/v1/nodes"."""
        ...

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked here, for the table of who may."""
        ...

    async def answer(self, request: Request) -> Answer:
        """Answer a request; raises ApiError for every answer that is not success, and Forbidden before any other."""
        ...

    def refusal(self, request: Request, error: ApiError) -> Response:
        """Write an error in this door's form, also one from before the door was asked."""
        ...


class StatusRefusals:
    """A door whose errors are Kubernetes' Status objects."""

    def refusal(self, request: Request, error: ApiError) -> Response:  # noqa: ARG002 - as every door
        """Write an error as a Status; see `Door`."""
        return refusal(error)


def refusal(error: ApiError) -> Response:
    """Write an error as a Status object."""
    return Response(orjson.dumps(error.status()), error.code, headers=retry_after(error))


def retry_after(error: ApiError) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header that tells when to try again, where an error says so."""
    seconds = error.details.get("retryAfterSeconds")
    return () if seconds is None else ((b"retry-after", str(seconds).encode()),)


class _Stream:
    """A streaming answer that is opened or sent; it can be told to end."""

    def __init__(self) -> None:
        #: Whether it was told to, or its client went.
        self.is_over = False
        self._limit = within(None)

    @contextmanager
    def within(self, seconds: float) -> Iterator[Limit]:
        """Bound what is done now: ended, it raises TimeoutError as at its limit."""
        self._limit = within(seconds)
        with self._limit as limit:
            yield limit

    def end(self) -> None:
        """Have what is done now expire, and have nothing sent after it."""
        self.is_over = True
        self._limit.expire()


@dataclass(slots=True)
class Streams:
    """The streaming answers that are open now, so that a stopping server can end them.

    Ending one is having its deadline expire: the same clean end that its time limit brings.
    """

    _open: set[_Stream] = field(default_factory=set)
    _ending: bool = False

    async def send(
        self, streaming: Streaming, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send
    ) -> None:
        """Send a streaming answer until it ends, its time is up, the client goes, or `end_all`.

        Raises:
            ApiError: it could not be opened; nothing is sent.
        """
        stream = _Stream()
        self._open.add(stream)
        try:
            async with (
                background(("stream-client", partial(_end_when_client_goes, stream, receive))),
                AsyncExitStack() as stack,
            ):
                parts = await self._opened(streaming, stream, stack)
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await self._pump(parts, stream, streaming.seconds, send)
        finally:
            self._open.discard(stream)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _opened(self, streaming: Streaming, stream: _Stream, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        limit = None
        try:
            with stream.within(OPENING_SECONDS) as limit:
                return await stack.enter_async_context(streaming.parts)
        except TimeoutError as error:
            if limit is None or not limit.expired():
                raise
            if not stream.is_over:
                raise Timeout(f"the answer did not begin within {OPENING_SECONDS:.0f}s") from error
            raise ServiceUnavailable("the server is stopping, or the client went away") from error

    async def _pump(self, parts: AsyncIterator[bytes], stream: _Stream, seconds: float, send: Send) -> None:
        limit = None
        try:
            with stream.within(0.0 if self._ending or stream.is_over else seconds) as limit:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        except Exception as error:
            # The head is sent, so all that can be told is that it ends here.
            if not (isinstance(error, TimeoutError) and limit is not None and limit.expired()):
                log.exception("a streaming answer failed")

    def end_all(self) -> None:
        """End every open stream now, and every later one at its start."""
        self._ending = True
        for stream in tuple(self._open):
            stream.end()

    def __len__(self) -> int:
        return len(self._open)


async def _end_when_client_goes(stream: _Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()
