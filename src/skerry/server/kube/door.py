"""The Kubernetes front door: `/api`, `/apis`, `/openapi` and `/version`.

Finds out what a path names and who answers it. What is told about the kinds is built once for each set of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from skerry import __version__
from skerry.api.catalogue import Kinds
from skerry.api.errors import MethodNotAllowed, NotFound
from skerry.api.model import Document
from skerry.kit.clock import Clock
from skerry.server.access import Access, path_act, require
from skerry.server.http import JSON, Answer, Request, Response, Route, StatusRefusals
from skerry.server.kube import bodies, reviews
from skerry.server.kube.acts import resource_act
from skerry.server.kube.discovery import Discovery, Resource, resource_of, unknown_path
from skerry.server.kube.logs import LogReader
from skerry.server.kube.negotiation import accepts, media_ranges
from skerry.server.kube.openapi.documents import OpenApi, Published
from skerry.server.kube.paths import GroupPath, ResourcePath, parse_path
from skerry.server.kube.resources import Resources
from skerry.server.kube.routes import ABOUT_THE_API, routes_of
from skerry.server.kube.tokens import Tokens
from skerry.server.verbs.verbs import Verbs

#: The Kubernetes version that clients take us for; kubectl's dispatchers choose a client by it.
KUBERNETES_MAJOR, KUBERNETES_MINOR = "1", "32"

_PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
#: A client may keep a document under a URL that carries its hash.
_FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")


def version_info() -> Document:
    """Answer `/version`."""
    return {
        "major": KUBERNETES_MAJOR,
        "minor": KUBERNETES_MINOR,
        "gitVersion": f"v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.0+skerry-{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.23",
        "compiler": "gc",
        "platform": "linux/amd64",
    }


@dataclass(frozen=True, slots=True)
class KubeSettings:
    """What the door needs besides the verbs."""

    access: Access
    clock: Clock
    log_reader: LogReader | None = None
    tokens: Tokens | None = None


class KubeDoor(StatusRefusals):
    """Answers what kubectl and its kin ask; a `Door`."""

    prefixes = ("/api", "/apis", "/openapi", "/version")

    def __init__(self, verbs: Verbs, settings: KubeSettings) -> None:
        self._access = settings.access
        self._verbs = verbs
        self._tokens = settings.tokens
        self._resources = Resources(verbs, settings.access, settings.clock, settings.log_reader, settings.tokens)
        self._described = _Described(verbs.kinds.current, None)
        self._version = orjson.dumps(version_info())

    def routes(self) -> Iterable[Route]:
        """Return everything that may be asked; see `Door`."""
        return (*ABOUT_THE_API, *(route for resource in self._now().discovery.all() for route in routes_of(resource)))

    async def answer(self, request: Request) -> Answer:
        """Answer a request; see `Door`. Who may not ask is refused before anything is looked at."""
        path = parse_path(request.path) if request.path.startswith("/api") else None
        if not isinstance(path, ResourcePath) or not path.plural:
            request.decision = require(self._access, request.user, path_act(request.method, request.path))
            return self._describe(request, path)
        request.decision = require(self._access, request.user, resource_act(request.method, path, request.query))
        # Before the kinds: no definition takes a question, such as "what may I do?", for itself.
        review = reviews.find_review(path.group, path.version, path.plural)
        if review is not None:
            return await self._review(request, review, path)
        kind = self._verbs.kinds.current.find(path.group, path.version, path.plural)
        if kind is None:
            kind = await self._verbs.definitions.find(path.group, path.version, path.plural)
        if kind is None:
            raise unknown_path()
        return await self._resources.answer(request, kind, path)

    def _now(self) -> "_Described":
        """Return the documents about the kinds that are served now."""
        if self._described.kinds is not self._verbs.kinds.current:
            self._described = _Described(self._verbs.kinds.current, self._described)
        return self._described

    def _describe(self, request: Request, path: ResourcePath | GroupPath | None) -> Response:
        """Answer what tells about the API itself."""
        if request.path == "/version":
            return Response(self._version)
        if request.path.startswith("/openapi"):
            return self._openapi_document(request)
        if path is None:
            raise unknown_path()
        discovery = self._now().discovery
        if isinstance(path, ResourcePath):
            return _document(request, discovery.resources(path.group, path.version))
        if path.group:
            return _document(request, discovery.group(path.group))
        accept = request.header(b"accept")
        for version in ("v2", "v2beta1"):
            if accepts(accept, g="apidiscovery.k8s.io", v=version, **{"as": "APIGroupDiscoveryList"}):
                document = discovery.aggregated(path.root, version)
                return _document(request, document, _AGGREGATED.format(version=version))
        if path.root == "api":
            return _document(request, discovery.core_versions())
        return _document(request, discovery.groups())

    async def _review(self, request: Request, review: Resource, path: ResourcePath) -> Response:
        if path.name or review.namespaced != bool(path.namespace):
            raise unknown_path()
        if request.method != "POST":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        request.verb, request.resource = "create", f"{review.plural}.{review.group}"
        raw = await request.body(bodies.BODY_BYTES_MAX)
        body = bodies.read_object(request.header(b"content-type"), raw).document
        if review is reviews.TOKEN_REVIEW:
            if self._tokens is None:
                raise unknown_path()
            return Response(orjson.dumps(await self._tokens.review(body)), 201)
        asked = reviews.Asked(body, request.user, path.namespace)
        return Response(orjson.dumps(reviews.answer(review, asked, self._access)), 201)

    def _openapi_document(self, request: Request) -> Response:
        _only_get(request)
        openapi = self._now().openapi
        if request.path == "/openapi/v2":
            accept = media_ranges(request.header(b"accept") or JSON)
            if any("openapi.spec.v2" in media_type for media_type, _ in accept):
                # An empty message is a valid, empty document: clients then take the third version.
                return Response(b"", content_type=_PROTOBUF_V2)
            return _published(request, openapi.version_2)
        if request.path == "/openapi/v3":
            return _published(request, openapi.index)
        published = openapi.by_path.get(request.path.removeprefix("/openapi/v3/"))
        if published is None:
            raise NotFound(unknown_path().public)
        return _published(request, published)


class _Described:
    """What the door tells about one snapshot of kinds."""

    def __init__(self, kinds: Kinds, before: "_Described | None") -> None:
        self.kinds = kinds
        stored = [kind for kind in kinds.all if reviews.find_review(kind.group, kind.version, kind.plural) is None]
        self.discovery = Discovery([*map(resource_of, stored), *reviews.REVIEWS])
        self.openapi: OpenApi = OpenApi(stored, __version__, before.openapi if before else None)


def _only_get(request: Request) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed("the server does not allow this method on the requested resource")
    request.verb = "get"


def _document(request: Request, document: Document, content_type: str = JSON) -> Response:
    _only_get(request)
    return Response(orjson.dumps(document), content_type=content_type)


_ETAG = re.compile(r'(?:W/)?"([^"]*)"')


def _published(request: Request, published: Published) -> Response:
    headers: tuple[tuple[bytes, bytes], ...] = ((b"etag", f'"{published.hash}"'.encode()),)
    if request.query.get("hash") == published.hash:
        headers = (*headers, _FOR_EVER)
    if published.hash in _ETAG.findall(request.header(b"if-none-match")):
        return Response(b"", 304, headers=headers)
    return Response(published.body, headers=headers)
