"""Answers the requests that the gateway takes for endpoints: finds the endpoint, calls its function, writes the output.

An ASGI application of its own on a Unix socket that only the gateway of this node reaches: requests come without a
credential of ours, and the endpoint says that they may. Does not own the routes to it (`gateway.endpoints`).

Where Dispatch answered a failed function with an empty 200, the answer is 422, 502 or 500 (docs/reference).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import orjson
from prometheus_client import Counter

from skerry.api.dispatch_endpoints import CALL_SECONDS_MAX, METHODS, Endpoint, takes
from skerry.api.dispatch_traces import trace_of
from skerry.api.dispatch_v1 import PAYLOAD_BYTES_MAX, Run, RunSpec
from skerry.api.errors import ApiError, BadRequest, NotFound, Timeout
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.server.auth import ANONYMOUS
from skerry.server.dispatch import errors
from skerry.server.dispatch.http_payloads import http_context, payload_of
from skerry.server.http import Receive, Request, Response, Send

log = get_logger(__name__)
REQUESTS = Counter("skerry_endpoint_requests_total", "Answered requests.", ["namespace", "endpoint", "code"])

#: A request with this header at "false" does not wait for the end of its run.
_BLOCKING = b"x-dispatch-blocking"
_SCHEME = b"x-forwarded-proto"
_CORS = (b"access-control-allow-origin", b"*")
#: What is answered where a function failed, by who is to blame.
_FAILED = {"InputError": 422, "FunctionError": 502}


class Calls(Protocol):
    """Calls functions."""

    async def call(self, spec: RunSpec, namespace: str) -> Run:
        """Run a function, and wait for its end where that is `blocking`."""
        ...


class EndpointApp:
    """The application, to be run by `serve_socket`.

    Args:
        endpoints: every endpoint, as it is now.
        calls: calls their functions.
    """

    def __init__(self, endpoints: Iterable[Endpoint], calls: Calls) -> None:
        self._endpoints = endpoints
        self._calls = calls

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = Request(scope, receive, ANONYMOUS)
        endpoint = self._find(request, scope["raw_path"].decode("latin-1").rstrip("/") or "/")
        try:
            with within(CALL_SECONDS_MAX):
                answer = await self._answer(request, endpoint, scope)
        except TimeoutError:
            late = Timeout(f"the function took longer than {CALL_SECONDS_MAX:.0f}s; call it without waiting")
            answer = errors.refusal(late)
        except ApiError as error:
            answer = errors.refusal(error)
        except Exception:
            log.exception("request to an endpoint failed", method=request.method, path=request.path)
            answer = _message(500, "an error on the server: see its log")
        if endpoint is not None:
            REQUESTS.labels(endpoint.namespace, endpoint.name, answer.status).inc()
        await _send(answer, endpoint, request.method, send)

    def _find(self, request: Request, path: str) -> Endpoint | None:
        """Return the endpoint whose path fits best, and of several the oldest.

        Args:
            request: a request.
            path: its path as the gateway chose by it, not decoded: one with an escape would fit no endpoint.
        """
        host = request.header(b"host").rpartition("@")[2].partition(":")[0].lower()
        fits = [
            (-found, each.metadata.creation_timestamp or "", each.namespace, each.name, each)
            for each in self._endpoints
            if (found := takes(each, method=request.method, host=host, path=path))
        ]
        return min(fits, key=lambda fit: fit[:-1])[-1] if fits else None

    async def _answer(self, request: Request, endpoint: Endpoint | None, scope: Mapping[str, Any]) -> Response:
        if endpoint is None:
            raise NotFound("no API found with those values")
        scheme = request.header(_SCHEME) or "http"
        spec = endpoint.spec
        if spec.protocols and scheme not in spec.protocols:
            raise BadRequest(f"Please use {spec.protocols[0].upper()} protocol")
        if spec.cors and request.method == "OPTIONS":
            return Response(b"")
        query = scope["query_string"].decode("latin-1")
        body = await request.body(PAYLOAD_BYTES_MAX)
        payload = payload_of(request.method, query, request.header(b"content-type"), body)
        context = http_context(
            request.raw_headers, method=request.method, target=_target(scope), scheme=scheme, version="1.1"
        )
        blocking = request.header(_BLOCKING).lower() != "false"
        trace = trace_of(request.header(b"traceparent"), request.header(b"tracestate"))
        wanted = RunSpec(
            function_name=spec.function, blocking=blocking, input=payload, http_context=context, trace=trace
        )
        run = await self._calls.call(wanted, endpoint.namespace)
        return _output(run) if blocking else Response(b"")


def _target(scope: Mapping[str, Any]) -> str:
    path, query = (scope.get(name, b"").decode("latin-1") for name in ("raw_path", "query_string"))
    return f"{path}?{query}" if query else path


def _output(run: Run) -> Response:
    """Write what a function returned, or that it failed; what it raised is told to who may see its runs."""
    status, name = run.status, run.spec.function_name
    if status.state == "ERROR":
        kind = status.error.type if status.error else ""
        if kind == "InputError" and status.error:
            return _message(_FAILED[kind], status.error.message)
        return _message(_FAILED.get(kind, 500), f"function {name} failed: see run {run.name}")
    empty = status.output is None or status.output == ""
    return Response(b"" if empty else orjson.dumps(status.output))


def _message(code: int, message: str) -> Response:
    return Response(orjson.dumps({"code": code, "message": message}), code)


async def _send(answer: Response, endpoint: Endpoint | None, method: str, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    if endpoint is not None and endpoint.spec.cors:
        methods = ", ".join(endpoint.spec.methods or METHODS)
        headers += [
            _CORS,
            (b"access-control-allow-methods", methods.encode()),
            (b"access-control-allow-headers", b"*"),
        ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
