"""extensions.apoxy.dev/v1alpha2 DirectResponse: an answer that the gateway gives by itself.

A route names it in an ExtensionRef filter.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from skerry.api.fields import FieldError, duplicate, forbidden, too_long
from skerry.api.gateway_http_route_filters import HeaderName
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Int32, Model, Resource

#: The longest body that Envoy answers with by default (route.proto, max_direct_response_body_size_bytes).
BODY_BYTES_MAX = 4096

#: Headers that belong to the connection or have a field of their own.
_RESERVED_HEADERS = frozenset({"connection", "content-length", "content-type", "host", "transfer-encoding"})


class DirectResponseHeader(Model):
    """A header of the answer."""

    name: HeaderName
    """Name of the header."""
    value: Annotated[str, Field(max_length=4096, pattern=r"^[^\r\n\x00]*$")]
    """Value of the header."""


class DirectResponseBody(Model):
    """The body of the answer."""

    type: Literal["Inline"] = "Inline"
    """Where the body stands: in this object."""
    inline: str | None = None
    """The body itself, up to 4096 bytes."""


class DirectResponseSpec(Model):
    """The answer."""

    status_code: Annotated[Int32, Field(ge=200, le=599)] = 200
    """Status of the answer."""
    content_type: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\r\n\x00]*$")] = "text/plain"
    """Content-Type of the answer."""
    headers: Annotated[list[DirectResponseHeader] | None, Field(max_length=32), LIST_ATOMIC] = None
    """Headers of the answer; each replaces one of the same name."""
    body: DirectResponseBody | None = None
    """Body of the answer; empty where absent."""


class DirectResponse(Resource):
    """An answer that the gateway gives by itself, through an ExtensionRef filter of a route."""

    spec: DirectResponseSpec = Field(default_factory=DirectResponseSpec)
    """The desired state."""


def _validate(response: DirectResponse, _: DirectResponse | None) -> Iterator[FieldError]:
    body = response.spec.body
    if body and body.inline and len(body.inline.encode()) > BODY_BYTES_MAX:
        yield too_long("spec.body.inline", BODY_BYTES_MAX)
    seen = set()
    for index, header in enumerate(response.spec.headers or ()):
        path, name = f"spec.headers[{index}].name", header.name.lower()
        if name in _RESERVED_HEADERS:
            yield forbidden(path, f"{name} is written by the gateway (for the content type, use contentType)")
        if name in seen:
            yield duplicate(path, header.name)
        seen.add(name)


DIRECT_RESPONSE = Kind(
    group="extensions.apoxy.dev",
    version="v1alpha2",
    model=DirectResponse,
    plural="directresponses",
    namespaced=False,
    columns=(Column("Code", value_at(".spec.statusCode"), type="integer", description="Status of the answer."),),
    validate=_validate,
    read_by="view",
    written_by="edit",
)
