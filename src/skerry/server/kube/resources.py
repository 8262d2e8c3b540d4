"""The paths of stored objects: HTTP methods to verbs, and the verbs' outcomes to answers."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson

from skerry.api.errors import ApiError, Expired, InternalError, MethodNotAllowed, UnsupportedMediaType
from skerry.api.kinds import Kind, ScalePaths
from skerry.kit.clock import Clock
from skerry.kit.logs import get_logger
from skerry.server.access import Access, Act, require
from skerry.server.http import TEXT, Answer, Request, Response, Streaming
from skerry.server.kube import bodies, options
from skerry.server.kube.discovery import unknown_path
from skerry.server.kube.logs import LogReader, log_parts, log_query
from skerry.server.kube.negotiation import Form, form_of
from skerry.server.kube.paths import ResourcePath
from skerry.server.kube.rendering import Renderer, error_event
from skerry.server.kube.scale import ScalePatch, rendered, replace_scale
from skerry.server.kube.tokens import Tokens
from skerry.server.metrics import WATCHERS
from skerry.server.verbs.apply.configuration import Configuration
from skerry.server.verbs.requests import Deleted, Target, WatchOptions, WriteOptions, Written
from skerry.server.verbs.verbs import Verbs
from skerry.server.verbs.watching import Seen
from skerry.server.verbs.withheld import told

log = get_logger(__name__)

_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCE_VERBS = {
    "status": {"GET": "get", "PUT": "update", "PATCH": "patch"},
    "scale": {"GET": "get", "PUT": "update", "PATCH": "patch"},
    "finalize": {"PUT": "update"},
    "token": {"POST": "create"},
}
#: Warnings of one answer, and characters of each: a bound for its headers.
WARNINGS_MAX = 20
WARNING_CHARACTERS_MAX = 512


class Resources:
    """Answers requests for stored objects.

    Args:
        verbs: what is done.
        access: who may create, where an apply finds that it has to; all else is asked before.
        clock: for ages in tables.
        log_reader: who keeps the lines of `log` subresources; None where nobody does.
        tokens: makes those of `token` subresources; None where nobody does.
    """

    def __init__(
        self, verbs: Verbs, access: Access, clock: Clock, log_reader: LogReader | None, tokens: Tokens | None = None
    ) -> None:
        self._verbs = verbs
        self._access = access
        self._clock = clock
        self._log_reader = log_reader
        self._tokens = tokens

    async def answer(self, request: Request, kind: Kind[Any], path: ResourcePath) -> Answer:
        """Answer a request for an object or collection, by someone who may; raises ApiError."""
        target = target_of(kind, path)
        request.verb, request.resource = verb_of(request, kind, path), kind.resource
        if path.subresource == "scale" and kind.scale is not None:
            return await self._scale(request, target, kind.scale)
        match request.verb:
            case "get" if path.subresource == "log":
                return await self._log(request, target)
            case "get":
                stored = await self._verbs.get(target, request.query.get("resourceVersion", ""))
                return Response(self._renderer(request, kind).object(stored))
            case "list":
                listed = await self._verbs.list(target, options.list_options(request.query))
                return Response(self._renderer(request, kind).list(listed))
            case "watch":
                return self._watch(request, target)
            case "create":
                create = self._token if path.subresource == "token" else self._create
                return await create(request, target)
            case "update":
                return await self._replace(request, target)
            case "patch":
                return await self._patch(request, target)
            case "delete":
                return await self._delete(request, target)
            case _:
                return await self._delete_collection(request, target)

    def _renderer(self, request: Request, kind: Kind[Any]) -> Renderer:
        form = form_of(request.header(b"accept"))
        include = options.include(request.query) if form.shape == "table" else "Metadata"
        return Renderer(kind, form, include, self._clock)

    async def _create(self, request: Request, target: Target) -> Response:
        body = await _read_object(request)
        request.created_name = _name_in(body.document)
        wanted = _write_options(request, body.duplicates)
        written = await self._verbs.create(target, body.document, wanted)
        request.created_name = request.created_name or written.object.metadata["name"]
        return _written(target, written)

    async def _replace(self, request: Request, target: Target) -> Response:
        body = await _read_object(request)
        wanted = _write_options(request, body.duplicates)
        return _written(target, await self._verbs.replace(target, body.document, wanted))

    async def _patch(self, request: Request, target: Target) -> Response:
        raw = await request.body(bodies.BODY_BYTES_MAX)
        patch, duplicates = bodies.read_patch(request.header(b"content-type"), raw, target.kind)
        if isinstance(patch, Configuration):
            applying = replace(options.apply_options(request.query, duplicates), user=request.user)
            written = await self._verbs.apply(target, patch, applying, lambda: self._allow_create(request, target))
            return _written(target, written)
        wanted = _write_options(request, duplicates, patch=True)
        return _written(target, await self._verbs.patch(target, patch, wanted))

    def _allow_create(self, request: Request, target: Target) -> None:
        kind = target.kind
        act = Act("create", kind.group, kind.plural, target.subresource, target.namespace, target.name)
        require(self._access, request.user, act)

    async def _scale(self, request: Request, target: Target, paths: ScalePaths) -> Response:
        if request.verb == "get":
            return Response(rendered(paths, await self._verbs.get(target)))
        if request.verb == "update":
            body = await _read_object(request)
            wanted = _write_options(request, body.duplicates)
            written = await replace_scale(self._verbs, target, paths, body.document, wanted)
        else:
            raw = await request.body(bodies.BODY_BYTES_MAX)
            patch, duplicates = bodies.read_patch(request.header(b"content-type"), raw, target.kind)
            if isinstance(patch, Configuration):
                raise UnsupportedMediaType("a Scale is not applied: send a JSON patch or a merge patch")
            wanted = _write_options(request, duplicates, patch=True)
            written = await self._verbs.patch(target, ScalePatch(paths, patch), wanted)
        return Response(rendered(paths, written.object), headers=_warnings(written.warnings))

    async def _delete(self, request: Request, target: Target) -> Response:
        wanted = options.delete_options(request.query, await _read_optional(request))
        return _deleted(target, await self._verbs.delete(target, wanted))

    async def _delete_collection(self, request: Request, target: Target) -> Response:
        wanted = options.delete_options(request.query, await _read_optional(request))
        listed = await self._verbs.delete_collection(target, options.list_options(request.query), wanted)
        return Response(Renderer(target.kind, Form("object"), "Metadata", self._clock).list(listed))

    async def _token(self, request: Request, target: Target) -> Response:
        if self._tokens is None:
            raise unknown_path()
        document, warnings = await self._tokens.request(target, (await _read_object(request)).document)
        return Response(orjson.dumps(document), 201, headers=_warnings(warnings))

    async def _log(self, request: Request, target: Target) -> Streaming:
        if self._log_reader is None:
            raise unknown_path()
        await self._verbs.get(target)  # a log of nothing is NotFound
        parts = log_parts(self._log_reader, target, log_query(request.query))
        return Streaming(parts, options.WATCH_SECONDS_MAX, TEXT)

    def _watch(self, request: Request, target: Target) -> Streaming:
        wanted, seconds = options.watch_options(request.query)
        return Streaming(self._watch_parts(target, wanted, self._renderer(request, target.kind)), seconds)

    @asynccontextmanager
    async def _watch_parts(
        self, target: Target, wanted: WatchOptions, renderer: Renderer
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch as lines. History that is gone is told as an ERROR event, as clients expect it."""
        with WATCHERS.labels(target.kind.resource).track_inprogress():
            try:
                async with self._verbs.watch(target, wanted) as batches, aclosing(_lines(batches, renderer)) as lines:
                    yield lines
            except Expired as error:
                yield _only(error_event(error))


