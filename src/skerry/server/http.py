"""Requests and answers as every front door sees them: a thin cut over ASGI, with bounds.

Owns: reading a body up to its limit, header and query access, the shapes of an answer. Does not own routes,
authentication or what an error becomes (`app` does).
"""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import orjson

from skerry.api.errors import ApiError, BadRequest, RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType
from skerry.kit.deadlines import Limit, within
from skerry.kit.logs import get_logger
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
        parts: opened before the answer's first byte, so what it raises on entry is answered as an error.
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


@dataclass(slots=True)
class Streams:
    """The streaming answers that are open now, so that a stopping server can end them.

    Ending one is having its deadline expire: the same clean end that its time limit brings.
    """

    _deadlines: set[Limit] = field(default_factory=set)
    _ending: bool = False

    async def send(
        self, streaming: Streaming, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send
    ) -> None:
        """Send a streaming answer until it ends, its time is up, the client goes, or `end_all`."""
        async with streaming.parts as parts:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            deadline = within(0.0 if self._ending else streaming.seconds)
            self._deadlines.add(deadline)
            try:
                await self._pump(parts, deadline, receive, send)
            except Exception:
                # The head is sent, so all that can be told is that it ends here.
                log.exception("a streaming answer failed")
            finally:
                self._deadlines.discard(deadline)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, parts: AsyncIterator[bytes], deadline: Limit, receive: Receive, send: Send) -> None:
        async def end_when_client_goes() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            deadline.expire()

        try:
            with deadline:
                async with asyncio.TaskGroup() as group:
                    listener = group.create_task(end_when_client_goes())
                    async for part in parts:
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                    listener.cancel()
        except TimeoutError:
            if not deadline.expired():
                raise

    def end_all(self) -> None:
        """End every open stream now, and every later one at its start."""
        self._ending = True
        for deadline in tuple(self._deadlines):
            deadline.expire()

    def __len__(self) -> int:
        return len(self._deadlines)
