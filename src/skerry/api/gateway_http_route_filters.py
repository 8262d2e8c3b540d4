"""gateway.networking.k8s.io/v1 HTTPRoute: what is done to requests and answers on their way (HTTPRouteFilter).

Fields, limits and rules as in `gateway_http_route_v1`, whose routes these are a part of.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.fields import FieldError, duplicate, forbidden, invalid, required
from skerry.api.gateway_references import BackendObjectReference, LocalObjectReference, PreciseHostname, backend_errors
from skerry.api.model import LIST_SET, Int32, Model, Port, list_map

HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")]
HeaderValue = Annotated[str, Field(min_length=1, max_length=4096)]


class HTTPHeader(Model):
    """A header and its value."""

    name: HeaderName
    """Name of the header; case does not matter."""
    value: HeaderValue
    """Value of the header."""


class HTTPHeaderFilter(Model):
    """Changes of headers; one change a header."""

    set: Annotated[list[HTTPHeader] | None, Field(max_length=16), list_map("name")] = None
    """Headers to write over those of the same name."""
    add: Annotated[list[HTTPHeader] | None, Field(max_length=16), list_map("name")] = None
    """Headers to add to those of the same name."""
    remove: Annotated[list[HeaderName] | None, Field(max_length=16), LIST_SET] = None
    """Names of headers to take away."""


class HTTPPathModifier(Model):
    """A change of the path."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    """What is replaced: the whole path, or the prefix that the rule matched."""
    replace_full_path: Annotated[str, Field(max_length=1024)] | None = None
    """The new path, where `type` is ReplaceFullPath."""
    replace_prefix_match: Annotated[str, Field(max_length=1024)] | None = None
    """What stands for the matched prefix, where `type` is ReplacePrefixMatch; a trailing slash is ignored."""


class HTTPRequestRedirectFilter(Model):
    """Answers with a redirection."""

    scheme: Literal["http", "https"] | None = None
    """Scheme of the new location; that of the request where absent."""
    hostname: PreciseHostname | None = None
    """Host of the new location; that of the request where absent."""
    path: HTTPPathModifier | None = None
    """Path of the new location; that of the request where absent."""
    port: Port | None = None
    """Port of the new location; where absent, the scheme's own port if a scheme is given, else the listener's."""
    status_code: Literal[301, 302, 303, 307, 308] = 302
    """Status of the answer."""


class HTTPURLRewriteFilter(Model):
    """Changes host and path of a request on its way to the backend."""

    hostname: PreciseHostname | None = None
    """The new Host header."""
    path: HTTPPathModifier | None = None
    """The change of the path."""


class Fraction(Model):
    """A share, as a fraction."""

    numerator: Annotated[Int32, Field(ge=0)]
    """How many."""
    denominator: Annotated[Int32, Field(ge=1)] = 100
    """Of how many."""


class HTTPRequestMirrorFilter(Model):
    """Sends a copy of requests to another backend, whose answers are dropped."""

    backend_ref: BackendObjectReference
    """Where the copies go."""
    percent: Annotated[Int32, Field(ge=0, le=100)] | None = None
    """The share of requests that are copied, in percent; all where neither this nor `fraction` is given."""
    fraction: Fraction | None = None
    """The share of requests that are copied, as a fraction."""


class HTTPRouteFilter(Model):
    """One step in the handling of a request or its answer; exactly the field that `type` names is given."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
    ]
    """Which step it is."""
    request_header_modifier: HTTPHeaderFilter | None = None
    """Changes of the request's headers."""
    response_header_modifier: HTTPHeaderFilter | None = None
    """Changes of the answer's headers."""
    request_mirror: HTTPRequestMirrorFilter | None = None
    """Copies of requests; may be given several times."""
    request_redirect: HTTPRequestRedirectFilter | None = None
    """An answer with a redirection, instead of a backend."""
    url_rewrite: HTTPURLRewriteFilter | None = None
    """A change of host and path."""
    extension_ref: LocalObjectReference | None = None
    """A DirectResponse of extensions.apoxy.dev, which answers instead of a backend."""


