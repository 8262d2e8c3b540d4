"""From pydantic models, and the schemas of custom kinds, to the schemas that Kubernetes' clients read.

Names are Kubernetes': the group's domain reversed, the version, the class, such as
`dev.apoxy.extensions.v1alpha2.EdgeFunction`. What pydantic says in JSON Schema is brought into the dialect of
OpenAPI 3.0 that structural schemas use: no null types, no `const`, references inside `allOf`, so that a default or
description can stand beside them.
"""

from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from skerry.api import model as meta
from skerry.api.kinds import Kind
from skerry.api.model import Document, Model
from skerry.api.structural.schema import Schema
from skerry.server.model_schemas import model_schemas

Schemas = dict[str, Document]

REF = "#/components/schemas/"
META_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1"
LIST_META, STATUS, DELETE_OPTIONS = (f"{META_PREFIX}.{name}" for name in ("ListMeta", "Status", "DeleteOptions"))

SCALE = "io.k8s.api.autoscaling.v1.Scale"

_REPLICAS: Document = {"type": "object", "properties": {"replicas": {"type": "integer", "format": "int32"}}}

#: The shape of the scale subresource, whatever kind it is of.
_SCALE: Schemas = {
    SCALE: {
        "description": "Scale is the number of an object's replicas.",
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": f"{REF}{META_PREFIX}.ObjectMeta"}], "default": {}},
            "spec": _REPLICAS,
            "status": {
                "type": "object",
                "properties": {**_REPLICAS["properties"], "selector": {"type": "string"}},
            },
        },
        "x-kubernetes-group-version-kind": [{"group": "autoscaling", "version": "v1", "kind": "Scale"}],
    }
}

TOKEN_REQUEST = "io.k8s.api.authentication.v1.TokenRequest"  # noqa: S105 - the name of a schema

#: The shape of the token subresource.
_TOKEN_REQUEST: Schemas = {
    TOKEN_REQUEST: {
        "description": "TokenRequest asks for a token of a service account.",
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": f"{REF}{META_PREFIX}.ObjectMeta"}], "default": {}},
            "spec": {
                "type": "object",
                "properties": {
                    "audiences": {"type": "array", "items": {"type": "string"}},
                    "expirationSeconds": {"type": "integer", "format": "int64"},
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "token": {"type": "string"},
                    "expirationTimestamp": {"type": "string", "format": "date-time"},
                },
            },
        },
        "x-kubernetes-group-version-kind": [
            {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}
        ],
    }
}

#: Keywords that OpenAPI 2 does not have; a value that may be null has no type there.
_NOT_IN_VERSION_2 = frozenset({"allOf", "anyOf", "oneOf", "not", "nullable", "x-kubernetes-validations"})

_OBJECT: Document = {"type": "object"}
_STRING: Document = {"type": "string"}

#: The shapes of the API machinery that no model of ours has.
_MACHINERY: Schemas = {
    LIST_META: {
        "description": "ListMeta describes metadata of a list.",
        "type": "object",
        "properties": {
            "continue": {"type": "string", "description": "Asks for the next page; opaque."},
            "remainingItemCount": {"type": "integer", "format": "int64", "description": "How many objects follow."},
            "resourceVersion": {"type": "string", "description": "The revision that the list is a snapshot of."},
        },
    },
    STATUS: {
        "description": "Status is the answer of a call that does not return an object.",
        "type": "object",
        "properties": {
            "apiVersion": _STRING,
            "kind": _STRING,
            "metadata": {"allOf": [{"$ref": REF + LIST_META}], "default": {}},
            "status": {"type": "string", "description": "Success or Failure."},
            "message": {"type": "string", "description": "What happened, for a person."},
            "reason": {"type": "string", "description": "What happened, in a word."},
            "code": {"type": "integer", "format": "int32", "description": "The HTTP status."},
            "details": {**_OBJECT, "x-kubernetes-preserve-unknown-fields": True},
        },
    },
    DELETE_OPTIONS: {
        "description": "DeleteOptions tells how an object is deleted.",
        "type": "object",
        "properties": {
            "apiVersion": _STRING,
            "kind": _STRING,
            "dryRun": {"type": "array", "items": _STRING},
            "gracePeriodSeconds": {"type": "integer", "format": "int64"},
            "preconditions": {"type": "object", "properties": {"uid": _STRING, "resourceVersion": _STRING}},
            "propagationPolicy": {"type": "string", "description": "Background, Foreground or Orphan."},
        },
    },
}


