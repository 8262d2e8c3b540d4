"""What a caller wants to be sent: JSON objects, tables, or metadata alone. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from skerry.api.errors import NotAcceptable

Include = Literal["None", "Metadata", "Object"]

#: Distinct Accept headers that are remembered; clients send a handful.
_REMEMBERED = 256
_META_GROUP = "meta.k8s.io"
_META_VERSIONS = frozenset({"v1", "v1beta1"})
_JSON_TYPES = frozenset({"application/json", "application/*", "*/*"})


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer.

    Attributes:
        shape: objects as they are, rows of a table, or metadata alone.
        version: of the group meta.k8s.io, for tables and metadata.
    """

    shape: Literal["object", "table", "metadata"]
    version: str = "v1"


OBJECTS = Form("object")


@lru_cache(_REMEMBERED)
def media_ranges(accept: str) -> tuple[tuple[str, frozenset[tuple[str, str]]], ...]:
    """Read an Accept header: media types with their parameters, in the order given."""
    found = []
    for part in accept.split(","):
        media_type, *parameters = part.split(";")
        pairs = (parameter.partition("=") for parameter in parameters)
        found.append((media_type.strip().lower(), frozenset((key.strip(), value.strip()) for key, _, value in pairs)))
    return tuple(found)


@lru_cache(_REMEMBERED)
def form_of(accept: str) -> Form:
    """Return the first form in an Accept header that can be given.

    Raises:
        NotAcceptable: the header leaves none.
    """
    for media_type, parameters in media_ranges(accept or "*/*"):
        if media_type not in _JSON_TYPES:
            continue
        given = dict(parameters)
        if "as" not in given:
            return OBJECTS
        if given.get("g") != _META_GROUP or given.get("v") not in _META_VERSIONS:
            continue
        if given["as"] == "Table":
            return Form("table", given["v"])
        if given["as"] in {"PartialObjectMetadata", "PartialObjectMetadataList"}:
            return Form("metadata", given["v"])
    raise NotAcceptable("only the following media types are accepted: application/json")


@lru_cache(_REMEMBERED)
def accepts(accept: str, **wanted: str) -> bool:
    """Tell whether some JSON range of an Accept header has all of these parameters."""
    return any(
        media_type in _JSON_TYPES and parameters.issuperset(wanted.items())
        for media_type, parameters in media_ranges(accept)
    )