_FIELD_OF_TYPE = {
    "RequestHeaderModifier": ("request_header_modifier", "requestHeaderModifier"),
    "ResponseHeaderModifier": ("response_header_modifier", "responseHeaderModifier"),
    "RequestMirror": ("request_mirror", "requestMirror"),
    "RequestRedirect": ("request_redirect", "requestRedirect"),
    "URLRewrite": ("url_rewrite", "urlRewrite"),
    "ExtensionRef": ("extension_ref", "extensionRef"),
}
_REPEATABLE = frozenset({"RequestMirror", "ExtensionRef"})


def _filter_errors(path: str, step: HTTPRouteFilter) -> Iterator[FieldError]:
    for type_, (attribute, name) in _FIELD_OF_TYPE.items():
        given = getattr(step, attribute) is not None
        if given and step.type != type_:
            yield forbidden(f"{path}.{name}", f"filter.{name} must be nil if the filter.type is not {type_}")
        if not given and step.type == type_:
            yield required(f"{path}.{name}", f"filter.{name} must be specified for {type_} filter.type")
    if step.request_header_modifier:
        yield from _header_errors(f"{path}.requestHeaderModifier", step.request_header_modifier)
    if step.response_header_modifier:
        yield from _header_errors(f"{path}.responseHeaderModifier", step.response_header_modifier)
    for name, change in (("requestRedirect", step.request_redirect), ("urlRewrite", step.url_rewrite)):
        if change and change.path:
            yield from _path_modifier_errors(f"{path}.{name}.path", change.path)
    if mirror := step.request_mirror:
        yield from _mirror_errors(f"{path}.requestMirror", mirror)


def _mirror_errors(path: str, mirror: HTTPRequestMirrorFilter) -> Iterator[FieldError]:
    yield from backend_errors(f"{path}.backendRef", mirror.backend_ref)
    if mirror.percent is not None and mirror.fraction is not None:
        yield invalid(
            path, mirror.percent, "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"
        )
    if mirror.fraction and mirror.fraction.numerator > mirror.fraction.denominator:
        yield invalid(
            f"{path}.fraction", mirror.fraction.numerator, "numerator must be less than or equal to denominator"
        )


def _header_errors(path: str, change: HTTPHeaderFilter) -> Iterator[FieldError]:
    """One action a header: what is set may not also be added or removed (documentation of HTTPHeaderFilter)."""
    seen: set[str] = set()
    named = [(f"{path}.set[{i}].name", header.name) for i, header in enumerate(change.set or ())]
    named += [(f"{path}.add[{i}].name", header.name) for i, header in enumerate(change.add or ())]
    named += [(f"{path}.remove[{i}]", name) for i, name in enumerate(change.remove or ())]
    for where, name in named:
        if name.lower() in seen:
            yield duplicate(where, name)
        seen.add(name.lower())


def _path_modifier_errors(path: str, change: HTTPPathModifier) -> Iterator[FieldError]:
    for type_, name, value in (
        ("ReplaceFullPath", "replaceFullPath", change.replace_full_path),
        ("ReplacePrefixMatch", "replacePrefixMatch", change.replace_prefix_match),
    ):
        if change.type == type_ and value is None:
            yield required(f"{path}.{name}", f"{name} must be specified when type is set to '{type_}'")
        if change.type != type_ and value is not None:
            yield invalid(f"{path}.type", change.type, f"type must be '{type_}' when {name} is set")


def filters_errors(path: str, steps: Sequence[HTTPRouteFilter]) -> Iterator[FieldError]:
    """Tell what is wrong with the filters of a rule or a backend, and how they go together."""
    types = [step.type for step in steps]
    if "RequestRedirect" in types and "URLRewrite" in types:
        yield invalid(
            path,
            types,
            "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both",
        )
    for type_ in dict.fromkeys(types):
        if type_ not in _REPEATABLE and types.count(type_) > 1:
            yield invalid(path, types, f"{type_} filter cannot be repeated")
    for index, step in enumerate(steps):
        yield from _filter_errors(f"{path}[{index}]", step)


def replaces_prefix(steps: Iterable[HTTPRouteFilter]) -> Iterator[str]:
    """Yield the types of the filters that replace the prefix that was matched."""
    for step in steps:
        for change in (step.request_redirect, step.url_rewrite):
            if change and change.path and change.path.replace_prefix_match is not None:
                yield step.type
