"""gateway.networking.k8s.io/v1 HTTPRoute: which requests go where, and what is done to them on the way.

Fields, defaults, limits and cross-field rules are those of the standard channel of Gateway API v1.4; the rules that
its CRD states as CEL stand here as Python, with the same sentences. Filters are in `gateway_http_route_filters`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal

import orjson
from pydantic import Field

from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, invalid, repeated
from skerry.api.gateway_http_route_filters import (
    HeaderName,
    HeaderValue,
    HTTPRouteFilter,
    filters_errors,
    replaces_prefix,
)
from skerry.api.gateway_references import (
    GROUP,
    VERSION,
    BackendObjectReference,
    ControllerName,
    Hostname,
    ParentReference,
    SectionName,
    backend_errors,
)
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Condition, Document, Int32, Model, Resource, list_map

#: The most matches that all rules of one route may have together.
MATCHES_MAX = 128

Duration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class HTTPPathMatch(Model):
    """A condition on the path of a request."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    """Exact compares the whole path, PathPrefix its first segments, RegularExpression the whole path by RE2."""
    value: Annotated[str, Field(max_length=1024)] = "/"
    """The path, prefix or expression."""


class HTTPHeaderMatch(Model):
    """A condition on a header of a request."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How the value is compared: as it stands, or as an RE2 expression over the whole value."""
    name: HeaderName
    """Name of the header; case does not matter."""
    value: HeaderValue
    """The value or expression."""


