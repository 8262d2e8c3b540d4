"""The transport over the wire: Kubernetes' HTTP API on httpx.

Owns paths, query parameters and the reading of Status errors. Every answer is bounded in time, and what is no success
in length; a watch is bounded by the server, which ends it cleanly, and by a silence limit.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from skerry.api.errors import ApiError, BadRequest, ServiceUnavailable, from_status
from skerry.api.model import Document
from skerry.client.transport import ANY_STATE, DeleteConditions, Target, WatchBatch, WatchEvent
from skerry.kit.deadlines import within

REQUEST_TIMEOUT_SECONDS = 30.0
#: A watch with bookmarks is never silent for longer than a minute.
WATCH_SILENCE_SECONDS_MAX = 150.0
#: What is read of an answer that is no success: a Status with every error of a large object.
REFUSAL_BYTES_MAX = 1024 * 1024
MERGE_PATCH = "application/merge-patch+json"
#: What stands for itself within a part of a path (RFC 3986, pchar).
_IN_PATHS = "!$&'()*+,;=:@"
_METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
#: A field that the server does not know is a mistake of whoever wrote it.
_STRICT = {"fieldValidation": "Strict"}


class HttpTransport:
    """Carries requests to a Skerry server.

    Args:
        http: a client with base URL, TLS trust and the Authorization header set; the caller closes it.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, target: Target) -> Document:
        """Return one object."""
        return await self._send("GET", _named(target))

    async def list(self, target: Target, *, label_selector: str, limit: int, continue_token: str) -> Document:
        """Return one page: a List document."""
        query = {
            "limit": str(limit),
            "labelSelector": label_selector,
            "fieldSelector": target.field_selector,
            "continue": continue_token,
        }
        return await self._send("GET", target, query={key: value for key, value in query.items() if value})

    async def create(self, target: Target, document: Document) -> Document:
        """Store a new object and return it as stored."""
        return await self._send("POST", Target(target.kind, target.namespace), document, query=_STRICT)

    async def replace(self, target: Target, document: Document) -> Document:
        """Replace an object (or its subresource) and return it as stored."""
        return await self._send("PUT", _named(target), document, query=_STRICT)

    async def merge_patch(self, target: Target, patch: Document) -> Document:
        """Apply a JSON merge patch (RFC 7386) and return the object as stored."""
        return await self._send("PATCH", _named(target), patch, content_type=MERGE_PATCH)

    async def delete(self, target: Target, conditions: DeleteConditions = ANY_STATE) -> None:
        """Ask for an object's deletion; raises Conflict where it is not as the conditions say."""
        given = {"uid": conditions.uid, "resourceVersion": conditions.resource_version}
        options: Document = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options["preconditions"] = {key: value for key, value in given.items() if value}
        if conditions.propagation:
            options["propagationPolicy"] = conditions.propagation
        await self._send("DELETE", _named(target), options)

    @asynccontextmanager
    async def watch(self, target: Target, *, resource_version: str) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """Watch a collection from a resource version on."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
        if target.field_selector:
            query["fieldSelector"] = target.field_selector
        timeout = httpx.Timeout(REQUEST_TIMEOUT_SECONDS, read=WATCH_SILENCE_SECONDS_MAX)
        try:
            async with self._http.stream(
                "GET", _path(target), params=query, timeout=timeout, headers=_accepting(target)
            ) as response:
                if response.status_code >= httpx.codes.BAD_REQUEST:
                    raise error_of(response.status_code, await read_refusal(response))
                yield _events(response)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    @asynccontextmanager
    async def lines(self, target: Target, query: dict[str, str]) -> AsyncIterator[AsyncIterator[str]]:
        """Read a subresource that is text, line by line, for as long as the server sends."""
        timeout = httpx.Timeout(REQUEST_TIMEOUT_SECONDS, read=None)
        try:
            async with self._http.stream("GET", _path(target), params=query, timeout=timeout) as response:
                if response.status_code >= httpx.codes.BAD_REQUEST:
                    raise error_of(response.status_code, await read_refusal(response))
                yield response.aiter_lines()
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def call(self, method: str, path: str) -> Document:
        """Send a request without a body to a path that is no object's."""
        return await self._answer(self._http.build_request(method, path, timeout=REQUEST_TIMEOUT_SECONDS))

    async def _send(
        self,
        method: str,
        target: Target,
        document: Document | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Document:
        content = None if document is None else orjson.dumps(document)
        headers = _accepting(target) | ({"Content-Type": content_type} if content is not None else {})
        request = self._http.build_request(
            method,
            _path(target),
            params=query,
            content=content,
            headers=headers,
            timeout=REQUEST_TIMEOUT_SECONDS,
        )
        return await self._answer(request)

    async def _answer(self, request: httpx.Request) -> Document:
        try:
            response = await self._http.send(request, stream=True)
            async with aclosing(response):
                if response.status_code >= httpx.codes.BAD_REQUEST:
                    raise error_of(response.status_code, await read_refusal(response))
                answer: Document = orjson.loads(await response.aread())
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        return answer


async def read_refusal(response: httpx.Response) -> bytes:
    """Return the body of a streamed answer that is no success: what comes of it within its bounds.

    Raises:
        httpx.HTTPError: it broke off.
    """
    body = bytearray()
    with suppress(TimeoutError), within(REQUEST_TIMEOUT_SECONDS):
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) >= REFUSAL_BYTES_MAX:
                break
    return bytes(body[:REFUSAL_BYTES_MAX])


def error_of(code: int, body: bytes) -> ApiError:
    """Return the error that an answer tells, whether or not its body is a Status."""
    try:
        status: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return from_status(status)
    return from_status({"code": code, "message": body[:500].decode(errors="replace") or f"HTTP status {code}"})


async def _events(response: httpx.Response) -> AsyncIterator[WatchBatch]:
    async for line in response.aiter_lines():
        if not line:
            continue
        event = orjson.loads(line)
        if event["type"] == "ERROR":
            raise from_status(event["object"])
        yield [WatchEvent(event["type"], event["object"])]


def _accepting(target: Target) -> dict[str, str]:
    return _METADATA_ONLY if target.metadata_only else {}


def _named(target: Target) -> Target:
    """Insist on a name: without one, a path is that of the collection, and so would be what is done."""
    if not target.name:
        raise BadRequest(f"a name must be given, of one of the {target.kind.plural}")
    return target


def _path(target: Target) -> str:
    namespace, name = quote(target.namespace, safe=_IN_PATHS), quote(target.name, safe=_IN_PATHS)
    return target.kind.path(namespace, name, target.subresource)


def _unreachable(error: httpx.HTTPError) -> ServiceUnavailable:
    return ServiceUnavailable(f"the server can't be reached: {error or type(error).__name__}")
