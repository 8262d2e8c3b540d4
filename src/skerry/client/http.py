"""The transport over the wire: Kubernetes' HTTP API on httpx.

Owns paths and query parameters. Every answer is bounded in length (`answers`), and in how long it is silent; a watch
is bounded by the server, which ends it cleanly, and each of its lines in length.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from urllib.parse import quote

import httpx
import orjson

from skerry.api.errors import BadRequest, InternalError, ServiceUnavailable, from_status
from skerry.api.model import Document
from skerry.client.answers import (
    LIST_BYTES_MAX,
    OBJECT_BYTES_MAX,
    error_of,
    parsed,
    read_answer,
    read_lines,
    read_refusal,
)
from skerry.client.transport import ANY_STATE, DeleteConditions, Target, WatchBatch, WatchEvent

REQUEST_TIMEOUT_SECONDS = 30.0
#: A watch with bookmarks is never silent for longer than a minute.
WATCH_SILENCE_SECONDS_MAX = 150.0
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
        given = {key: value for key, value in query.items() if value}
        return await self._send("GET", target, query=given, bytes_max=LIST_BYTES_MAX)

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
                if not response.is_success:
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
                if not response.is_success:
                    raise error_of(response.status_code, await read_refusal(response))
                yield _texts(response)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def call(self, method: str, path: str) -> Document:
        """Send a request without a body to a path that is no object's."""
        request = self._http.build_request(method, path, timeout=REQUEST_TIMEOUT_SECONDS)
        return await self._answer(request, OBJECT_BYTES_MAX)

    async def _send(
        self,
        method: str,
        target: Target,
        document: Document | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        bytes_max: int = OBJECT_BYTES_MAX,
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
        return await self._answer(request, bytes_max)

    async def _answer(self, request: httpx.Request, bytes_max: int) -> Document:
        try:
            response = await self._http.send(request, stream=True)
            async with aclosing(response):
                if not response.is_success:
                    raise error_of(response.status_code, await read_refusal(response))
                answer = parsed(await read_answer(response, bytes_max))
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        if not isinstance(answer, dict):
            raise InternalError("the server's answer is no object")
        return answer


async def _events(response: httpx.Response) -> AsyncIterator[WatchBatch]:
    async for line in read_lines(response):
        match parsed(line) if line else None:
            case {"type": "ERROR", "object": dict(status)}:
                raise from_status(status)
            case {"type": "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" as kind, "object": dict(document)}:
                yield [WatchEvent(kind, document)]
            case None:
                """A line without an event keeps the connection."""
            case _:
                raise InternalError("the server's watch has what is no event")


async def _texts(response: httpx.Response) -> AsyncIterator[str]:
    async for line in read_lines(response):
        yield line.decode(errors="replace")


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
