"""dispatch.skerry.dev/v1: endpoints, each a path of the gateway that calls a function. Dispatch calls them APIs.

Owns the fields, their rules, and which requests an endpoint takes: the gateway routes by `public_paths`, and whoever
answers asks `takes`. Does not own what becomes of a request (`server.dispatch.endpoint_app`).
"""

import re
from collections.abc import Callable, Iterator
from typing import Annotated

from pydantic import Field

from skerry.api.dispatch_events import validate_name, validate_tags
from skerry.api.dispatch_v1 import GROUP, VERSION, State, Tag
from skerry.api.fields import FieldError, invalid, not_supported, required, too_many
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Conditions, Document, Model, Resource, list_map
from skerry.api.names import is_subdomain

#: How long a caller waits for the function, and the gateway for the answer.
CALL_SECONDS_MAX = 60.0
#: Hosts, and paths, of one endpoint.
PLACES_MAX = 20
URI_CHARACTERS_MAX = 512
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
PROTOCOLS = ("http", "https")
PUBLIC = "public"

_URI = re.compile(r"/[\w.~!$&'()*+,;=:@%/-]*", re.ASCII)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Characters that a path has as they are (RFC 3986, 2.3): the gateway decodes those that are escaped.
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")

Texts = Annotated[list[str] | None, LIST_ATOMIC]


class EndpointSpec(Model):
    """Which requests call which function."""

    function: str
    """The function that answers."""
    hosts: Texts = None
    """Hosts of the requests; any by default. `*.` at the beginning stands for one label or more."""
    uris: Texts = None
    """Paths, each below /<namespace>, with all that is below them; / by default. In normal form (RFC 3986)."""
    methods: Texts = None
    """HTTP methods; any by default."""
    protocols: Texts = None
    """http, https or both, which is the default."""
    authentication: str = PUBLIC
    """Who may call: public. For others, put policies on the Gateway."""
    enabled: bool = True
    """Whether requests are taken."""
    cors: bool = False
    """Whether scripts of any site may call it: preflights are answered, and every answer allows it."""
    tls: str = ""
    """Must be empty: certificates are the Gateway's."""
    tags: Annotated[list[Tag] | None, list_map("key")] = None
    """Tags, for clients to select by."""


class EndpointStatus(Model):
    """The present state of an endpoint."""

    state: State | None = None
    """READY: the gateway leads requests to it."""
    reason: Texts = None
    """Why it does not."""
    urls: Texts = None
    """Where it answers."""
    conditions: Conditions = None
    """ResolvedRefs: whether the function is there, without which its requests fail."""


class Endpoint(Resource):
    """A path of the gateway that calls a function."""

    spec: EndpointSpec
    """Which requests, and which function."""
    status: EndpointStatus = Field(default_factory=EndpointStatus)
    """The present state."""


def public_paths(endpoint: Endpoint) -> list[str]:
    """Return the paths at which it answers, without a trailing slash."""
    return [f"/{endpoint.namespace}{uri}".rstrip("/") for uri in endpoint.spec.uris or ["/"]]


def takes(endpoint: Endpoint, *, method: str, host: str, path: str) -> int:
    """Tell how well a request fits: the length of the path that fits, and 0 where the request is not its own.

    Args:
        endpoint: any.
        method: in capitals.
        host: without a port, in lower case.
        path: as it is asked for, in normal form and not decoded.
    """
    spec = endpoint.spec
    methods = {*(spec.methods or METHODS), *(["OPTIONS"] if spec.cors else [])}
    if not spec.enabled or method not in methods or not any(_is_host(each, host) for each in spec.hosts or ["*"]):
        return 0
    fitting = (place for place in public_paths(endpoint) if path == place or path.startswith(f"{place}/"))
    return max(map(len, fitting), default=0)


def _is_host(pattern: str, host: str) -> bool:
    if pattern.startswith("*"):
        return host.endswith(pattern[1:].lower())
    return host == pattern.lower()


