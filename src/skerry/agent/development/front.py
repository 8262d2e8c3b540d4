"""The address that the author asks: passes requests on to the engine worker, and shows failures as pages.

Speaks HTTP on one port of loopback, with uvicorn; a request goes over the worker's Unix socket, with the header that
names the revision, as Envoy would send it, or, where the function is a filter, through the gateway that it is part of.
What is answered is passed on as it is, except for the function's failures.
"""

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from skerry.agent.development.gateway import DevelopmentGateway
from skerry.agent.development.page import Failure, excerpt
from skerry.agent.development.session import Broken, DevelopmentSession, Reporter, Serving
from skerry.agent.listening import listening, read_body
from skerry.engine.function_logs import FunctionLogs
from skerry.gateway.errors import AdminUnavailable
from skerry.kit.tls import no_trust

#: A request's body, held while the worker takes it.
BODY_BYTES_MAX = 100 * 1024 * 1024
#: Longer than any request may take (`runtime.timeout`).
ANSWER_SECONDS_MAX = 3700.0
#: Lines of the log in which the stack of a failure is looked for.
_LINES_MAX = 200
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"host", b"content-length"))
_ERROR = b"x-skerry-error"
_REQUEST_ID = "x-request-id"


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
        status, headers, body = await self._answer(scope, receive)
        headers = [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        self._reporter.answered(scope["method"], scope["path"], status, time.perf_counter() - started)

    async def _answer(self, scope: Any, receive: Any) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        state = self._session.state
        content = await read_body(receive, BODY_BYTES_MAX)
        if isinstance(state, Broken):
            return _page(scope, 500, Failure(state.message, excerpt="\n".join(state.excerpts)))
        if content is None:
            return _page(scope, 413, Failure(f"the body exceeds the limit of {BODY_BYTES_MAX} bytes of skerry dev"))
        try:
            answer, request_id = await self._ask(state, scope, content)
            async with contextlib.aclosing(answer):
                body = await answer.aread()
        except (httpx.TransportError, AdminUnavailable) as error:
            who = "gateway" if state.is_filter else "engine worker"
            return _page(scope, 502, Failure(f"the {who} did not answer: {error or type(error).__name__}"))
        failed = dict(answer.headers.raw).get(_ERROR)
        if failed is not None and answer.status_code >= 500:
            failure = await self._failure(state, body, request_id)
            return _page(scope, answer.status_code, failure, (_ERROR, failed))
        return answer.status_code, answer.headers.raw, body

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


def _page(
    scope: Any, status: int, failure: Failure, *headers: tuple[bytes, bytes]
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    wants_html = b"text/html" in dict(scope["headers"]).get(b"accept", b"")
    kind, text = (b"text/html", failure.as_html()) if wants_html else (b"text/plain", failure.as_text())
    return status, [(b"content-type", kind + b"; charset=utf-8"), *headers], text.encode()
