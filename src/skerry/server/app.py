"""The one ASGI application: every request comes in here, and every answer goes out.

Owns what all front doors share: authentication, the audit id, errors as Status objects, metrics, streams and their
end. The path to a door is kept short: no middleware, one table of prefixes.
"""

import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from skerry.api.errors import ApiError, InsufficientStorage, InternalError, NotFound, Timeout
from skerry.kit.clock import Clock
from skerry.kit.deadlines import within
from skerry.kit.files import is_full
from skerry.kit.ids import uuid_text
from skerry.kit.logs import get_logger
from skerry.server import health
from skerry.server.access import Access, Denied, path_act, require
from skerry.server.audit import Answered, AuditLog
from skerry.server.auth import ANONYMOUS, Authenticator, credentials_of, require_user
from skerry.server.authorization.defaults import JOINING_PREFIXES, PUBLIC_DOCUMENTS
from skerry.server.conversations import Conversation, Peer, converse, refusing_handshake
from skerry.server.health import Health
from skerry.server.http import (
    SEND_WHOLE,
    Answer,
    Door,
    Receive,
    Request,
    Response,
    Route,
    Send,
    SendWhole,
    Streaming,
    Streams,
    refusal,
)
from skerry.server.impersonation import impersonated
from skerry.server.inflight import Inflight, InflightLimits
from skerry.server.metrics import Measured, answered, duration, exposition

log = get_logger(__name__)

_METRICS = "/metrics"
#: Paths that may be asked without a credential, as the anonymous user.
_ANONYMOUS_PATHS = health.PATHS | {"/version", *PUBLIC_DOCUMENTS}
#: How long an answer may take, streams aside; Kubernetes' own time.
REQUEST_SECONDS = 60.0
#: What is answered is true now; the few documents that may be kept say so themselves.
_NOT_KEPT = (b"cache-control", b"no-cache, private")
#: The headers of nearly every answer: its type, its length, the audit id.
_HEAD = b"content-type: %s\r\ncontent-length: %d\r\naudit-id: %s\r\ncache-control: no-cache, private\r\n"
_AUDIT_ID = b"audit-id"
_AUDIT_ID_FORM = re.compile(rb"[A-Za-z0-9-]{1,64}")

#: An audit id is a name, not a secret: asking the system for randomness would cost a fifth of a get.
_random = random.Random()  # noqa: S311 - see above

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Guards:
    """Who is let in, who may what, and how much at once."""

    authenticators: tuple[Authenticator, ...]
    access: Access
    limits: InflightLimits = field(default_factory=InflightLimits)