async def _lines(batches: AsyncIterator[Sequence[Seen]], renderer: Renderer) -> AsyncGenerator[bytes, None]:
    """Turn batches into lines; what ends a watch early is its last line."""
    try:
        async for batch in batches:
            for part in renderer.events(batch):
                yield part
    except ApiError as error:
        yield error_event(error)
    except Exception:
        log.exception("watch failed", resource=renderer.kind.resource)
        yield error_event(InternalError("the watch failed: start it again"))


async def _only(line: bytes) -> AsyncIterator[bytes]:
    yield line


def target_of(kind: Kind[Any], path: ResourcePath) -> Target:
    """Return what a path names; raises NotFound where this kind has no such path."""
    if path.namespace and not kind.namespaced:
        raise unknown_path()
    if path.name and kind.namespaced and not path.namespace:
        raise unknown_path()
    if path.subresource == "status" and kind.has_status:
        return Target(kind, path.namespace, path.name, "status")
    if path.subresource == "finalize" and "finalize" in kind.subresources:
        return Target(kind, path.namespace, path.name, "finalize")
    if path.subresource == "scale" and kind.scale is not None:
        return Target(kind, path.namespace, path.name)
    if path.subresource and path.subresource not in kind.subresources:
        raise unknown_path()
    return Target(kind, path.namespace, path.name)


def verb_of(request: Request, kind: Kind[Any], path: ResourcePath) -> str:
    """Return the verb that a method means on a path; raises MethodNotAllowed."""
    if path.subresource:
        verbs = _SUBRESOURCE_VERBS.get(path.subresource, {"GET": "get"})
    else:
        verbs = _OBJECT_VERBS if path.name else _COLLECTION_VERBS
    verb = verbs.get(request.method, "")
    if not verb or (verb == "create" and kind.namespaced and not path.namespace):
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
    return "watch" if verb == "list" and options.wants_watch(request.query) else verb


def _write_options(request: Request, duplicates: tuple[str, ...], *, patch: bool = False) -> WriteOptions:
    read = options.write_options(request.query, request.header(b"user-agent"), duplicates, patch=patch)
    return replace(read, user=request.user)


async def _read_object(request: Request) -> bodies.Body:
    raw = await request.body(bodies.BODY_BYTES_MAX)
    return bodies.read_object(request.header(b"content-type"), raw)


async def _read_optional(request: Request) -> dict[str, Any]:
    raw = await request.body(bodies.BODY_BYTES_MAX)
    return bodies.read_object(request.header(b"content-type"), raw).document if raw.strip() else {}


def _name_in(document: dict[str, Any]) -> str:
    """Return the name in an object that nobody has checked yet; "" where there is none."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _written(target: Target, written: Written) -> Response:
    state = told(target.kind, written.object)
    return Response(state.json, 201 if written.created else 200, headers=_warnings(written.warnings))


def _warnings(warnings: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((b"warning", _warning(text)) for text in warnings[:WARNINGS_MAX])


def _warning(text: str) -> bytes:
    """Write a Warning header's value (RFC 7234, 5.5), which kubectl prints."""
    printable = "".join(c if c.isprintable() else " " for c in text[:WARNING_CHARACTERS_MAX])
    escaped = printable.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'.encode()


def _deleted(target: Target, deleted: Deleted) -> Response:
    if not deleted.gone or target.kind.resource == "namespaces":
        return Response(told(target.kind, deleted.object).json)
    details = {**target.details, "uid": deleted.object.metadata["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return Response(orjson.dumps(status))