class HTTPQueryParamMatch(Model):
    """A condition on a parameter of a request's query."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    """How the value is compared: as it stands, or as an RE2 expression over the whole value."""
    name: HeaderName
    """Name of the parameter; case matters."""
    value: Annotated[str, Field(min_length=1, max_length=1024)]
    """The value or expression."""


class HTTPRouteMatch(Model):
    """Conditions on a request; all of them must hold."""

    path: HTTPPathMatch = Field(default_factory=HTTPPathMatch)
    """A condition on the path; any path where absent."""
    headers: Annotated[list[HTTPHeaderMatch] | None, Field(max_length=16), list_map("name")] = None
    """Conditions on headers."""
    query_params: Annotated[list[HTTPQueryParamMatch] | None, Field(max_length=16), list_map("name")] = None
    """Conditions on parameters of the query."""
    method: Method | None = None
    """The method; any method where absent."""


class HTTPBackendRef(BackendObjectReference):
    """Where a share of the requests is sent."""

    weight: Annotated[Int32, Field(ge=0, le=1_000_000)] = 1
    """The share of the requests, relative to the sum of all weights of the rule; 0 sends none."""
    filters: Annotated[list[HTTPRouteFilter] | None, Field(max_length=16), LIST_ATOMIC] = None
    """Steps for the requests to this backend only: RequestHeaderModifier and ResponseHeaderModifier."""


class HTTPRouteTimeouts(Model):
    """How long a request may take; `0s` is no limit."""

    request: Duration | None = None
    """From the end of the request to the end of the answer."""
    backend_request: Duration | None = None
    """One try at a backend; no longer than `request`."""


class HTTPRouteRule(Model):
    """Which requests, what is done to them, and where they go."""

    name: SectionName | None = None
    """Name of the rule, unique within the route."""
    matches: Annotated[
        list[HTTPRouteMatch], Field(default_factory=lambda: [HTTPRouteMatch()], max_length=64), LIST_ATOMIC
    ]
    """The requests: any of these must hold; every request where absent."""
    filters: Annotated[list[HTTPRouteFilter] | None, Field(max_length=16), LIST_ATOMIC] = None
    """What is done to the requests and their answers."""
    backend_refs: Annotated[list[HTTPBackendRef] | None, Field(max_length=16), LIST_ATOMIC] = None
    """Where they go; without a backend or an answering filter, 500 is answered."""
    timeouts: HTTPRouteTimeouts | None = None
    """How long a request may take."""


class HTTPRouteSpec(Model):
    """Where the route is attached, and its rules."""

    parent_refs: Annotated[list[ParentReference] | None, Field(max_length=32), LIST_ATOMIC] = None
    """The Gateways, or their listeners, that the route wants to be attached to."""
    hostnames: Annotated[list[Hostname] | None, Field(max_length=16), LIST_ATOMIC] = None
    """The hosts of the requests, exact or with a leading `*.`; every host of the listener where absent."""
    rules: Annotated[
        list[HTTPRouteRule],
        Field(default_factory=lambda: [HTTPRouteRule()], min_length=1, max_length=16),
        LIST_ATOMIC,
    ]
    """The rules."""


class RouteParentStatus(Model):
    """What one controller says of the route at one parent."""

    parent_ref: ParentReference
    """The parent, as the route names it."""
    controller_name: ControllerName
    """The controller that wrote this."""
    conditions: Annotated[list[Condition] | None, Field(max_length=8), list_map("type")] = None
    """Accepted: the route is attached. ResolvedRefs: everything that it names is there."""


class HTTPRouteStatus(Model):
    """The present state of a route."""

    parents: Annotated[list[RouteParentStatus] | None, Field(max_length=32), LIST_ATOMIC] = None
    """The state at each parent."""


class HTTPRoute(Resource):
    """Sends HTTP requests, by their host, path, headers, query and method, to backends."""

    spec: HTTPRouteSpec
    """The desired state."""
    status: HTTPRouteStatus = Field(default_factory=HTTPRouteStatus)
    """The present state."""


_PATH_CHARACTERS = r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+"
_PATH_RULES: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("value must be an absolute path and start with '/'", lambda path: path.startswith("/")),
    *(
        (f"must not contain '{part}'", lambda path, part=part: part not in path)
        for part in ("//", "/./", "/../", "%2f", "%2F", "#")
    ),
    ("must not end with '/..'", lambda path: not path.endswith("/..")),
    ("must not end with '/.'", lambda path: not path.endswith("/.")),
    (f"must only contain valid characters (matching ^{_PATH_CHARACTERS}$)", re.compile(_PATH_CHARACTERS).fullmatch),
)


def _match_errors(path: str, match: HTTPRouteMatch) -> Iterator[FieldError]:
    if match.path.type != "RegularExpression":
        for message, holds in _PATH_RULES:
            if not holds(match.path.value):
                detail = f"{message} when type one of ['Exact', 'PathPrefix']"
                yield invalid(f"{path}.path.value", match.path.value, detail)
    yield from repeated((h.name.lower() for h in match.headers or ()), f"{path}.headers", "name")
    yield from repeated((q.name for q in match.query_params or ()), f"{path}.queryParams", "name")


def _rule_errors(path: str, rule: HTTPRouteRule) -> Iterator[FieldError]:
    for index, match in enumerate(rule.matches):
        yield from _match_errors(f"{path}.matches[{index}]", match)
    filters, backends = rule.filters or [], rule.backend_refs or []
    yield from filters_errors(f"{path}.filters", filters)
    for index, backend in enumerate(backends):
        yield from backend_errors(f"{path}.backendRefs[{index}]", backend)
        yield from filters_errors(f"{path}.backendRefs[{index}].filters", backend.filters or [])
    if backends and any(step.request_redirect for step in filters):
        yield invalid(
            f"{path}.backendRefs", len(backends), "RequestRedirect filter must not be used together with backendRefs"
        )
    inner = [step for backend in backends for step in backend.filters or ()]
    one_prefix = len(rule.matches) == 1 and rule.matches[0].path.type == "PathPrefix"
    if not one_prefix:
        for where, steps in (("When", filters), ("Within backendRefs, when", inner)):
            for type_ in dict.fromkeys(replaces_prefix(steps)):
                detail = (
                    f"{where} using {type_} filter with path.replacePrefixMatch, "
                    "exactly one PathPrefix match must be specified"
                )
                yield invalid(f"{path}.matches", len(rule.matches), detail)
    if rule.timeouts:
        yield from _timeout_errors(f"{path}.timeouts", rule.timeouts)


def _timeout_errors(path: str, timeouts: HTTPRouteTimeouts) -> Iterator[FieldError]:
    if timeouts.request is None or timeouts.backend_request is None:
        return
    if 0 < parse_seconds(timeouts.request) < parse_seconds(timeouts.backend_request):
        yield invalid(
            f"{path}.backendRequest",
            timeouts.backend_request,
            "backendRequest timeout cannot be longer than request timeout",
        )


def _parent_errors(parents: Sequence[ParentReference]) -> Iterator[FieldError]:
    """References to one parent must differ in sectionName or port, and either all or none of them has one."""
    by_parent: dict[tuple[str, str, str | None, str], list[tuple[int, ParentReference]]] = {}
    for index, parent in enumerate(parents):
        key = (parent.group, parent.kind, parent.namespace, parent.name)
        by_parent.setdefault(key, []).append((index, parent))
    for same in by_parent.values():
        seen = set()
        for index, parent in same:
            part = (parent.section_name, parent.port)
            if len(same) > 1 and part == (None, None):
                yield _same_parent(index, parent, "specified")
            elif part in seen:
                yield _same_parent(index, parent, "unique")
            seen.add(part)


def _same_parent(index: int, parent: ParentReference, what: str) -> FieldError:
    detail = f"sectionName or port must be {what} when parentRefs includes 2 or more references to the same parent"
    return invalid(f"spec.parentRefs[{index}]", parent.name, detail)


def _validate_route(route: HTTPRoute, _: HTTPRoute | None) -> Iterator[FieldError]:
    rules = route.spec.rules
    yield from _parent_errors(route.spec.parent_refs or ())
    for index, host in enumerate(route.spec.hostnames or ()):
        if re.fullmatch(r"[0-9.]+", host):
            yield invalid(f"spec.hostnames[{index}]", host, "must not be an IP address")
    names: set[str] = set()
    for index, rule in enumerate(rules):
        if rule.name in names:
            yield invalid(f"spec.rules[{index}].name", rule.name, "Rule name must be unique within the route")
        names |= {rule.name} if rule.name else set()
        yield from _rule_errors(f"spec.rules[{index}]", rule)
    matches = sum(len(rule.matches) for rule in rules)
    if matches > MATCHES_MAX:
        detail = (
            "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules "
            f"in a route must be at most {MATCHES_MAX}"
        )
        yield invalid("spec.rules", matches, detail)


def _hostnames(document: Document) -> str | None:
    """Write the hostnames as JSON, as the table of a CRD does with a list."""
    hostnames = value_at(".spec.hostnames")(document)
    return orjson.dumps(hostnames).decode() if hostnames else None


HTTP_ROUTE = Kind(
    group=GROUP,
    version=VERSION,
    model=HTTPRoute,
    plural="httproutes",
    namespaced=True,
    categories=("gateway-api",),
    columns=(Column("Hostnames", _hostnames, description="The hosts of the requests."),),
    validate=_validate_route,
    read_by="view",
    written_by="edit",
)
