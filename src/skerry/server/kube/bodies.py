"""From a body's bytes to a document: JSON, YAML or protobuf, bounded in size, depth and number (`api.shapes`). Pure.

Documents from here are plain JSON values that can be written again: no lone surrogates, no NaN, no sharing, at most
`DEPTH_MAX` levels. So the recursive code behind (defaults, validation, merging) needs no guards of its own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from skerry.api.errors import BadRequest, UnsupportedMediaType
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.api.shapes import check_shape, read_json
from skerry.server.kube import protobuf
from skerry.server.kube.yaml_bodies import parse_yaml
from skerry.server.verbs.apply.configuration import Configuration, configuration
from skerry.server.verbs.limits import OBJECT_BYTES_MAX
from skerry.server.verbs.patches.json_patch import json_patch
from skerry.server.verbs.patches.merge_patch import merge_patch
from skerry.server.verbs.patches.patch import Patch
from skerry.server.verbs.patches.strategic import strategic_patch

BODY_BYTES_MAX = OBJECT_BYTES_MAX

JSON = "application/json"
YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include: "


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body.

    Attributes:
        document: the JSON object.
        duplicates: paths of fields that stood twice; the last one counts.
    """

    document: Document
    duplicates: tuple[str, ...] = ()


def read_object(content_type: str, raw: bytes) -> Body:
    """Read the body of a create, replace or delete.

    Raises:
        BadRequest: the bytes are not what the type says, nested too deep, or no object.
        UnsupportedMediaType: the type is not read here.
        RequestEntityTooLarge: it has too many objects and lists.
    """
    media_type = media_type_of(content_type)
    if media_type == JSON:
        value, duplicates = parse_json(raw)
    elif media_type in YAML:
        value, duplicates = parse_yaml(raw)
    elif media_type == PROTOBUF:
        value, duplicates = protobuf.decode(raw), ()
        check_shape(value)
    else:
        raise UnsupportedMediaType(f"{_UNKNOWN_FORMAT}{JSON}, application/yaml, {PROTOBUF}")
    if not isinstance(value, dict):
        raise BadRequest("the body of the request must be an object")
    return Body(value, duplicates)


def read_patch(content_type: str, raw: bytes, kind: Kind[Any]) -> tuple[Patch | Configuration, tuple[str, ...]]:
    """Read the body of a patch; returns it with the paths of duplicate fields.

    Raises:
        BadRequest: as `read_object`, or it is no well-formed patch.
        UnsupportedMediaType: this kind is not patched that way.
        RequestEntityTooLarge: it has too many operations, or objects and lists.
    """
    media_type = media_type_of(content_type)
    if media_type == JSON_PATCH:
        return json_patch(parse_json(raw)[0]), ()
    if media_type == MERGE_PATCH:
        value, duplicates = parse_json(raw)
        return merge_patch(value), duplicates
    if media_type == STRATEGIC_PATCH and kind.core_semantics:
        value, duplicates = parse_json(raw)
        return strategic_patch(value), duplicates
    if media_type == APPLY_PATCH:
        # YAML contains JSON, which most clients send: its own parser is many times as fast, and knows of duplicates.
        try:
            value, duplicates = parse_json(raw)
        except BadRequest:
            value, duplicates = parse_yaml(raw)
        return configuration(value), duplicates
    strategic = [STRATEGIC_PATCH] if kind.core_semantics else []
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH, *strategic]
    raise UnsupportedMediaType(_UNKNOWN_FORMAT + ", ".join(accepted))


def media_type_of(content_type: str) -> str:
    """Return the media type without its parameters; a body without a type is JSON (python clients send it so)."""
    return content_type.partition(";")[0].strip().lower() or JSON


def parse_json(raw: bytes) -> tuple[Any, tuple[str, ...]]:
    """Parse JSON; returns the value and the paths of duplicate fields.

    Raises:
        BadRequest: it is no JSON, or too deep.
        RequestEntityTooLarge: it has too many objects and lists.
    """
    try:
        value = read_json(raw)  # bounded before the second parser, which is recursive, and slow
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body of the request is not valid JSON: {error}") from error
    # orjson lets the last of equal fields win in silence, so they are looked for by a second parser.
    return value, _duplicates(raw)


class _Repeated(dict[str, Any]):
    """An object in which a field stands twice; keeps the pairs as they stood."""

    pairs: list[tuple[str, Any]]


def _duplicates(raw: bytes) -> tuple[str, ...]:
    found = False

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        fields = dict(pairs)
        if len(fields) == len(pairs):
            return fields
        found = True
        repeated = _Repeated(fields)
        repeated.pairs = pairs
        return repeated

    value = json.loads(raw, object_pairs_hook=note)
    return tuple(dict.fromkeys(_duplicate_paths(value, ""))) if found else ()


def _duplicate_paths(value: Any, path: str) -> Iterator[str]:
    match value:
        case dict():
            pairs = value.pairs if isinstance(value, _Repeated) else value.items()
            seen: set[str] = set()
            for key, item in pairs:
                below = f"{path}.{key}" if path else key
                if key in seen:
                    yield below
                seen.add(key)
                yield from _duplicate_paths(item, below)
        case list():
            for index, item in enumerate(value):
                yield from _duplicate_paths(item, f"{path}[{index}]")