def _validate(endpoint: Endpoint, _: Endpoint | None) -> Iterator[FieldError]:
    spec = endpoint.spec
    yield from validate_name(endpoint)
    if not spec.function:
        yield required("spec.function")
    yield from _places(spec.hosts, "spec.hosts", _host_problem)
    yield from _places(spec.uris, "spec.uris", _uri_problem)
    for name, values, known in (("methods", spec.methods, METHODS), ("protocols", spec.protocols, PROTOCOLS)):
        for index, value in enumerate(values or ()):
            if value not in known:
                yield not_supported(f"spec.{name}[{index}]", value, known)
    if spec.authentication not in {PUBLIC, ""}:
        detail = "only public is known: for others, put a RequestAuthentication or AuthorizationPolicy on the Gateway"
        yield invalid("spec.authentication", spec.authentication, detail)
    if spec.tls:
        yield invalid("spec.tls", spec.tls, "certificates are those of the Gateway's listeners: leave it empty")
    yield from validate_tags(spec.tags, "spec.tags")


def _places(values: list[str] | None, path: str, problem: Callable[[str], str]) -> Iterator[FieldError]:
    if values and len(values) > PLACES_MAX:
        yield too_many(path, len(values), PLACES_MAX)
    for index, value in enumerate(values or ()):
        if found := problem(value):
            yield invalid(f"{path}[{index}]", value, found)


def _host_problem(host: str) -> str:
    name = host.lower().removeprefix("*.")
    return "" if is_subdomain(name) else "must be a DNS name, in which the first label may be *"


def _uri_problem(uri: str) -> str:
    if not _URI.fullmatch(uri) or "//" in uri or len(uri) > URI_CHARACTERS_MAX:
        return f"must be a path without query that begins with /, at most {URI_CHARACTERS_MAX} characters"
    if _STRAY_PERCENT.search(uri):
        return "must have two hexadecimal digits after each %: a percent sign itself is %25"
    if (normal := _normal(uri)) != uri:
        return f"must be in normal form (RFC 3986), or no request fits it: {normal}"
    return ""


def _normal(uri: str) -> str:
    """Return the normal form of a path (RFC 3986, 6.2.2), which the gateway gives those of requests."""

    def unescaped(match: re.Match[str]) -> str:
        character = chr(int(match[0][1:], 16))
        return character if _UNRESERVED.fullmatch(character) else match[0].upper()

    parts: list[str] = []
    *segments, last = _ESCAPE.sub(unescaped, uri)[1:].split("/")
    for segment in segments:
        if segment == "..":
            parts = parts[:-1]
        elif segment != ".":
            parts.append(segment)
    if last == "..":
        parts = parts[:-1]
    return "/" + "/".join([*parts, "" if last in {".", ".."} else last])


def _default(endpoint: Endpoint) -> None:
    endpoint.status.state = endpoint.status.state or "CREATING"


def _joined(name: str) -> Callable[[Document], str]:
    return lambda document: ",".join(document["spec"].get(name) or ()) or "*"


ENDPOINT = Kind(
    group=GROUP,
    version=VERSION,
    model=Endpoint,
    plural="endpoints",
    namespaced=True,
    columns=(
        Column("Function", value_at(".spec.function"), description="What is called."),
        Column("Method", _joined("methods"), description="HTTP methods."),
        Column("Domain", _joined("hosts"), description="Hosts."),
        Column("Path", lambda d: ",".join(d["spec"].get("uris") or ["/"]), description="Below /<namespace>."),
        Column("Status", value_at(".status.state"), description="READY where the gateway leads to it."),
        Column("Enabled", value_at(".spec.enabled"), type="boolean", description="Whether it takes requests."),
    ),
    name_format="path-segment",
    default=_default,
    validate=_validate,
    read_by="view",
    written_by="edit",
)
