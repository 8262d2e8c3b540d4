"""The address that the author asks: passes requests on to the engine worker, and shows failures as pages.

Speaks HTTP on one port of loopback, with uvicorn; a request goes over the worker's Unix socket, with the header that
names the revision, as Envoy would send it, or, where the function is a filter, through the gateway that it is part of.
What is answered is passed on as it is, and as it comes, except for the function's failures.
"""

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from skerry.agent.development.gateway import DevelopmentGateway
from skerry.agent.development.page import Failure, excerpt
from skerry.agent.development.session import Broken, DevelopmentSession, Reporter, Serving
from skerry.agent.listening import listening, read_body, send_body
from skerry.engine.function_logs import FunctionLogs
from skerry.gateway.errors import AdminUnavailable
from skerry.kit.tls import no_trust

#: A request's body, held while the worker takes it.
BODY_BYTES_MAX = 100 * 1024 * 1024
#: Longer than any request may take (`runtime.timeout`).
ANSWER_SECONDS_MAX = 3700.0
#: What is read of a failure, whose message is a sentence.
FAILURE_BYTES_MAX = 1024 * 1024
#: Lines of the log in which the stack of a failure is looked for.
_LINES_MAX = 200
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"host"))
_ERROR = b"x-skerry-error"
_REQUEST_ID = "x-request-id"


class _Answer(NamedTuple):
    """What is sent: status, headers, and the body as it comes."""

    status: int
    headers: list[tuple[bytes, bytes]]
    pieces: AsyncIterator[bytes]


class DevelopmentFront:
    """An ASGI application.

    Args:
        session: knows what is served.
        worker: the socket of the engine worker.
        logs: what functions wrote.
        reporter: tells the author.
        gateway: has the function where that is a filter.
    """

    def __init__(
        self,
        session: DevelopmentSession,
        worker: Path,
        logs: FunctionLogs,
        reporter: Reporter,
        gateway: DevelopmentGateway | None = None,
    ) -> None:
        self._session = session
        self._worker = httpx.AsyncHTTPTransport(uds=str(worker), verify=no_trust())
        self._network = httpx.AsyncHTTPTransport(verify=no_trust())
        self._gateway = gateway
        self._logs = logs
        self._reporter = reporter

    async def close(self) -> None:
        """Close the connections to worker and gateway."""
        await self._worker.aclose()
        await self._network.aclose()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        async with AsyncExitStack() as stack:
            answer = await self._answer(scope, receive, stack)
            headers = [(name, value) for name, value in answer.headers if name.lower() not in _HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            try:
                await send_body(answer.pieces, receive, send)
            except httpx.TransportError:
                return  # it breaks off for the client, too
            finally:
                self._reporter.answered(scope["method"], scope["path"], answer.status, time.perf_counter() - started)

    async def _answer(self, scope: Any, receive: Any, stack: AsyncExitStack) -> _Answer:
        """Ask, and return the answer as it begins; what it comes from is closed with the stack."""
        state = self._session.state
        content = await read_body(receive, BODY_BYTES_MAX)
        if isinstance(state, Broken):
            return _page(scope, 500, Failure(state.message, excerpt="\n".join(state.excerpts)))
        if content is None:
            return _page(scope, 413, Failure(f"the body exceeds the limit of {BODY_BYTES_MAX} bytes of skerry dev"))
        try:
            answer, request_id = await self._ask(state, scope, content)
            await stack.enter_async_context(contextlib.aclosing(answer))
            failed = dict(answer.headers.raw).get(_ERROR)
            if failed is not None and answer.status_code >= 500:
                failure = await self._failure(state, await _beginning(answer), request_id)
                return _page(scope, answer.status_code, failure, (_ERROR, failed))
        except (httpx.TransportError, AdminUnavailable) as error:
            who = "gateway" if state.is_filter else "engine worker"
            return _page(scope, 502, Failure(f"the {who} did not answer: {error or type(error).__name__}"))
        return _Answer(answer.status_code, answer.headers.raw, answer.aiter_raw())

    async def _ask(self, state: Serving, scope: Any, content: bytes) -> tuple[httpx.Response, str]:
        """Send a request to what has the function.

        Returns:
            What it answers, and the request's id: the gateway gives one of its own.

        Raises:
            httpx.TransportError: there is no answer.
            AdminUnavailable: the gateway is between two lives.
        """
        if state.is_filter and self._gateway:
            request = _request(scope, content, await self._gateway.origin())
            answer = await self._network.handle_async_request(request)
            return answer, answer.headers.get(_REQUEST_ID, "")
        request = _request(scope, content, "http://worker", (b"x-skerry-revision", state.revision.encode()))
        return await self._worker.handle_async_request(request), request.headers[_REQUEST_ID]

    async def _failure(self, state: Serving, body: bytes, request_id: str) -> Failure:
        """Tell what failed, with the stack that the worker has just written to the function's log."""
        try:
            message = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            message = body.decode(errors="replace")
        stack = ""
        async for line in self._logs.read(state.function, tail_lines=_LINES_MAX):
            entry = json.loads(line)
            told = str(entry.get("message", ""))
            if entry.get("requestId", request_id) == request_id and told.startswith(message):
                stack = told.removeprefix(message).strip("\n")
        return Failure(message, stack, excerpt(stack, state.files))


@asynccontextmanager
async def served(front: DevelopmentFront, host: str, port: int) -> AsyncIterator[str]:
    """Serve for the length of the block; yields the URL. Raises StartError where the port can't be had."""
    try:
        async with listening(front, host, port) as url:
            yield url
    finally:
        await front.close()


def _request(scope: Any, content: bytes, origin: str, *more: tuple[bytes, bytes]) -> httpx.Request:
    named = dict(scope["headers"])
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _HOP_BY_HOP]
    headers += [(b"host", named.get(b"host", b"localhost")), *more]
    if _REQUEST_ID.encode() not in named:
        headers.append((_REQUEST_ID.encode(), str(uuid.uuid4()).encode()))
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    url = httpx.URL(origin).copy_with(raw_path=target)
    timeout = httpx.Timeout(ANSWER_SECONDS_MAX).as_dict()
    return httpx.Request(
        scope["method"], url, headers=headers, content=content or None, extensions={"timeout": timeout}
    )


async def _beginning(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) >= FAILURE_BYTES_MAX:
            break
    return bytes(body[:FAILURE_BYTES_MAX])


def _page(scope: Any, status: int, failure: Failure, *headers: tuple[bytes, bytes]) -> _Answer:
    wants_html = b"text/html" in dict(scope["headers"]).get(b"accept", b"")
    kind, text = (b"text/html", failure.as_html()) if wants_html else (b"text/plain", failure.as_text())
    body = text.encode()
    told = [(b"content-type", kind + b"; charset=utf-8"), (b"content-length", b"%d" % len(body)), *headers]
    return _Answer(status, told, _whole(b"" if scope["method"] == "HEAD" else body))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