def kind_schemas(kinds: Sequence[Kind[Any]]) -> Schemas:
    """Return the schemas of some kinds of one group and version, of their lists, and of all they refer to."""
    prefix = prefix_of(kinds[0])
    models: list[type[Model]] = [kind.model for kind in kinds if kind.schema is None]
    models.append(meta.ObjectMeta)
    classes = {cls for model in models for cls in _models_in(model)}
    names = {cls.__name__: _schema_name(cls, prefix) for cls in classes}
    if len(names) != len(classes):
        raise ValueError(f"two models under {prefix} share a name: {sorted(cls.__name__ for cls in classes)}")
    schemas = {names[name]: _translated(schema, names) for name, schema in model_schemas(models).items()}
    for kind in kinds:
        name = schema_name(kind)
        if kind.schema is not None:
            schemas[name] = _custom_schema(kind.schema)
        own = schemas[name]
        own["x-kubernetes-group-version-kind"] = [_gvk(kind, kind.kind)]
        own["properties"].update(_type_properties(kind))
        own["properties"]["metadata"]["default"] = {}
        schemas[f"{name}List"] = _list_schema(kind, name)
    scale = _SCALE if any(kind.scale for kind in kinds) else {}
    tokens = _TOKEN_REQUEST if any("token" in kind.subresources for kind in kinds) else {}
    return {**schemas, **_MACHINERY, **scale, **tokens}


def _custom_schema(schema: Schema) -> Document:
    """Return the schema of a custom kind, with the metadata that it leaves to us."""
    metadata = {
        "allOf": [{"$ref": f"{REF}{META_PREFIX}.ObjectMeta"}],
        "description": "Standard object metadata.",
        "default": {},
    }
    return {**schema.document, "properties": {**(schema.document.get("properties") or {}), "metadata": metadata}}


def prefix_of(kind: Kind[Any]) -> str:
    """Return the prefix of a group's schema names."""
    domain = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{domain}.{kind.version}"


def schema_name(kind: Kind[Any]) -> str:
    """Return the name of a kind's schema."""
    return f"{prefix_of(kind)}.{kind.kind}"


def _schema_name(cls: type[Model], prefix: str) -> str:
    return f"{META_PREFIX if cls.__module__ == meta.__name__ else prefix}.{cls.__name__}"


def _gvk(kind: Kind[Any], name: str) -> Document:
    return {"group": kind.group, "version": kind.version, "kind": name}


def _type_properties(kind: Kind[Any]) -> Document:
    return {
        "apiVersion": {"type": "string", "description": f"The versioned schema of this object: {kind.api_version}."},
        "kind": {"type": "string", "description": f"The kind of this object: {kind.kind}."},
    }


def _list_schema(kind: Kind[Any], name: str) -> Document:
    return {
        "description": f"{kind.list_kind} is a list of {kind.kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_properties(kind),
            "metadata": {"allOf": [{"$ref": REF + LIST_META}], "default": {}},
            "items": {"type": "array", "items": {"$ref": REF + name}},
        },
        "x-kubernetes-group-version-kind": [_gvk(kind, kind.list_kind)],
    }


def _models_in(annotation: Any, seen: set[type[Model]] | None = None) -> Iterator[type[Model]]:
    """Yield every model that an annotation reaches, once."""
    seen = set() if seen is None else seen
    if isinstance(annotation, type) and issubclass(annotation, Model):
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation, seen)
    elif get_origin(annotation) in {Union, UnionType, list, dict, tuple, Annotated}:
        for part in get_args(annotation):
            yield from _models_in(part, seen)


def _translated(schema: Any, names: dict[str, str]) -> Document:
    """Bring one schema, and all inside it, into Kubernetes' dialect."""
    schema = dict(schema)
    schema.pop("title", None)
    if schema.get("default", ...) is None or schema.get("default") == "":
        del schema["default"]
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
    if alternatives := schema.pop("anyOf", None):
        schema = _without_null(alternatives, names) | _rest(schema, names)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if ref := schema.pop("$ref", None):
        return {"allOf": [{"$ref": REF + names[ref]}], **_rest(schema, names)}
    return _rest(schema, names)


def _without_null(alternatives: list[Document], names: dict[str, str]) -> Document:
    """An optional field is one that may be absent: of its alternatives, null goes."""
    left = [item for item in alternatives if item.get("type") != "null"]
    if len(left) == 1:
        return _translated(left[0], names)
    return {"anyOf": [_translated(item, names) for item in left]}


def _rest(schema: Document, names: dict[str, str]) -> Document:
    translated = dict(schema)
    if "properties" in schema:
        translated["properties"] = {key: _translated(item, names) for key, item in schema["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            translated[inner] = _translated(schema[inner], names)
    return translated


def as_version_2(schema: Document) -> Document:
    """Return a schema as OpenAPI 2 has it: references stand alone, under `#/definitions/`."""
    match schema:
        case {"allOf": [{"$ref": ref}], **rest}:
            described = {"description": rest["description"]} if "description" in rest else {}
            return {"$ref": cast("str", ref).replace(REF, "#/definitions/"), **described}
        case {"$ref": str(ref)}:
            return {"$ref": ref.replace(REF, "#/definitions/")}
        case _:
            left = _NOT_IN_VERSION_2 | ({"type"} if schema.get("nullable") else set())
            return {key: _keyword_version_2(key, item) for key, item in schema.items() if key not in left}


def _keyword_version_2(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: as_version_2(item) for name, item in value.items()}
    return as_version_2(value) if key in {"items", "additionalProperties"} and isinstance(value, dict) else value