class App:
    """The application, to be run by `serve`.

    Args:
        doors: the front doors.
        guards: who is let in.
        health: answers the health paths.
        clock: for durations.
        audit: records what is done; None where nobody keeps it.
        measured: has metrics that are made when somebody asks; None for nobody.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        guards: Guards,
        health: Health,
        clock: Clock,
        audit: AuditLog | None = None,
        measured: Measured | None = None,
    ) -> None:
        self._measured = measured
        self._audit = audit
        self._doors = {prefix: door for door in doors for prefix in door.prefixes}
        self._conversing = frozenset(route.path for door in doors for route in door.routes() if route.converses)
        self._guards = guards
        self._health = health
        self._clock = clock
        self._streams = Streams()
        self._inflight = Inflight(guards.limits)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] not in {"http", "websocket"}:
            raise NotImplementedError(f"no {scope['type']} here")
        started = self._clock.monotonic_seconds()
        request = Request(scope, receive, ANONYMOUS)
        reply = refusing_handshake(send) if request.is_handshake else send
        audit_id, received = _audit_id(request.headers), self._clock.now()
        shared: Headers = [(_AUDIT_ID, audit_id)]
        lasts = False
        try:
            answer = await self._answer(request)
            lasts = not isinstance(answer, Response)
            match answer:
                case Streaming():
                    headers = [(b"content-type", answer.content_type.encode()), _NOT_KEPT, *shared]
                    with self._inflight.stream(request.user):
                        self._record(request, Answered(audit_id.decode(), 200, "ResponseStarted", received))
                        await self._streams.send(answer, headers, receive, send)
                    code = 200
                case Conversation():
                    with self._inflight.link(request.user):
                        self._record(request, Answered(audit_id.decode(), 200, "ResponseStarted", received))
                        peer = Peer(receive, send, partial(self._admitted, request))
                        await converse(answer, peer, shared)
                    code = 101
                case Response():
                    code = answer.status
                    await _send(answer, audit_id, request, reply)
        except ApiError as error:
            if isinstance(error, Denied):
                request.decision = error.decision
            refused = self._refusal(request, error)
            code = refused.status
            await _send(refused, audit_id, request, reply)
        except Exception as error:
            log.exception("request failed", method=request.method, path=request.path)
            refused = self._refusal(request, _unforeseen(error))
            code = refused.status
            await _send(refused, audit_id, request, reply)
        self._record(request, Answered(audit_id.decode(), code, "ResponseComplete", received))
        verb, resource = request.verb or "other", request.resource
        answered(verb, resource, code).inc()
        if not lasts:
            duration(verb, resource).observe(self._clock.monotonic_seconds() - started)

    @asynccontextmanager
    async def _admitted(self, request: Request) -> AsyncIterator[None]:
        """Let a message of a conversation in for the length of the block, as the request that began it was."""
        try:
            with within(REQUEST_SECONDS):
                await self._identify(request)
                with self._inflight.request(request.user, "POST"):
                    yield
        except TimeoutError as error:
            raise Timeout(f"the message took longer than {REQUEST_SECONDS:.0f}s") from error

    def converses_at(self, path: str) -> bool:
        """Tell whether a path is that of a conversation."""
        return path in self._conversing

    def _record(self, request: Request, answered: Answered) -> None:
        if self._audit is not None:
            self._audit.record(request, answered)

    async def _answer(self, request: Request) -> Answer:
        try:
            with within(REQUEST_SECONDS):
                beginnings = _beginnings(request.path)
                door = self._door(beginnings)
                if request.path in _ANONYMOUS_PATHS:
                    return await self._dispatch(request, door)
                if beginnings[1] not in JOINING_PREFIXES:
                    await self._identify(request)
                with self._inflight.request(request.user, request.method):
                    return await self._dispatch(request, door)
        except TimeoutError as error:
            raise Timeout(f"the request took longer than {REQUEST_SECONDS:.0f}s; a write may still be done") from error

    async def _dispatch(self, request: Request, door: Door | None) -> Answer:
        if door is not None:
            return await door.answer(request)  # which asks for access itself: it knows what its paths mean
        request.decision = require(self._guards.access, request.user, path_act(request.method, request.path))
        if request.path in health.PATHS:
            return await self._health.answer(request)
        if request.path == _METRICS:
            return await exposition(self._measured)
        raise NotFound("the server could not find the requested resource")

    def _door(self, beginnings: tuple[str, str]) -> Door | None:
        """Return the door of a path: the one with the longer prefix, of one segment or two."""
        segment, two_segments = beginnings
        return self._doors.get(two_segments) or self._doors.get(segment)

    def _refusal(self, request: Request, error: ApiError) -> Response:
        door = self._door(_beginnings(request.path))
        return refusal(error) if door is None else door.refusal(request, error)

    async def _identify(self, request: Request) -> None:
        """Find out who asks, and whom they act as."""
        shown = credentials_of(request.headers, request.extensions)
        user = await require_user(self._guards.authenticators, shown)
        other = impersonated(user, request.raw_headers, self._guards.access)
        request.user, request.impersonator = (user, None) if other is None else (other, user)

    def routes(self) -> Iterator[Route]:
        """Yield everything that may be asked, by any door."""
        yield from (Route("GET", path) for path in sorted({*health.PATHS, _METRICS}))
        for door in dict.fromkeys(self._doors.values()):
            yield from door.routes()

    def end_streams(self) -> None:
        """End every open watch and log, cleanly: the server is stopping."""
        self._streams.end_all()

    def statistics(self) -> dict[str, int]:
        """Return how many streaming answers are open, and how much is in flight."""
        return {"streams": len(self._streams), **self._inflight.statistics()}


def _beginnings(path: str) -> tuple[str, str]:
    """Return "/apis" and "/apis/x" of "/apis/x/y"; "/" of what is no path, such as the "*" of `OPTIONS *`."""
    segments = path.split("/", 3)
    return "/" + "".join(segments[1:2]), "/" + "/".join(segments[1:3])


def _audit_id(headers: Mapping[bytes, bytes]) -> bytes:
    given = headers.get(_AUDIT_ID, b"")
    return given if _AUDIT_ID_FORM.fullmatch(given) else uuid_text(_random.getrandbits(122)).encode()


def _unforeseen(error: Exception) -> ApiError:
    """Return what is told of an error that nobody made into an answer; a full disk is no defect."""
    if is_full(error):
        return InsufficientStorage("a disk of the server is full: free space on it")
    return InternalError("an error on the server: see its log")


async def _send(response: Response, audit_id: bytes, request: Request, send: Send) -> None:
    body = b"" if request.method == "HEAD" else response.body
    whole: SendWhole | None = request.extensions.get(SEND_WHOLE)
    if whole is not None and not response.headers:
        lines = _HEAD % (response.content_type.encode(), len(response.body), audit_id)
        await whole(response.status, lines, body)
        return
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", b"%d" % len(response.body)),
        (_AUDIT_ID, audit_id),
        *response.headers,
    ]
    if not any(name == _NOT_KEPT[0] for name, _ in response.headers):
        headers.append(_NOT_KEPT)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
